//! The published device model: what Kubernetes gets to know of a host.
//!
//! Names, order and attributes are an interface that claims rely on. Names stay with the hardware: the number of a
//! Neuron device, the PCI address of an EFA interface, so that an interface that is missing after a boot renames
//! none of the others. The order is the topology's, Neuron devices by number and EFA interfaces by the device they
//! are paired with, since the scheduler takes the first that fit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nearfab::instances::GroupSize;
use nearfab::{Bdf, EfaInterface, Host, HostDevice, NeuronDevice, NodeAccess, PciFunction};

use crate::error::{Error, Result};

/// A value of an attribute, in the two types that are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Int(i64),
    /// A text of at most 64 bytes.
    Text(String),
}

/// Attributes by their qualified names. One without a domain is in the driver's own.
pub type Attributes = BTreeMap<&'static str, Value>;

/// One device of the host, as Kubernetes is to see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name in the node's pool, a DNS label.
    pub name: String,
    /// What selectors and constraints can ask of it.
    pub attributes: Attributes,
    /// Its device node, as the host and a container see it; or why it has none that could be handed out.
    pub node: Result<PathBuf, String>,
}

/// What a host has to offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// Its devices in their published order, usable or not.
    pub devices: Vec<Device>,
    /// What could not be read or is not as it should be, one sentence each.
    pub problems: Vec<String>,
}

impl Inventory {
    /// Looks at the host below `root`.
    ///
    /// # Errors
    /// When there is nothing to look at. A host without devices is an empty inventory.
    pub fn discover(root: &Path) -> Result<Self> {
        let host = Host::from_root(root).map_err(|source| Error::Discovery { root: root.to_owned(), source })?;
        Ok(Self::of(&host))
    }

    /// What `host` has to offer.
    pub fn of(host: &Host) -> Self {
        let neuron = host.neuron().iter().map(|device| self::neuron(host, device));
        let mut interfaces: Vec<&EfaInterface> = host.efa().iter().collect();
        // Those without a pair come last, in the order of their addresses, which they have already.
        interfaces.sort_by_key(|efa| first_paired(host, efa.address()).unwrap_or(HostDevice(u32::MAX)));
        let efa = interfaces.into_iter().map(|efa| self::efa(host, efa));
        let devices: Vec<Device> = neuron.chain(efa).collect();

        let driverless = host.driverless().iter().map(|function| {
            format!("the Neuron device at {} is not published: no driver is bound to it", function.address)
        });
        let unusable = devices.iter().filter_map(|device| {
            let reason = device.node.as_ref().err()?;
            Some(format!("{} is not published: {reason}", device.name))
        });
        let problems = host.problems().iter().cloned().chain(driverless).chain(unusable).collect();
        Self { devices, problems }
    }

    /// The node of the device of that name.
    ///
    /// # Errors
    /// When there is no such device, or none that could be handed out.
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
        attributes.extend(place(address, device.function()));
    }
    attributes.extend(groups(|size| host.device_group(device.index, size)));
    Device { name: format!("neuron-{}", device.index.0), attributes, node: usable(device.node(), device.access) }
}

fn efa(host: &Host, efa: &EfaInterface) -> Device {
    let mut attributes = Attributes::from([("type", Value::Text("efa".to_owned()))]);
    if let Some(rdma) = &efa.rdma {
        attributes.insert("rdmaDevice", Value::Text(rdma.clone()));
    }
    attributes.extend(place(efa.address(), Some(&efa.function)));
    attributes.extend(groups(|size| host.efa_group(efa.address(), size)));
    let no_node = "it has no verbs node: is it bound to the efa driver, is ib_uverbs loaded?";
    Device {
        name: format!("efa-{}", efa.address().to_string().replace([':', '.'], "-")),
        attributes,
        node: efa.node().ok_or_else(|| no_node.to_owned()).and_then(|node| usable(node, efa.access)),
    }
}

/// The first of the Neuron devices that the instance's table pairs with an interface, whether it is there or not.
fn first_paired(host: &Host, efa: Bdf) -> Option<HostDevice> {
    host.table()?.neuron.iter().find(|row| row.efa == efa).map(|row| row.index)
}

/// Where a device is, in the words that Kubernetes has for all drivers.
fn place(address: Bdf, function: Option<&PciFunction>) -> Attributes {
    let mut attributes = Attributes::from([("resource.kubernetes.io/pciBusID", Value::Text(address.to_string()))]);
    if let Some(root) = function.and_then(|function| function.root) {
        attributes.insert("resource.kubernetes.io/pcieRoot", Value::Text(root.to_string()));
    }
    if let Some(node) = function.and_then(|function| function.numa) {
        attributes.insert("resource.kubernetes.io/numaNode", Value::Int(node.into()));
    }
    attributes
}

/// The device groups, under the names that claims for AWS's drivers use; the group of two is ours.
fn groups(id: impl Fn(GroupSize) -> Option<String>) -> Attributes {
    let name = |size| match size {
        GroupSize::One => "resource.aws.com/devicegroup1_id",
        GroupSize::Two => "nearfab.dev/devicegroup2_id",
        GroupSize::Four => "resource.aws.com/devicegroup4_id",
        GroupSize::Eight => "resource.aws.com/devicegroup8_id",
        GroupSize::Sixteen => "resource.aws.com/devicegroup16_id",
    };
    GroupSize::ALL.into_iter().filter_map(|size| Some((name(size), Value::Text(id(size)?)))).collect()
}

/// The node, when it is there. Whether this process may open it says nothing about the container that will.
fn usable(node: String, access: NodeAccess) -> Result<PathBuf, String> {
    match access {
        NodeAccess::Granted | NodeAccess::Refused => Ok(node.into()),
        NodeAccess::Missing => Err(format!("{node} is missing")),
        _ => Err(format!("nothing is known of {node}")),
    }
}
