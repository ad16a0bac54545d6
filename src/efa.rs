//! EFA interfaces.

use serde::{Deserialize, Serialize};

use crate::error::{Problems, Result};
use crate::pci::{self, Bdf, PciFunction, PciId};
use crate::root::{HostRoot, NodeAccess};

const RDMA: &str = "sys/class/infiniband";
const VERBS: &str = "sys/class/infiniband_verbs";

/// An EFA interface: a PCI function `1d0f:efa?`, with its RDMA device and its verbs node where the driver made them.
///
/// A function without the driver is listed too, without a name and a node: present and not usable is news, not
/// absence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EfaInterface {
    /// The PCI function; its address identifies the interface.
    #[serde(flatten)]
    pub function: PciFunction,
    /// The RDMA device's name, such as `rdmap201s0`: for other tools, never for identification.
    pub rdma: Option<String>,
    /// The number N of `/dev/infiniband/uverbsN`.
    pub uverbs: Option<u32>,
    /// Whether this process may use that node.
    pub access: NodeAccess,
}

impl EfaInterface {
    /// The PCI address.
    #[must_use]
    pub fn address(&self) -> Bdf {
        self.function.address
    }

    /// The path of the verbs node, as the host names it.
    #[must_use]
    pub fn node(&self) -> Option<String> {
        self.uverbs.map(|number| format!("/dev/infiniband/uverbs{number}"))
    }
}

/// Whether the id is an EFA interface's, of whatever generation: each has had an id `0xefa?` of Amazon's.
pub(crate) fn is_efa(id: PciId) -> bool {
    id.vendor == pci::AMAZON && id.device & 0xfff0 == 0xefa0
}

/// Whether the interface has the name and the node that it was seen with: a driver that was loaded anew, or a renaming,
/// gives them to others. One link says whose each is: `…/0000:c9:00.0/infiniband/rdmap201s0`.
pub(crate) fn is_as_seen(root: &HostRoot, interface: &EfaInterface) -> Result<bool> {
    let owns = |class: &str, name: &str| -> Result<bool> {
        let target = root.link(&format!("sys/class/{class}/{name}"))?;
        let own = format!("/{}/{class}/{name}", interface.address());
        Ok(target.is_some_and(|target| target.ends_with(&own)))
    };
    let rdma = interface.rdma.as_deref().map_or(Ok(true), |name| owns("infiniband", name))?;
    let uverbs = interface.uverbs.map_or(Ok(true), |number| owns("infiniband_verbs", &format!("uverbs{number}")))?;
    Ok(rdma && uverbs)
}

/// The interfaces among `functions`, in their order.
pub(crate) fn scan(root: &HostRoot, problems: &mut Problems, functions: &[PciFunction]) -> Vec<EfaInterface> {
    let names = class_devices(root, problems, RDMA, "infiniband");
    let nodes = class_devices(root, problems, VERBS, "infiniband_verbs");
    let interface = |function: &PciFunction| {
        let of = |devices: &[(Bdf, String)]| {
            devices.iter().find(|(address, _)| *address == function.address).map(|(_, name)| name.clone())
        };
        let uverbs: Option<u32> = of(&nodes).and_then(|name| name.strip_prefix("uverbs")?.parse().ok());
        let access = match uverbs {
            Some(number) => problems.take(root.access(&format!("dev/infiniband/uverbs{number}"))),
            None => None,
        };
        let access = access.unwrap_or(NodeAccess::Unknown);
        EfaInterface { function: function.clone(), rdma: of(&names), uverbs, access }
    };
    functions.iter().filter(|function| is_efa(function.id)).map(interface).collect()
}

/// The devices of a class that belong to a PCI function. One link says both: `…/0000:c9:00.0/infiniband/rdmap201s0`.
fn class_devices(root: &HostRoot, problems: &mut Problems, class: &str, kind: &str) -> Vec<(Bdf, String)> {
    let names = problems.take(root.list(class)).unwrap_or_default();
    let address = |target: &str| -> Option<Bdf> {
        let mut parts = target.rsplit('/').skip(1);
        (parts.next()? == kind).then(|| parts.next()?.parse().ok())?
    };
    names
        .into_iter()
        .filter_map(|name| {
            let target = problems.take(root.link(&format!("{class}/{name}")))??;
            Some((address(&target)?, name))
        })
        .collect()
}
