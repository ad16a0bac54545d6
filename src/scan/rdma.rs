//! RDMA devices: their names, their verbs nodes, and the devices that are not EFA interfaces.

use serde::{Deserialize, Serialize};

use crate::error::Problems;
use crate::scan::pci::PciFunction;
use crate::scan::root::{HostRoot, NodeAccess};
use crate::types::{Bdf, number};

pub(crate) const CLASS: &str = "sys/class/infiniband";
const VERBS: &str = "sys/class/infiniband_verbs";

/// An RDMA device that is not an EFA interface, such as the two mlx5 functions of p6-b200, or a software device.
///
/// nearfab never pairs such a device with an accelerator. nearfab lists the device because other tools list it first.
/// Also, libfabric has been seen to ignore the EFA interfaces if such a device cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RdmaDevice {
    /// The name of the device, such as `ibp115s0f0`.
    pub name: String,
    /// The PCI function of the device. A software device has no PCI function.
    pub function: Option<PciFunction>,
    /// The number N of `/dev/infiniband/uverbsN`.
    pub uverbs: Option<u32>,
    /// Whether this process may use the verbs node.
    pub access: NodeAccess,
}

/// Which network namespaces see the RDMA devices of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RdmaNamespaces {
    /// Every network namespace sees all RDMA devices. Shared is the default of the kernel.
    Shared,
    /// Each RDMA device is in one network namespace, and only that namespace sees it.
    Exclusive,
    /// A value that only a newer version of nearfab knows.
    #[serde(other)]
    Unknown,
}

/// An RDMA device as the kernel lists it.
pub(crate) struct Listed {
    /// The name; `None` if the kernel lists only the verbs node.
    pub(crate) name: Option<String>,
    /// The address of the device's PCI function.
    pub(crate) address: Option<Bdf>,
    /// The number N of `/dev/infiniband/uverbsN`.
    pub(crate) uverbs: Option<u32>,
}

/// Returns every RDMA device, in the order of PCI addresses and names.
pub(crate) fn list(root: &HostRoot, problems: &mut Problems) -> Vec<Listed> {
    let names = problems.take(root.list(CLASS)).unwrap_or_default();
    let nodes = nodes(root, problems);
    let listed = |name: String| {
        let address = address(root, problems, CLASS, "infiniband", &name);
        let own = nodes.iter().find(|node| match (&node.device, address) {
            (Owner::Function(function), Some(address)) => *function == address,
            (Owner::Name(device), _) => *device == name,
            _ => false,
        });
        Listed { uverbs: own.map(|node| node.number), address, name: Some(name) }
    };
    let mut all: Vec<Listed> = names.into_iter().map(listed).collect();
    for node in &nodes {
        match node.device {
            Owner::Function(function) if all.iter().all(|device| device.address != Some(function)) => {
                all.push(Listed { name: None, address: Some(function), uverbs: Some(node.number) });
            }
            _ => {}
        }
    }
    all.sort_by(|a, b| (a.address, &a.name).cmp(&(b.address, &b.name)));
    all
}

/// Returns the RDMA devices that are not EFA interfaces.
pub(crate) fn others(
    root: &HostRoot,
    problems: &mut Problems,
    listed: &[Listed],
    functions: &[PciFunction],
) -> Vec<RdmaDevice> {
    let mut devices = Vec::new();
    for device in listed {
        let function = functions.iter().find(|function| Some(function.address) == device.address);
        if function.is_some_and(|function| function.id.is_efa()) {
            continue;
        }
        let (Some(name), uverbs) = (device.name.clone(), device.uverbs) else { continue };
        let access = access(root, problems, uverbs);
        devices.push(RdmaDevice { name, function: function.cloned(), uverbs, access });
    }
    devices
}

/// Returns whether this process may use a verbs node.
pub(crate) fn access(root: &HostRoot, problems: &mut Problems, uverbs: Option<u32>) -> NodeAccess {
    let check = |number| problems.take(root.access(&format!("dev/infiniband/uverbs{number}")));
    uverbs.and_then(check).unwrap_or(NodeAccess::Unknown)
}

/// Returns which network namespaces see the RDMA devices; `None` if the kernel does not show it. Kernels before 5.3 have no
/// such file: there, every namespace sees all devices.
pub(crate) fn namespaces(root: &HostRoot, problems: &mut Problems) -> Option<RdmaNamespaces> {
    let mode = |text: &str| match text {
        "Y" | "1" => Some(RdmaNamespaces::Shared),
        "N" | "0" => Some(RdmaNamespaces::Exclusive),
        _ => None,
    };
    problems.take(root.parse("sys/module/ib_core/parameters/netns_mode", "Y (shared) or N (exclusive)", mode)).flatten()
}

/// A verbs node.
struct Node {
    number: u32,
    device: Owner,
}

/// The device that a verbs node belongs to.
enum Owner {
    /// A PCI function.
    Function(Bdf),
    /// A software device, by its name.
    Name(String),
}

/// Returns the verbs nodes. The link of a node names the PCI function; the node of a software device has the device's
/// name in the file `ibdev`.
fn nodes(root: &HostRoot, problems: &mut Problems) -> Vec<Node> {
    let names = problems.take(root.list(VERBS)).unwrap_or_default();
    let mut nodes = Vec::new();
    for name in names {
        // The folder also contains an attribute of the class.
        let Some(number) = name.strip_prefix("uverbs").and_then(number) else { continue };
        let device = match address(root, problems, VERBS, "infiniband_verbs", &name) {
            Some(function) => Owner::Function(function),
            None => match problems.take(root.read(&format!("{VERBS}/{name}/ibdev"))).flatten() {
                Some(device) => Owner::Name(device),
                None => continue,
            },
        };
        nodes.push(Node { number, device });
    }
    nodes
}

/// Returns the PCI function of a device of a class, from the target of the device's link:
/// `…/0000:c9:00.0/infiniband/rdmap201s0`.
fn address(root: &HostRoot, problems: &mut Problems, class: &str, kind: &str, name: &str) -> Option<Bdf> {
    let target = problems.take(root.link(&format!("{class}/{name}")))??;
    let mut parts = target.rsplit('/').skip(1);
    (parts.next()? == kind).then(|| parts.next()?.parse().ok())?
}
