//! A pod without claims runs, and leaves no cgroup, namespace or address on the node.

use anyhow::{Result, ensure};

use super::{apply, delete, files, manifest, wait_until_node_is_empty, wait_until_ready};
use crate::k8s::bed::Bed;

pub(super) fn run(bed: &Bed) -> Result<()> {
    let pod = manifest("plain-pod.yaml");
    delete(bed, &pod)?;
    apply(bed, &pod)?;
    wait_until_ready(bed, "plain")?;
    // The cgroup and the namespace exist now; otherwise their absence afterwards would prove nothing.
    ensure!(!bed.cgroup().pods()?.is_empty(), "a running pod has no cgroup below the bed's");
    ensure!(!files(&bed.path("/run/netns")?)?.is_empty(), "a running pod has no network namespace");
    delete(bed, &pod)?;
    wait_until_node_is_empty(bed)
}
