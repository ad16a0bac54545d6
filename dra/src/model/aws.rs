//! The devices under the names and attributes of AWS's two drivers, for claims that were written for those drivers.
//!
//! AWS's device classes select by driver alone, so only whole devices are published.

use k8s_openapi::api::resource::v1::{Device, DeviceAttribute};
use nearfab::instances::{GroupSize, InstanceTable};
use nearfab::{EfaInterface, HostDevice, NeuronDevice};

use super::attributes::{Attributes, common_place, groups, int, put, text, version};
use super::hardware::Hardware;
use super::slices::Pool;
use super::unit::{Unit, address_of_label, label};

/// The name of AWS's driver for Neuron devices.
pub const NEURON: &str = "neuron.aws.com";
/// The name of DRANET, AWS's driver for EFA interfaces.
pub const EFA: &str = "dra.net";

/// Returns the pools of both drivers.
#[must_use]
pub fn pools(hardware: &Hardware<'_>, node: &str) -> Vec<Pool> {
    let pool =
        |driver, devices| Pool { driver, name: node.to_owned(), node: node.to_owned(), counters: Vec::new(), devices };
    vec![
        pool(NEURON, hardware.neuron().iter().map(|device| neuron(hardware, device)).collect()),
        pool(EFA, hardware.efa().iter().map(|interface| efa(hardware, interface)).collect()),
    ]
}

/// Returns the unit that a device of AWS's drivers is.
#[must_use]
pub fn unit_of(driver: &str, name: &str) -> Option<Unit> {
    match driver {
        NEURON => Some(Unit::Neuron(HostDevice(name.strip_prefix("neuron-device-")?.parse().ok()?))),
        EFA => address_of_label(name.strip_prefix("pci-")?).map(Unit::Efa),
        _ => None,
    }
}

fn neuron(hardware: &Hardware<'_>, device: &NeuronDevice) -> Device {
    let host = hardware.host();
    let mut attributes = groups_of_aws(|size| host.device_group(device.index, size));
    put(&mut attributes, "deviceId", int(device.index.0));
    put(&mut attributes, "resourceType", text("neuron_device"));
    put(&mut attributes, "draDriverVersion", version(env!("CARGO_PKG_VERSION")));
    if let Some(instance_type) = host.instance_type() {
        put(&mut attributes, "instanceType", text(instance_type));
    }
    // The version has four parts, so it is a text and no semantic version.
    if let Some(version) = host.neuron_driver().and_then(|driver| driver.version.clone()) {
        put(&mut attributes, "neuronDriverVersion", text(version));
    }
    if let Some((row, column)) = host.table().and_then(|table| torus(table, device.index)) {
        put(&mut attributes, "topology_x", int(row));
        put(&mut attributes, "topology_y", int(column));
        put(&mut attributes, "topology4_id", int(device.index.0 / 4));
        put(&mut attributes, "topology8_id", int(device.index.0 / 8));
    }
    Device { name: format!("neuron-device-{}", device.index.0), attributes: Some(attributes), ..Default::default() }
}

fn efa(hardware: &Hardware<'_>, efa: &EfaInterface) -> Device {
    let address = efa.address();
    let mut attributes = groups_of_aws(|size| hardware.host().efa_group(address, size));
    put(&mut attributes, "pciAddress", text(address.to_string()));
    put(&mut attributes, "pciVendor", text("Amazon.com, Inc."));
    put(&mut attributes, "pciDevice", text("Elastic Fabric Adapter (EFA)"));
    put(&mut attributes, "pciSubsystem", text(format!("efa{:x}", efa.generation())));
    put(&mut attributes, "rdma", DeviceAttribute { bool: Some(efa.rdma.is_some()), ..Default::default() });
    if let Some(rdma) = &efa.rdma {
        put(&mut attributes, "rdmaDevice", text(rdma));
    }
    if let Some(node) = efa.function.numa {
        put(&mut attributes, "numaNode", int(node));
    }
    attributes.extend(common_place(&[&efa.function]));
    Device { name: format!("pci-{}", label(address)), attributes: Some(attributes), ..Default::default() }
}

/// Returns the groups of the sizes that AWS's drivers publish.
fn groups_of_aws(id: impl Fn(GroupSize) -> Option<String>) -> Attributes {
    groups(|size| if size == GroupSize::Two { None } else { id(size) })
}

/// Returns the row and the column of a device in the torus of an instance type with sixteen devices.
fn torus(table: &InstanceTable, device: HostDevice) -> Option<(u32, u32)> {
    (table.neuron.len() == 16 && device.0 < 16).then_some((device.0 / 4, device.0 % 4))
}
