//! Checks of the EFA interfaces: driver, nodes, ports, number of interfaces.

use crate::host::{Host, NothingFound};
use crate::scan::efa::EfaInterface;
use crate::scan::root::NodeAccess;
use crate::system::{Module, RdmaNamespaces};
use crate::types::PortState;

use super::finding::{Check, Finding, FindingKind, Severity};
use super::input::{Input, Skip};

const NO_DRIVER: FindingKind = FindingKind {
    id: "efa-no-driver",
    means: "The efa driver is not bound to the interface, so the interface has no RDMA device and no node. libfabric does \
            not see the interface, uses TCP instead and reports no error.",
    action: "Load the module (modprobe efa). If the module is missing or was not built for this kernel, install it with \
             AWS's EFA installer. If another driver such as vfio-pci is bound, unbind it.",
    source: "Linux sysfs: the driver of a PCI function.",
};
const DRIVER_REFUSED: FindingKind = FindingKind {
    id: "efa-driver-refused",
    means: "The efa driver is loaded and does not drive the interface. The interface has no RDMA device and no node. The driver \
            failed to start the interface, or is too old to know its PCI id, or somebody has unbound the interface.",
    action: "Search the kernel's log for efa: messages such as 'Failed to get device attributes' give the reason. If the log has \
             no message about the interface, update the driver: AWS's driver knows 1d0f:efa1 from 1.9.0 on and 1d0f:efa2 from \
             2.1.0 on. Reload the driver. If this does not help, stop and start the instance: it usually gets other hardware.",
    source: "Linux kernel, drivers/infiniband/hw/efa: efa_main.c, efa_com_cmd.c; AWS EFA driver, release notes 1.9.0 and 2.1.0.",
};
const FOREIGN_STACK: FindingKind = FindingKind {
    id: "rdma-stack-foreign",
    means: "The loaded RDMA modules are not the kernel's: they belong to another RDMA stack, such as MLNX_OFED or DOCA. An efa \
            module that was built against the kernel's ib_core does not load beside them, or crashes.",
    action: "Build the efa module against the loaded ib_core, or remove the other RDMA stack and reboot. modprobe efa and \
             dmesg show the symbols that do not fit.",
    source: "Linux: the kernel's ib_core has no version file, MLNX_OFED's modules have one and use mlx_compat.",
};
const NO_RDMA_DEVICE: FindingKind = FindingKind {
    id: "efa-no-rdma-device",
    means: "The efa driver is bound to the interface, but the interface has no RDMA device here. If each RDMA device belongs \
            to one network namespace, the device may be in another namespace.",
    action: "Search the kernel's log for efa. In a pod, move the RDMA device into the network namespace of the pod.",
    source: "Seen on 13 hpc6a hosts; Linux kernel, RDMA network namespaces.",
};
const NO_VERBS_NODE: FindingKind = FindingKind {
    id: "efa-no-verbs-node",
    means: "The interface has an RDMA device but no verbs node. The module ib_uverbs makes the node, and no program can use \
            the interface without it.",
    action: "Load the module (modprobe ib_uverbs), and make the system load it at boot.",
    source: "Linux kernel, drivers/infiniband/core/uverbs_main.c.",
};
const NODE_MISSING: FindingKind = FindingKind {
    id: "efa-node-missing",
    means: "libibverbs leaves out a device without a node and reports no error. Programs see fewer EFA interfaces, or see \
            none and use TCP. A container that was given some of the interfaces has no nodes for the others; sysfs shows all \
            of them.",
    action: "In a container, request the interfaces (vpc.amazonaws.com/efa, or a resource claim), or pass the nodes in \
             /dev/infiniband. On a host, check that udev runs.",
    source: "rdma-core, ibv_get_device_list; libfabric issue 12708.",
};
const NODE_REFUSED: FindingKind = FindingKind {
    id: "efa-node-refused",
    means: "This user may not open the node. libibverbs waits five seconds for each such device, and libfabric's efa \
            provider then uses no EFA interface at all.",
    action: "Give the nodes mode 0666, as the udev rules of rdma-core do, or run as a user who may read and write the nodes.",
    source: "rdma-core, open_cdev_robust; libfabric issue 12708.",
};
const PORT_DOWN: FindingKind = FindingKind {
    id: "efa-port-not-active",
    means: "The efa driver reports an active port for every device that works. This device does not answer the driver.",
    action: "Search the kernel's log for efa. Reload the driver, or stop and start the instance.",
    source: "Linux kernel, drivers/infiniband/hw/efa/efa_verbs.c.",
};
const NOT_ATTACHED: FindingKind = FindingKind {
    id: "efa-not-all-attached",
    means: "The instance type can have more EFA interfaces than this instance was launched with. A Neuron device or GPU \
            whose paired interface is absent shares another interface behind the same switch.",
    action: "If you need the bandwidth, launch the instance with an interface of type efa or efa-only on each network card.",
    source: "nearfab's table of the instance type; AWS, EFA interface types.",
};

