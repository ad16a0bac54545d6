//! The check of RDMA devices that are not EFA interfaces.

use crate::scan::rdma::RdmaDevice;
use crate::scan::root::NodeAccess;

use super::finding::{Check, Finding, FindingKind};
use super::input::{Input, Skip};

const REFUSED: FindingKind = FindingKind {
    id: "rdma-foreign-refused",
    means: "If one verbs device cannot be opened, libfabric's efa provider finds no EFA interface at all (fi_getinfo returns \
            -61). MPI or NCCL falls back to TCP and reports no error.",
    action: "Set FI_EFA_IFACE to the RDMA names of the EFA interfaces (libfabric 2.0 or newer), or do not pass the node into \
             the container: libibverbs leaves out a device without a node. libfabric newer than 2.6 will skip such devices.",
    source: "libfabric issue 12708 and pull request 12744; aws-do-eks pull request 63.",
};
const PRESENT: FindingKind = FindingKind {
    id: "rdma-foreign",
    means: "These RDMA devices are not EFA interfaces, but tools that count RDMA devices count them too. These devices are first in \
            the list of verbs devices. If the rules of a container refuse one of them, libfabric's efa provider finds no EFA \
            interface at all, and only opening the device shows the refusal.",
    action: "Count EFA interfaces by driver or PCI vendor. Pass only the nodes of EFA interfaces into containers, not all of \
             /dev/infiniband, or set FI_EFA_IFACE to the RDMA names of the EFA interfaces.",
    source: "libfabric issue 12708; sagemaker-hyperpod-cli pull request 282.",
};

pub(super) const CHECK: Check = Check { name: "other RDMA devices", kinds: || vec![REFUSED, PRESENT], run };

fn run(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let efa = input.efa()?;
    // If FI_EFA_IFACE names only EFA interfaces, the efa provider opens no other device.
    let is_limited = input.variable("FI_EFA_IFACE").is_some_and(|names| {
        !names.is_empty() && names.split(',').all(|name| efa.iter().any(|efa| efa.rdma.as_deref() == Some(name)))
    });
    let names_of = |matches: &dyn Fn(&RdmaDevice) -> bool| {
        let names: Vec<String> = input.host.other_rdma().iter().filter(|device| matches(device)).map(name).collect();
        (!names.is_empty()).then_some(names)
    };
    let mut found = Vec::new();
    if let Some(subjects) = names_of(&|device| device.access == NodeAccess::Refused) {
        let seen = "this user may not open the node";
        found.push(if is_limited { REFUSED.note(subjects, seen) } else { REFUSED.problem(subjects, seen) });
    }
    if let Some(subjects) = names_of(&|device| matches!(device.access, NodeAccess::Granted | NodeAccess::Unknown)) {
        let seen = format!("this host also has {} EFA interfaces", efa.len());
        found.push(if is_limited { PRESENT.note(subjects, seen) } else { PRESENT.warning(subjects, seen) });
    }
    Ok(found)
}

fn name(device: &RdmaDevice) -> String {
    match &device.function {
        Some(function) => format!("{} ({})", device.name, function.address),
        None => device.name.clone(),
    }
}
