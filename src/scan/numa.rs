//! NUMA nodes and their CPUs.

use serde::{Deserialize, Serialize};

use crate::error::{Problems, Result};
use crate::scan::root::HostRoot;
use crate::types::{CpuList, number};

const NODES: &str = "sys/devices/system/node";

/// A NUMA node of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NumaNode {
    /// The number that the kernel gave the node.
    pub node: u32,
    /// The CPUs of the node. A node that has only memory has no CPUs.
    pub cpus: CpuList,
}

/// Returns the NUMA nodes in the order of their numbers.
pub(crate) fn scan(root: &HostRoot, problems: &mut Problems) -> Vec<NumaNode> {
    let names = problems.take(root.list(NODES)).unwrap_or_default();
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| number(name.strip_prefix("node")?)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
        .into_iter()
        .map(|node| NumaNode { node, cpus: problems.take(cpus(root, node)).unwrap_or_default() })
        .collect()
}

fn cpus(root: &HostRoot, node: u32) -> Result<CpuList> {
    let path = format!("{NODES}/node{node}/cpulist");
    let text = root.read(&path)?.unwrap_or_default();
    text.parse().map_err(|_| root.malformed(&path, "a CPU list such as 0-47,96-143", &text))
}