const NONE_ATTACHED: FindingKind = FindingKind {
    id: "efa-none-attached",
    means: "The instance type can have EFA interfaces, and this instance was launched without one. Programs on several \
            instances use TCP. Programs on this instance alone do not need EFA.",
    action: "If programs use several instances, launch them with interfaces of type efa or efa-only.",
    source: "nearfab's table of the instance type, or the list of types in AWS's EFA guide.",
};

pub(super) const DRIVER: Check =
    Check { name: "EFA driver", kinds: || vec![NO_DRIVER, DRIVER_REFUSED, NO_RDMA_DEVICE, NO_VERBS_NODE], run: driver };
pub(super) const STACK: Check = Check { name: "RDMA stack", kinds: || vec![FOREIGN_STACK], run: stack };
pub(super) const NODES: Check = Check { name: "EFA nodes", kinds: || vec![NODE_MISSING, NODE_REFUSED], run: nodes };
pub(super) const PORTS: Check = Check { name: "EFA ports", kinds: || vec![PORT_DOWN], run: ports };
pub(super) const ATTACHED: Check =
    Check { name: "EFA interfaces attached", kinds: || vec![NOT_ATTACHED, NONE_ATTACHED], run: attached };

/// Returns the names of the interfaces that match, or `None` if no interface does.
fn names_of(efa: &[EfaInterface], matches: impl Fn(&EfaInterface) -> bool) -> Option<Vec<String>> {
    let names: Vec<String> = efa.iter().filter(|efa| matches(efa)).map(name).collect();
    (!names.is_empty()).then_some(names)
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

fn driver(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let efa = input.efa()?;
    let mut found = Vec::new();
    let is_loaded = input.host.efa_driver().is_some();
    let is_refused = |efa: &EfaInterface| is_loaded && efa.function.driver.is_none() && efa.rdma.is_none();
    if let Some(subjects) = names_of(efa, is_refused) {
        let seen = match efa.iter().filter(|efa| is_driven(efa)).count() {
            0 => "the efa driver is loaded and drives no interface".to_owned(),
            1 => "the efa driver drives 1 other interface".to_owned(),
            others => format!("the efa driver drives {others} other interfaces"),
        };
        found.push(DRIVER_REFUSED.problem(subjects, seen));
    }
    if let Some(subjects) = names_of(efa, |efa| !is_driven(efa) && !is_refused(efa) && efa.rdma.is_none()) {
        let loaded = match input.host.efa_driver() {
            Some(_) => "the efa driver is loaded, but not bound to these interfaces",
            None => "the efa driver is not loaded",
        };
        let other = efa.iter().find_map(|efa| efa.function.driver.as_deref().filter(|driver| *driver != "efa"));
        let other = other.map(|driver| format!("; {driver} is bound")).unwrap_or_default();
        found.push(NO_DRIVER.problem(subjects, format!("{loaded}{other}")));
    }
    if let Some(subjects) = names_of(efa, |efa| is_driven(efa) && efa.rdma.is_none()) {
        let exclusive = input.system.and_then(|system| system.rdma_namespaces) == Some(RdmaNamespaces::Exclusive);
        let mode = if exclusive { "; each RDMA device belongs to one network namespace" } else { "" };
        found.push(NO_RDMA_DEVICE.problem(subjects, format!("no device in sys/class/infiniband{mode}")));
    }
    if let Some(subjects) = names_of(efa, |efa| efa.rdma.is_some() && efa.uverbs.is_none()) {
        let loaded = input.system.map(|system| system.module("ib_uverbs").is_some());
        let loaded = match loaded {
            Some(true) => "; ib_uverbs is loaded",
            Some(false) => "; ib_uverbs is not loaded",
            None => "",
        };
        found.push(NO_VERBS_NODE.problem(subjects, format!("no device in sys/class/infiniband_verbs{loaded}")));
    }
    Ok(found)
}

fn stack(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let efa = input.efa()?;
    let system = input.system()?;
    // An efa module that is loaded was built against the loaded ib_core.
    if input.host.efa_driver().is_some() || efa.iter().any(is_driven) {
        return Ok(Vec::new());
    }
    let versioned =
        |module: &&Module| matches!(module.name.as_str(), "ib_core" | "ib_uverbs") && module.version.is_some();
    let is_foreign = |module: &&Module| module.name == "mlx_compat" || versioned(module);
    let foreign: Vec<&Module> = system.modules.iter().filter(is_foreign).collect();
    if foreign.is_empty() {
        return Ok(Vec::new());
    }
    let named = foreign.iter().map(|module| match &module.version {
        Some(version) => format!("{} {version}", module.name),
        None => format!("{} (no version)", module.name),
    });
    let seen = format!("{}; the efa driver is not loaded", named.collect::<Vec<_>>().join(", "));
    Ok(vec![FOREIGN_STACK.problem(foreign.iter().map(|module| module.name.clone()).collect(), seen)])
}

fn nodes(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let efa = input.efa()?;
    let usable = efa.iter().any(|efa| efa.access == NodeAccess::Granted);
    // A container often has only some of the devices. The missing devices are no problem if the container can use one.
    let severity = if usable { Severity::Warning } else { Severity::Problem };
    let mut found = Vec::new();
    for (access, kind, seen) in [
        (NodeAccess::Missing, &NODE_MISSING, "no node in /dev/infiniband"),
        (NodeAccess::Refused, &NODE_REFUSED, "this user may not read and write the node"),
    ] {
        if let Some(subjects) = names_of(efa, |efa| efa.access == access) {
            let seen = format!("{} of {}: {seen}{}", subjects.len(), efa.len(), input.container_note());
            found.push(kind.found(severity, subjects, seen));
        }
    }
    Ok(found)
}

fn ports(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let state = |efa: &EfaInterface| efa.port.as_ref().and_then(|port| port.state);
    let down = |efa: &&EfaInterface| state(efa).is_some_and(|state| state != PortState::Active);
    let found = input.efa()?.iter().filter(down).map(|efa| {
        let state = state(efa).map(|state| state.to_string()).unwrap_or_default();
        PORT_DOWN.problem(vec![name(efa)], format!("the state of its port is {state}"))
    });
    Ok(found.collect())
}

fn attached(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let host = input.machine()?;
    let name = host.instance_type().unwrap_or_default();
    let Some(table) = host.table() else {
        return match host.efa_interfaces() {
            [] if has_efa_by_name(name) && shows_pci(host) => {
                let seen = format!("{name} can have EFA interfaces, and this instance has none");
                Ok(vec![NONE_ATTACHED.note(Vec::new(), seen)])
            }
            _ => Err(Skip::NotApplicable("no table of this instance type")),
        };
    };
    if host.efa_interfaces().is_empty() && !table.efa.is_empty() && shows_pci(host) {
        let seen = format!("{name} can have {} EFA interfaces, and this instance has none", table.efa.len());
        // Accelerators of these types work over several instances.
        let severity = if table.neuron.is_empty() && table.gpu.is_empty() { Severity::Note } else { Severity::Warning };
        return Ok(vec![NONE_ATTACHED.found(severity, Vec::new(), seen)]);
    }
    let absent: Vec<String> =
        table.efa.iter().filter(|row| host.find_efa(row.address).is_err()).map(|row| row.address.to_string()).collect();
    if absent.is_empty() {
        return Ok(Vec::new());
    }
    let seen = format!("{} of the {} interfaces of the type are absent", absent.len(), table.efa.len());
    Ok(vec![NOT_ATTACHED.note(absent, seen)])
}

fn shows_pci(host: &Host) -> bool {
    host.nothing_found() != Some(NothingFound::NoPci)
}

/// Returns true if an instance type without a table has EFA interfaces according to AWS's list of types.
fn has_efa_by_name(instance_type: &str) -> bool {
    let Some((family, size)) = instance_type.split_once('.') else { return false };
    match family {
        "hpc6a" | "hpc6id" | "hpc7a" | "hpc7g" | "hpc8a" | "p3dn" | "p4d" | "p4de" | "p5" | "p5e" | "p5en"
        | "p6e-gb200" => true,
        _ if family.starts_with("p6-") || family.starts_with("trn2") || family.starts_with("trn3") => {
            size == "48xlarge"
        }
        "c5n" => matches!(size, "9xlarge" | "18xlarge" | "metal"),
        "c6in" => matches!(size, "32xlarge" | "metal"),
        _ => false,
    }
}
