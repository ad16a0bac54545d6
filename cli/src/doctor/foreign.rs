//! RDMA devices that are no EFA interfaces.

use nearfab::{NodeAccess, RdmaDevice};

use super::case::{Case, Skip};
use super::finding::{Check, Complaint, Finding};

const REFUSED: Complaint = Complaint {
    id: "rdma-foreign-refused",
    means: "One verbs device that cannot be opened breaks libfabric's efa provider as a whole (fi_getinfo answers -61), and \
            MPI or NCCL falls back to TCP without a word.",
    action: "Set FI_EFA_IFACE to the names of the EFA interfaces (libfabric 2.0 or newer), or do not pass the node into the \
             container at all: without a node the device is left out. Libfabric newer than 2.6 is to skip such devices.",
    source: "libfabric issue 12708 and pull request 12744; aws-do-eks pull request 63.",
};
const PRESENT: Complaint = Complaint {
    id: "rdma-foreign",
    means: "These are no EFA interfaces, and tools that count RDMA devices count them. They stand first in the list of verbs \
            devices; one that a container's rules refuse, which only opening shows, breaks libfabric's efa provider as a whole.",
    action: "Count by driver or PCI vendor. Pass only the nodes of EFA interfaces into containers, not all of /dev/infiniband, \
             or set FI_EFA_IFACE to the names of the EFA interfaces.",
    source: "libfabric issue 12708; sagemaker-hyperpod-cli pull request 282.",
};

pub(super) const CHECK: Check = Check { name: "other RDMA devices", complaints: || vec![REFUSED, PRESENT], run };

fn run(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    let efa = case.efa()?;
    // The provider looks at no others then.
    let named = case.variable("FI_EFA_IFACE").is_some_and(|names| {
        !names.is_empty() && names.split(',').all(|name| efa.iter().any(|efa| efa.rdma.as_deref() == Some(name)))
    });
    let those = |holds: &dyn Fn(&RdmaDevice) -> bool| {
        let named: Vec<String> = case.host.other_rdma().iter().filter(|device| holds(device)).map(name).collect();
        (!named.is_empty()).then_some(named)
    };
    let mut found = Vec::new();
    if let Some(subjects) = those(&|device| device.access == NodeAccess::Refused) {
        let seen = "the node is there, and this user may not open it";
        found.push(if named { REFUSED.note(subjects, seen) } else { REFUSED.problem(subjects, seen) });
    }
    if let Some(subjects) = those(&|device| matches!(device.access, NodeAccess::Granted | NodeAccess::Unknown)) {
        let seen = format!("beside {} EFA interfaces", efa.len());
        found.push(if named { PRESENT.note(subjects, seen) } else { PRESENT.warning(subjects, seen) });
    }
    Ok(found)
}

fn name(device: &RdmaDevice) -> String {
    match &device.function {
        Some(function) => format!("{} ({})", device.name, function.address),
        None => device.name.clone(),
    }
}
