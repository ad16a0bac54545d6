//! Checks of the Neuron devices: driver, nodes, number, pairing and NUMA nodes.

use crate::host::Host;
use crate::scan::neuron::NeuronDevice;
use crate::scan::pci::PciFunction;
use crate::scan::root::NodeAccess;
use crate::topology::{Basis, RailOptions, Rails};
use crate::types::DeviceState;

use super::efa;
use super::finding::{Check, Finding, FindingKind, Severity};
use super::input::{Input, Skip};

const NO_DRIVER: FindingKind = FindingKind {
    id: "neuron-no-driver",
    means: "The Neuron driver is not bound to the PCI function, so the device has no node and no runtime can use it. The \
            kernel loads the module automatically on inf1 only: the module does not list the PCI ids of newer devices.",
    action: "Install aws-neuronx-dkms and load the module (modprobe neuron; /etc/modules-load.d/neuron.conf loads it at \
             boot). Check that DKMS built the module for this kernel. If another driver such as vfio-pci is bound, unbind \
             it.",
    source: "modinfo neuron: its only alias is that of 1d0f:7064.",
};
const NODE_MISSING: FindingKind = FindingKind {
    id: "neuron-node-missing",
    means: "The driver shows the device in sysfs, but /dev has no node for it. A container that was given some of the \
            devices has no nodes for the others; sysfs shows all of them.",
    action: "In a container, request devices (aws.amazon.com/neuron, or a resource claim), or pass the nodes \
             (--device=/dev/neuron0). On a host, check that udev runs.",
    source: "aws-neuron-sdk issues 396, 415, 482, 633.",
};
const NODE_REFUSED: FindingKind = FindingKind {
    id: "neuron-node-refused",
    means: "This user may not open the node. The Neuron runtime finds no device.",
    action: "Add the user to the group of the node (neuron, with the udev rule that AWS recommends), or write a udev rule. A \
             user who may open the node can reach all memory of the host: add only users who may do that.",
    source: "AWS Neuron documentation: udev rule with GROUP neuron, mode 0660.",
};
const FEWER: FindingKind = FindingKind {
    id: "neuron-fewer-than-type",
    means: "The instance type has more devices than the driver shows. The missing devices are off the bus, failed to start, \
            or are bound to another driver. Collectives over all devices do not work.",
    action: "Search the kernel's log for neuron. Stop and start the instance, which moves it to other hardware.",
    source: "nearfab's table of the instance type.",
};
const PAIR_MISSING: FindingKind = FindingKind {
    id: "neuron-pair-missing",
    means: "The vendor pairs the device with an EFA interface that this host does not have. If another interface is behind \
            the same switch, the device shares that one.",
    action: "nearfab near DEVICE shows which interface is the nearest now. If you need the bandwidth, launch the instance \
             with all interfaces.",
    source: "AWS's map of pairings; seen on a trn2.48xlarge node of EKS with 15 EFA interfaces.",
};
const NEAR_NOT_USABLE: FindingKind = FindingKind {
    id: "near-efa-not-usable",
    means: "This process can use these devices, and it cannot use the EFA interfaces that are nearest to them. Traffic takes \
            an interface farther away, or TCP if no interface can be used.",
    action: "nearfab near DEVICE shows the state of each interface. In a container, request the devices and their near \
             interfaces together, in one resource claim.",
    source: "nearfab's ranking of the interfaces, and the access to their nodes.",
};
const RESET_FAILED: FindingKind = FindingKind {
    id: "neuron-reset-failed",
    means: "The last reset of the device failed, and the driver refuses to open the device (EINVAL). nearfab plans no ranks on \
            the device.",
    action: "Reset the device again while no process uses it: write 1 into the attribute reset of the device. If the reset fails \
             again, stop and start the instance, which moves it to other hardware.",
    source: "Neuron driver, sysfs: reset is 2; neuron_cdev.c.",
};
const RESETTING: FindingKind = FindingKind {
    id: "neuron-in-reset",
    means: "The device is in reset. A process that opens the device waits until the reset ends, and only a signal that ends the \
            process interrupts the wait.",
    action: "Run the doctor again. If the device is still in reset after a minute, the reset hangs: stop and start the instance.",
    source: "Neuron driver, sysfs: reset is 0; neuron_cdev.c.",
};
const NO_NUMA: FindingKind = FindingKind {
    id: "numa-unknown",
    means: "The firmware does not report the NUMA node of these devices (numa_node is -1, which is not node 0). A program \
            that binds memory and CPUs by numa_node binds wrongly.",
    action: "Choose the binding by measurement. nearfab near shows which distances are unknown.",
    source: "Seen on g5.48xlarge and trn1.2xlarge.",
};

pub(super) const DRIVER: Check = Check { name: "Neuron driver", kinds: || vec![NO_DRIVER], run: driver };
pub(super) const NODES: Check = Check { name: "Neuron nodes", kinds: || vec![NODE_MISSING, NODE_REFUSED], run: nodes };
pub(super) const STATE: Check = Check { name: "Neuron reset", kinds: || vec![RESET_FAILED, RESETTING], run: state };
pub(super) const PLACES: Check =
    Check { name: "location of devices", kinds: || vec![FEWER, PAIR_MISSING, NEAR_NOT_USABLE, NO_NUMA], run: places };

