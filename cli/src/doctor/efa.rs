//! EFA interfaces: driver, nodes, ports, and how many there are.

use nearfab::system::RdmaNamespaces;
use nearfab::{EfaInterface, NodeAccess, PortState};

use super::case::{Case, Skip};
use super::finding::{Check, Complaint, Finding, Severity};

const NO_DRIVER: Complaint = Complaint {
    id: "efa-no-driver",
    means: "The kernel's efa driver does not have the interface, so it has neither an RDMA device nor a node: libfabric does \
            not see it and uses TCP without a word.",
    action: "Load the module (modprobe efa); install it with AWS's EFA installer where it is missing or was not built for this \
             kernel; unbind another driver such as vfio-pci.",
    source: "Linux sysfs: the driver of a PCI function.",
};
const NO_RDMA_DEVICE: Complaint = Complaint {
    id: "efa-no-rdma-device",
    means: "The efa driver has the interface and made no RDMA device of it that is seen here. Where RDMA devices belong to one \
            network namespace each, it may be in another.",
    action: "Look into the kernel's log for efa. In a pod, have the RDMA device moved into its network namespace.",
    source: "Seen on 13 hpc6a hosts; Linux kernel, RDMA network namespaces.",
};
const NO_VERBS_NODE: Complaint = Complaint {
    id: "efa-no-verbs-node",
    means: "There is an RDMA device and no verbs node, which ib_uverbs makes: no program can use it.",
    action: "Load the module (modprobe ib_uverbs), and see that it is loaded at boot.",
    source: "Linux kernel, drivers/infiniband/core/uverbs_main.c.",
};
const NODE_MISSING: Complaint = Complaint {
    id: "efa-node-missing",
    means: "libibverbs leaves out devices without a node and says nothing: programs see fewer EFA interfaces, or none and use \
            TCP. In a container that was given a part of the interfaces this is as it should be; sysfs shows the others too.",
    action: "In a container, request the interfaces (vpc.amazonaws.com/efa, or a claim), or pass the nodes in /dev/infiniband; \
             on a host, see that udev runs.",
    source: "rdma-core, ibv_get_device_list; libfabric issue 12708.",
};
const NODE_REFUSED: Complaint = Complaint {
    id: "efa-node-refused",
    means: "This user may not open the node. libibverbs waits five seconds for each such device, and libfabric's efa provider \
            gives up on all of them.",
    action: "Give the nodes mode 0666, as the udev rules of rdma-core do, or run as a user who may read and write them.",
    source: "rdma-core, open_cdev_robust; libfabric issue 12708.",
};
const PORT_DOWN: Complaint = Complaint {
    id: "efa-port-not-active",
    means: "The efa driver says active of every device that works: this one does not answer.",
    action: "Look into the kernel's log for efa; reload the driver, or stop and start the instance.",
    source: "Linux kernel, drivers/infiniband/hw/efa/efa_verbs.c.",
};
const NOT_ATTACHED: Complaint = Complaint {
    id: "efa-not-all-attached",
    means: "The instance type can have more EFA interfaces than this instance was launched with. Devices whose paired interface \
            is absent use another one behind the same switch, and share it.",
    action: "Launch the instance with an interface of type efa or efa-only on each network card, if the bandwidth is needed.",
    source: "nearfab's table of the instance type; AWS, EFA interface types.",
};

pub(super) const DRIVER: Check =
    Check { name: "EFA driver", complaints: || vec![NO_DRIVER, NO_RDMA_DEVICE, NO_VERBS_NODE], run: driver };
pub(super) const NODES: Check =
    Check { name: "EFA nodes", complaints: || vec![NODE_MISSING, NODE_REFUSED], run: nodes };
pub(super) const PORTS: Check = Check { name: "EFA ports", complaints: || vec![PORT_DOWN], run: ports };
pub(super) const ATTACHED: Check =
    Check { name: "EFA interfaces attached", complaints: || vec![NOT_ATTACHED], run: attached };

