//! The published device model: the devices of a host, with the names and attributes that Kubernetes sees.
//!
//! Names, order and attributes are an interface that claims rely on. A name follows the hardware: it contains the
//! number of a Neuron device or the PCI address of an EFA interface. An interface that is missing after a boot thus
//! renames no other device. The order follows the topology, since the scheduler takes the first devices that fit.
//! Neuron devices are in the order of their numbers. EFA interfaces are in the order of their paired Neuron devices.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nearfab::instances::GroupSize;
use nearfab::{Bdf, EfaInterface, Host, HostDevice, NeuronDevice, NodeAccess, PciFunction};

use crate::error::{Error, Result};

/// The value of an attribute, in the two types that the driver publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Int(i64),
    /// A text of at most 64 bytes.
    Text(String),
}

/// Attributes by their qualified names. A name without a domain belongs to the driver's own domain.
pub type Attributes = BTreeMap<&'static str, Value>;

/// A device of the host, as Kubernetes sees the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The device's name in the node's pool, a DNS label.
    pub name: String,
    /// The attributes that selectors and constraints of a claim can use.
    pub attributes: Attributes,
    /// The path of the device node, on the host and in a container, or the reason why the device has no usable node.
    pub node: Result<PathBuf, String>,
}

/// The devices of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// The devices in their published order, usable or not.
    pub devices: Vec<Device>,
    /// The problems found on the host, one sentence each.
    pub problems: Vec<String>,
}

impl Inventory {
    /// Discovers the devices of the host whose `sys` and `dev` are below `root`.
    ///
    /// # Errors
    /// When `root` cannot be opened. A host without devices gives an empty inventory.
    pub fn discover(root: &Path) -> Result<Self> {
        let host = Host::from_root(root).map_err(|source| Error::Discovery { root: root.to_owned(), source })?;
        Ok(Self::from_host(&host))
    }

    /// Returns the devices of `host`.
    pub fn from_host(host: &Host) -> Self {
        let neuron = host.neuron_devices().iter().map(|device| self::neuron(host, device));
        let mut interfaces: Vec<&EfaInterface> = host.efa_interfaces().iter().collect();
        // Interfaces without a pair are last. The sort is stable, so these interfaces stay in the order of their
        // addresses.
        interfaces.sort_by_key(|efa| first_paired(host, efa.address()).unwrap_or(HostDevice(u32::MAX)));
        let efa = interfaces.into_iter().map(|efa| self::efa(host, efa));
        let devices: Vec<Device> = neuron.chain(efa).collect();

        let driverless = host.driverless().iter().map(|function| {
            format!(
                "the Neuron device at {} is not published: no driver is bound to it; load the neuron kernel module",
                function.address
            )
        });
        let unusable = devices.iter().filter_map(|device| {
            let reason = device.node.as_ref().err()?;
            Some(format!("{} is not published: {reason}", device.name))
        });
        let problems = host.problems().iter().cloned().chain(driverless).chain(unusable).collect();
        Self { devices, problems }
    }

    /// Returns the path of the device node of the device `name`.
    ///
    /// # Errors
    /// When the host has no such device, or the device has no usable node.
    pub(crate) fn node(&self, name: &str) -> Result<PathBuf> {
        let device = self.devices.iter().find(|device| device.name == name);
        let node = device.map_or_else(|| Err("this node has no such device".to_owned()), |device| device.node.clone());
        node.map_err(|reason| Error::Unusable { device: name.to_owned(), reason })
    }
}

fn neuron(host: &Host, device: &NeuronDevice) -> Device {
    let mut attributes =
        Attributes::from([("type", Value::Text("neuron".to_owned())), ("index", Value::Int(device.index.0.into()))]);
    if let Some(address) = device.address() {
        attributes.extend(location(address, device.function()));
    }
    attributes.extend(groups(|size| host.device_group(device.index, size)));
    Device { name: format!("neuron-{}", device.index.0), attributes, node: usable_node(device.node(), device.access) }
}

fn efa(host: &Host, efa: &EfaInterface) -> Device {
    let mut attributes = Attributes::from([("type", Value::Text("efa".to_owned()))]);
    if let Some(rdma) = &efa.rdma {
        attributes.insert("rdmaDevice", Value::Text(rdma.clone()));
    }
    attributes.extend(location(efa.address(), Some(&efa.function)));
    attributes.extend(groups(|size| host.efa_group(efa.address(), size)));
    let no_node = "it has no verbs node; check that the efa driver is bound to it and that ib_uverbs is loaded";
    Device {
        name: format!("efa-{}", efa.address().to_string().replace([':', '.'], "-")),
        attributes,
        node: efa.node().ok_or_else(|| no_node.to_owned()).and_then(|node| usable_node(node, efa.access)),
    }
}

/// Returns the first Neuron device that the table of the instance type pairs with an interface. The host may lack this
/// device.
fn first_paired(host: &Host, efa: Bdf) -> Option<HostDevice> {
    host.table()?.neuron.iter().find(|row| row.efa == Some(efa)).map(|row| row.index)
}

/// Returns the location of a device, under the attribute names that Kubernetes defines for all drivers.
fn location(address: Bdf, function: Option<&PciFunction>) -> Attributes {
    let mut attributes = Attributes::from([("resource.kubernetes.io/pciBusID", Value::Text(address.to_string()))]);
    if let Some(root) = function.and_then(|function| function.root) {
        attributes.insert("resource.kubernetes.io/pcieRoot", Value::Text(root.to_string()));
    }
    if let Some(node) = function.and_then(|function| function.numa) {
        attributes.insert("resource.kubernetes.io/numaNode", Value::Int(node.into()));
    }
    attributes
}

/// Returns the device's groups, under the attribute names that claims for AWS's drivers use. Only nearfab publishes the
/// group of two.
fn groups(id: impl Fn(GroupSize) -> Option<String>) -> Attributes {
    let name = |size| match size {
        GroupSize::One => "resource.aws.com/devicegroup1_id",
        GroupSize::Two => "nearfab.dev/devicegroup2_id",
        GroupSize::Four => "resource.aws.com/devicegroup4_id",
        GroupSize::Eight => "resource.aws.com/devicegroup8_id",
        GroupSize::Sixteen => "resource.aws.com/devicegroup16_id",
    };
    GroupSize::ALL.iter().filter_map(|&size| Some((name(size), Value::Text(id(size)?)))).collect()
}

/// Returns the path of the node if the node exists. The driver may lack the permission to open the node: a container
/// gets its own permission.
fn usable_node(node: String, access: NodeAccess) -> Result<PathBuf, String> {
    match access {
        NodeAccess::Granted | NodeAccess::Refused => Ok(node.into()),
        NodeAccess::Missing => Err(format!("{node} is missing")),
        _ => Err(format!("it is not known whether {node} exists")),
    }
}