fn driver(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let host = input.machine()?;
    let driverless = host.driverless();
    if driverless.is_empty() {
        input.neuron()?;
        return Ok(Vec::new());
    }
    let bound = driverless.iter().find_map(|function| function.driver.as_deref());
    let loaded = if host.neuron_driver().is_some() { "loaded" } else { "not loaded" };
    let seen = match bound {
        Some(other) => format!("{other} is bound; the Neuron driver is {loaded}"),
        None => format!("no driver is bound; the Neuron driver is {loaded}"),
    };
    Ok(vec![NO_DRIVER.problem(addresses(driverless.iter()), seen)])
}

fn nodes(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let devices = input.neuron()?;
    let usable = devices.iter().any(|device| device.access == NodeAccess::Granted);
    let severity = if usable { Severity::Warning } else { Severity::Problem };
    let mut found = Vec::new();
    for (access, kind, seen) in [
        (NodeAccess::Missing, &NODE_MISSING, "no node in /dev"),
        (NodeAccess::Refused, &NODE_REFUSED, "this user may not read and write the node"),
    ] {
        let matching: Vec<&NeuronDevice> = devices.iter().filter(|device| device.access == access).collect();
        if !matching.is_empty() {
            let seen = format!("{} of {}: {seen}{}", matching.len(), devices.len(), input.container_note());
            found.push(kind.found(severity, names(matching.into_iter()), seen));
        }
    }
    Ok(found)
}

fn state(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let devices = input.neuron()?;
    if devices.iter().all(|device| device.state.is_none()) {
        return Err(Skip::NotPossible("only root may read whether a reset failed".into()));
    }
    let in_state = |state| devices.iter().filter(move |device| device.state == Some(state));
    let mut found = Vec::new();
    if in_state(DeviceState::ResetFailed).next().is_some() {
        found.push(RESET_FAILED.problem(names(in_state(DeviceState::ResetFailed)), "the attribute reset is 2"));
    }
    if in_state(DeviceState::Resetting).next().is_some() {
        found.push(RESETTING.warning(names(in_state(DeviceState::Resetting)), "the attribute reset is 0"));
    }
    Ok(found)
}

fn places(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let host = input.machine()?;
    if host.neuron_devices().is_empty() && host.efa_interfaces().is_empty() {
        return Err(Skip::NotApplicable("no device"));
    }
    let mut found = Vec::new();
    if let Some(table) = host.table()
        && !host.neuron_devices().is_empty()
        && host.neuron_devices().len() < table.neuron.len()
    {
        let missing = table.neuron.iter().filter(|row| host.find_neuron(row.index).is_err());
        let seen = format!("the driver shows {} of {} devices", host.neuron_devices().len(), table.neuron.len());
        found.push(FEWER.warning(missing.map(|row| row.index.to_string()).collect(), seen));
    }
    let pairless: Vec<&NeuronDevice> =
        host.neuron_devices().iter().filter(|device| lacks_pair(input.host, device)).collect();
    if !pairless.is_empty() {
        found.push(PAIR_MISSING.note(names(pairless.into_iter()), "the paired EFA interface is not on this host"));
    }
    let far = far_from_usable(host);
    if !far.is_empty() {
        let seen = "no interface of the first rank can be used by this process";
        found.push(NEAR_NOT_USABLE.warning(far, format!("{seen}{}", input.container_note())));
    }
    if host.numa_nodes().len() > 1 {
        let unknown = |function: &&PciFunction| function.numa.is_none();
        let mut subjects = addresses(host.neuron_devices().iter().filter_map(NeuronDevice::function).filter(unknown));
        subjects.extend(host.efa_interfaces().iter().filter(|efa| efa.function.numa.is_none()).map(efa::name));
        if !subjects.is_empty() {
            found.push(NO_NUMA.note(subjects, format!("the host has {} NUMA nodes", host.numa_nodes().len())));
        }
    }
    Ok(found)
}

/// Returns the usable devices and GPUs whose nearest interfaces cannot be used.
fn far_from_usable(host: &Host) -> Vec<String> {
    let is_far = |rails: &Rails| {
        rails.passed_over.iter().any(|near| near.rank == 1) && rails.rails.iter().all(|rail| rail.near.rank > 1)
    };
    let all = host.all_rails(RailOptions::default());
    all.into_iter().filter(is_far).map(|rails| rails.of.to_string()).collect()
}

fn lacks_pair(host: &Host, device: &NeuronDevice) -> bool {
    let near = host.near_device(device.index, Basis::Pairing);
    near.is_ok_and(|near| near.missing_pair.is_some())
}

fn names<'a>(devices: impl Iterator<Item = &'a NeuronDevice>) -> Vec<String> {
    devices.map(|device| device.index.to_string()).collect()
}

fn addresses<'a>(functions: impl Iterator<Item = &'a PciFunction>) -> Vec<String> {
    functions.map(|function| function.address.to_string()).collect()
}