/// How findings name those of the interfaces that something holds for; nobody, and there is no finding.
fn those(efa: &[EfaInterface], holds: impl Fn(&EfaInterface) -> bool) -> Option<Vec<String>> {
    let named: Vec<String> = efa.iter().filter(|efa| holds(efa)).map(name).collect();
    (!named.is_empty()).then_some(named)
}

pub(super) fn name(efa: &EfaInterface) -> String {
    match &efa.rdma {
        Some(rdma) => format!("{} ({rdma})", efa.address()),
        None => efa.address().to_string(),
    }
}

fn is_driven(efa: &EfaInterface) -> bool {
    efa.function.driver.as_deref() == Some("efa")
}

fn driver(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    let efa = case.efa()?;
    let mut found = Vec::new();
    if let Some(subjects) = those(efa, |efa| !is_driven(efa) && efa.rdma.is_none()) {
        let loaded = match case.host.efa_driver() {
            Some(_) => "the efa driver is loaded and not bound to them",
            None => "the efa driver is not loaded",
        };
        let other = efa.iter().find_map(|efa| efa.function.driver.as_deref().filter(|driver| *driver != "efa"));
        let other = other.map(|driver| format!("; {driver} is bound")).unwrap_or_default();
        found.push(NO_DRIVER.problem(subjects, format!("{loaded}{other}")));
    }
    if let Some(subjects) = those(efa, |efa| is_driven(efa) && efa.rdma.is_none()) {
        let exclusive = case.surroundings.and_then(|around| around.rdma_namespaces) == Some(RdmaNamespaces::Exclusive);
        let mode = if exclusive { ", and RDMA devices belong to one network namespace each" } else { "" };
        found.push(NO_RDMA_DEVICE.problem(subjects, format!("nothing in sys/class/infiniband{mode}")));
    }
    if let Some(subjects) = those(efa, |efa| efa.rdma.is_some() && efa.uverbs.is_none()) {
        let loaded = case.surroundings.map(|around| around.module("ib_uverbs").is_some());
        let loaded = match loaded {
            Some(true) => ", though ib_uverbs is loaded",
            Some(false) => "; ib_uverbs is not loaded",
            None => "",
        };
        found.push(NO_VERBS_NODE.problem(subjects, format!("nothing in sys/class/infiniband_verbs{loaded}")));
    }
    Ok(found)
}

fn nodes(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    let efa = case.efa()?;
    let usable = efa.iter().any(|efa| efa.access == NodeAccess::Granted);
    // A part of a machine's devices is what containers are given.
    let severity = if usable { Severity::Warning } else { Severity::Problem };
    let mut found = Vec::new();
    for (access, complaint, seen) in [
        (NodeAccess::Missing, &NODE_MISSING, "no node in /dev/infiniband"),
        (NodeAccess::Refused, &NODE_REFUSED, "the node is there, and not to be read and written by this user"),
    ] {
        if let Some(subjects) = those(efa, |efa| efa.access == access) {
            let seen = format!("{} of {}: {seen}{}", subjects.len(), efa.len(), case.container());
            found.push(complaint.found(severity, subjects, seen));
        }
    }
    Ok(found)
}

fn ports(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    let state = |efa: &EfaInterface| efa.port.as_ref().and_then(|port| port.state);
    let down = |efa: &&EfaInterface| state(efa).is_some_and(|state| state != PortState::Active);
    let found = case.efa()?.iter().filter(down).map(|efa| {
        let state = state(efa).map(|state| state.to_string()).unwrap_or_default();
        PORT_DOWN.problem(vec![name(efa)], format!("its port is {state}"))
    });
    Ok(found.collect())
}

fn attached(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    let host = case.machine()?;
    let table = host.table().ok_or(Skip::NotHere("no table of this instance type"))?;
    let absent: Vec<String> =
        table.efa.iter().filter(|row| host.find_efa(row.address).is_err()).map(|row| row.address.to_string()).collect();
    if absent.is_empty() {
        return Ok(Vec::new());
    }
    let seen = format!("absent: {} of the {} that the type can have", absent.len(), table.efa.len());
    Ok(vec![NOT_ATTACHED.note(absent, seen)])
}
