//! Neuron devices: driver, nodes, and where they are.

use nearfab::{Basis, NeuronDevice, NodeAccess, PciFunction};

use super::case::{Case, Skip};
use super::efa;
use super::finding::{Check, Complaint, Finding, Severity};

const NO_DRIVER: Complaint = Complaint {
    id: "neuron-no-driver",
    means: "The Neuron driver does not have the function, so there is no node and no runtime can use it. The module is not loaded by \
            itself but on inf1: nothing ties it to the ids of newer devices.",
    action: "Install aws-neuronx-dkms and load the module (modprobe neuron; /etc/modules-load.d/neuron.conf keeps it); see that \
             DKMS built it for this kernel; unbind another driver such as vfio-pci.",
    source: "modinfo neuron: the only alias is that of 1d0f:7064.",
};
const NODE_MISSING: Complaint = Complaint {
    id: "neuron-node-missing",
    means: "The driver shows the device and there is no node for it here. In a container that was given a part of the devices \
            this is as it should be; sysfs shows the others too.",
    action: "In a container, request devices (aws.amazon.com/neuron, or a claim), or pass the nodes (--device=/dev/neuron0); on \
             a host, see that udev runs.",
    source: "aws-neuron-sdk issues 396, 415, 482, 633.",
};
const NODE_REFUSED: Complaint = Complaint {
    id: "neuron-node-refused",
    means: "This user may not open the node: the runtime finds no device.",
    action: "Add the user to the group that owns the node (neuron, where AWS's recommended rule is used), or make an udev rule. \
             Who may open a node can reach all memory of the host: give it to users who may.",
    source: "AWS Neuron documentation: udev rule with GROUP neuron, mode 0660.",
};
const FEWER: Complaint = Complaint {
    id: "neuron-fewer-than-type",
    means: "The instance type has more devices than the driver shows: some fell off the bus, failed to start, or are bound to \
            another driver. Collectives over all devices do not work.",
    action: "Look into the kernel's log for neuron; stop and start the instance, which moves it to other hardware.",
    source: "nearfab's table of the instance type.",
};
const PAIR_MISSING: Complaint = Complaint {
    id: "neuron-pair-missing",
    means: "The vendor pairs the device with an EFA interface that is not there. Another interface behind the same switch is \
            used, where there is one, and shared.",
    action: "nearfab near DEVICE shows which is the nearest now. Launch the instance with all interfaces, if the bandwidth is needed.",
    source: "AWS's map of pairings; seen on a trn2.48xlarge node of EKS with 15 EFA interfaces.",
};
const NO_NUMA: Complaint = Complaint {
    id: "numa-unknown",
    means: "The firmware does not say on which NUMA node these are (numa_node is -1), which is not node 0: what binds memory and \
            CPUs by it binds wrongly.",
    action: "Leave the binding to measurement, or to nearfab near, which says what is not known.",
    source: "Seen on g5.48xlarge and trn1.2xlarge.",
};

pub(super) const DRIVER: Check = Check { name: "Neuron driver", complaints: || vec![NO_DRIVER], run: driver };
pub(super) const NODES: Check =
    Check { name: "Neuron nodes", complaints: || vec![NODE_MISSING, NODE_REFUSED], run: nodes };
pub(super) const PLACES: Check =
    Check { name: "places of devices", complaints: || vec![FEWER, PAIR_MISSING, NO_NUMA], run: places };

fn driver(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    let host = case.machine()?;
    let driverless = host.driverless();
    if driverless.is_empty() {
        case.neuron()?;
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

fn nodes(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    let devices = case.neuron()?;
    let usable = devices.iter().any(|device| device.access == NodeAccess::Granted);
    let severity = if usable { Severity::Warning } else { Severity::Problem };
    let mut found = Vec::new();
    for (access, complaint, seen) in [
        (NodeAccess::Missing, &NODE_MISSING, "no node in /dev"),
        (NodeAccess::Refused, &NODE_REFUSED, "the node is there, and not to be read and written by this user"),
    ] {
        let those: Vec<&NeuronDevice> = devices.iter().filter(|device| device.access == access).collect();
        if !those.is_empty() {
            let seen = format!("{} of {}: {seen}{}", those.len(), devices.len(), case.container());
            found.push(complaint.found(severity, names(those.into_iter()), seen));
        }
    }
    Ok(found)
}

fn places(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    let host = case.machine()?;
    if host.neuron().is_empty() && host.efa().is_empty() {
        return Err(Skip::NotHere("no device"));
    }
    let mut found = Vec::new();
    if let Some(table) = host.table()
        && !host.neuron().is_empty()
        && host.neuron().len() < table.neuron.len()
    {
        let missing = table.neuron.iter().filter(|row| host.find_neuron(row.index).is_err());
        let seen = format!("{} of {} devices are shown", host.neuron().len(), table.neuron.len());
        found.push(FEWER.warning(missing.map(|row| row.index.to_string()).collect(), seen));
    }
    let pairless: Vec<&NeuronDevice> = host.neuron().iter().filter(|device| lacks_pair(case, device)).collect();
    if !pairless.is_empty() {
        found.push(PAIR_MISSING.note(names(pairless.into_iter()), "the paired EFA interface is not on this host"));
    }
    if host.numa().len() > 1 {
        let unknown = |function: &&PciFunction| function.numa.is_none();
        let mut subjects = addresses(host.neuron().iter().filter_map(NeuronDevice::function).filter(unknown));
        subjects.extend(host.efa().iter().filter(|efa| efa.function.numa.is_none()).map(efa::name));
        if !subjects.is_empty() {
            found.push(NO_NUMA.note(subjects, format!("the host has {} NUMA nodes", host.numa().len())));
        }
    }
    Ok(found)
}

fn lacks_pair(case: &Case<'_>, device: &NeuronDevice) -> bool {
    let near = case.host.near_device(device.index, Basis::Pairing);
    near.is_ok_and(|near| near.missing_pair.is_some())
}

fn names<'a>(devices: impl Iterator<Item = &'a NeuronDevice>) -> Vec<String> {
    devices.map(|device| device.index.to_string()).collect()
}

fn addresses<'a>(functions: impl Iterator<Item = &'a PciFunction>) -> Vec<String> {
    functions.map(|function| function.address.to_string()).collect()
}
