//! EFA interfaces.

mod port;

pub use port::Port;
use serde::{Deserialize, Serialize};

use crate::error::Problems;
#[cfg(feature = "live")]
use crate::error::Result;
use crate::scan::pci::PciFunction;
use crate::scan::rdma::{self, Listed};
use crate::scan::root::{HostRoot, NodeAccess};
use crate::types::{Bdf, Guid};

const MODULE: &str = "sys/module/efa";

/// An EFA interface: a PCI function `1d0f:efa?`, with its RDMA device and its verbs node where the driver made them.
///
/// A function without the driver is listed too, without a name and a node: present and not usable is news, not
/// absence.
///
/// What is here the driver has in memory. Counters, of which each costs the device a command, are not.
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
    /// The firmware's version. No efa driver so far shows one in sysfs, where the attribute is there and empty.
    #[serde(default)]
    pub firmware: Option<String>,
    /// The node's GUID, which identifies the network card behind the interface. The domain and bus in it are the
    /// host's own, not this guest's: never compare it with a PCI address. `None` where the driver (before 2.12) or the
    /// device (p4d) has none.
    #[serde(default)]
    pub node_guid: Option<Guid>,
    /// Whose memory the driver can register directly: `NVIDIA`, `NEURON`, or an empty text for nobody's. `None` where
    /// it does not say, as the kernel's own efa driver does not.
    #[serde(default)]
    pub p2p: Option<String>,
    /// The port; an EFA has one.
    #[serde(default)]
    pub port: Option<Port>,
}

/// The efa kernel module, where it is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EfaDriver {
    /// Its version, such as `3.1.0g`. The driver that comes with the kernel has none.
    pub version: Option<String>,
}

impl EfaInterface {
    /// The PCI address.
    #[must_use]
    pub fn address(&self) -> Bdf {
        self.function.address
    }

    /// The generation of the device, the last digit of its PCI device id: 0 is `efa0`, as on p4d; 1 on p5 and trn1; 2 on
    /// p5en; 3 on p6. It says nothing of the bandwidth.
    #[must_use]
    pub fn generation(&self) -> u16 {
        self.function.id.device & 0xf
    }

    /// The path of the verbs node, as the host names it.
    #[must_use]
    pub fn node(&self) -> Option<String> {
        self.uverbs.map(|number| format!("/dev/infiniband/uverbs{number}"))
    }
}

/// Whether the interface has the name and the node that it was seen with: a driver that was loaded anew, or a renaming,
/// gives them to others. One link says whose each is: `…/0000:c9:00.0/infiniband/rdmap201s0`.
#[cfg(feature = "live")]
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
pub(crate) fn scan(
    root: &HostRoot,
    problems: &mut Problems,
    functions: &[PciFunction],
    listed: &[Listed],
) -> Vec<EfaInterface> {
    functions
        .iter()
        .filter(|function| function.id.is_efa())
        .map(|function| {
            let device = listed.iter().find(|device| device.address == Some(function.address));
            interface(root, problems, function, device)
        })
        .collect()
}

fn interface(
    root: &HostRoot,
    problems: &mut Problems,
    function: &PciFunction,
    device: Option<&Listed>,
) -> EfaInterface {
    let uverbs = device.and_then(|device| device.uverbs);
    let access = rdma::access(root, problems, uverbs);
    let p2p = problems.take(root.read(&format!("{}/p2p", function.folder()))).flatten();
    let mut interface = EfaInterface {
        function: function.clone(),
        rdma: device.and_then(|device| device.name.clone()),
        uverbs,
        access,
        firmware: None,
        node_guid: None,
        p2p,
        port: None,
    };
    if let Some(name) = &interface.rdma {
        let folder = root.folder(&format!("{}/{name}", rdma::CLASS));
        interface.firmware = problems.take(folder.read("fw_ver")).flatten().filter(|v| !v.is_empty());
        let guid = folder.parse("node_guid", "a GUID of four groups", |text| text.parse().ok());
        interface.node_guid = problems.take(guid).flatten().filter(|guid| *guid != Guid(0));
        interface.port = port::read(problems, &folder);
    }
    interface
}

/// The module, where it is loaded or built in: known by its folder or by the functions that it drives.
pub(crate) fn driver(root: &HostRoot, problems: &mut Problems, functions: &[PciFunction]) -> Option<EfaDriver> {
    let version = problems.take(root.read(&format!("{MODULE}/version"))).flatten();
    let drives = || functions.iter().any(|function| function.driver.as_deref() == Some("efa"));
    let loaded = version.is_some() || drives() || !problems.take(root.list(MODULE)).unwrap_or_default().is_empty();
    loaded.then_some(EfaDriver { version })
}
