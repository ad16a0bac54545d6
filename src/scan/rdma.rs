//! RDMA devices of any kind: what the kernel calls them, their verbs nodes, and those that are not EFA interfaces.

use serde::{Deserialize, Serialize};

use crate::error::Problems;
use crate::scan::pci::PciFunction;
use crate::scan::root::{HostRoot, NodeAccess};
use crate::types::{Bdf, number};

pub(crate) const CLASS: &str = "sys/class/infiniband";
const VERBS: &str = "sys/class/infiniband_verbs";

/// An RDMA device that is not an EFA interface, such as the two mlx5 functions beside the EFAs of p6-b200, or a
/// software one.
///
/// It is no fabric of AWS's and never counted as one, but it stands first in other tools' lists, and one that cannot be
/// opened has made libfabric give up on the EFAs as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RdmaDevice {
    /// Its name, such as `ibp115s0f0`.
    pub name: String,
    /// Its PCI function; none for a device in software.
    pub function: Option<PciFunction>,
    /// The number N of `/dev/infiniband/uverbsN`.
    pub uverbs: Option<u32>,
    /// Whether this process may use that node.
    pub access: NodeAccess,
}

/// An RDMA device as the kernel lists it.
pub(crate) struct Listed {
    /// `None` where only its verbs node is listed.
    pub(crate) name: Option<String>,
    /// The PCI function that it belongs to.
    pub(crate) address: Option<Bdf>,
    pub(crate) uverbs: Option<u32>,
}

/// Every RDMA device, by PCI address and name.
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

/// Those that are not EFA interfaces.
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

/// Whether this process may use a verbs node.
pub(crate) fn access(root: &HostRoot, problems: &mut Problems, uverbs: Option<u32>) -> NodeAccess {
    let ask = |number| problems.take(root.access(&format!("dev/infiniband/uverbs{number}")));
    uverbs.and_then(ask).unwrap_or(NodeAccess::Unknown)
}

struct Node {
    number: u32,
    device: Owner,
}

enum Owner {
    Function(Bdf),
    Name(String),
}

/// The verbs nodes. Which function one belongs to is in its link; one of a device in software names the device.
fn nodes(root: &HostRoot, problems: &mut Problems) -> Vec<Node> {
    let names = problems.take(root.list(VERBS)).unwrap_or_default();
    let mut nodes = Vec::new();
    for name in names {
        // An attribute of the class stands beside the nodes.
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

/// The PCI function of a class device. One link says both: `…/0000:c9:00.0/infiniband/rdmap201s0`.
fn address(root: &HostRoot, problems: &mut Problems, class: &str, kind: &str, name: &str) -> Option<Bdf> {
    let target = problems.take(root.link(&format!("{class}/{name}")))??;
    let mut parts = target.rsplit('/').skip(1);
    (parts.next()? == kind).then(|| parts.next()?.parse().ok())?
}
