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

/// An EFA interface: a PCI function `1d0f:efa?`, with the RDMA device and the verbs node that the efa driver made for
/// the function.
///
/// A function without the driver is listed too, without a name and a node: an unusable interface is not the same as no
/// interface.
///
/// The driver has all these values in memory. Counters are in the [telemetry](crate::telemetry()), because reading a
/// counter costs the device a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EfaInterface {
    /// The PCI function; its address identifies the interface.
    #[serde(flatten)]
    pub function: PciFunction,
    /// The name of the RDMA device, such as `rdmap201s0`, for use with other tools. The name can change: identify an
    /// interface by its PCI address.
    pub rdma: Option<String>,
    /// The number N of `/dev/infiniband/uverbsN`.
    pub uverbs: Option<u32>,
    /// Whether this process may use the verbs node.
    pub access: NodeAccess,
    /// The version of the firmware. The attribute in sysfs (`fw_ver`) exists, and no efa driver so far writes a version
    /// into it.
    #[serde(default)]
    pub firmware: Option<String>,
    /// The GUID of the RDMA node, which identifies the network card behind the interface. The GUID contains the PCI
    /// domain and bus in the hypervisor: never compare the GUID with a PCI address of this machine. `None` with an efa
    /// driver before 2.12, and on p4d, whose devices have no GUID.
    #[serde(default)]
    pub node_guid: Option<Guid>,
    /// The devices whose memory the driver can register directly: `NVIDIA`, `NEURON`, or an empty text for none. `None`
    /// if the driver does not show the devices, like the efa driver of the kernel.
    #[serde(default)]
    pub p2p: Option<String>,
    /// The port. An EFA interface has one port.
    #[serde(default)]
    pub port: Option<Port>,
}

/// The efa kernel module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EfaDriver {
    /// The version of the module, such as `3.1.0g`. The module of the kernel has no version.
    pub version: Option<String>,
}

impl EfaInterface {
    /// Returns the PCI address.
    #[must_use]
    pub fn address(&self) -> Bdf {
        self.function.address
    }

    /// Returns the generation of the device, the last hexadecimal digit of its PCI device id: 0 (`efa0`) on p4d, 1 on
    /// p5 and trn1, 2 on p5en, 3 on p6. The generation does not determine the bandwidth.
    #[must_use]
    pub fn generation(&self) -> u16 {
        self.function.id.device & 0xf
    }

    /// Returns the path of the verbs node on the host; `None` if the interface has no verbs node.
    #[must_use]
    pub fn node(&self) -> Option<String> {
        self.uverbs.map(|number| format!("/dev/infiniband/uverbs{number}"))
    }
}

/// Returns true if the interface still has the name and the node of its discovery. The name and the node can belong to
/// another interface after the driver was reloaded or a device was renamed. The target of the link in sysfs names the
/// owner: `…/0000:c9:00.0/infiniband/rdmap201s0`.
#[cfg(feature = "live")]
pub(crate) fn is_as_seen(root: &HostRoot, interface: &EfaInterface) -> Result<bool> {
    let owns = |class: &str, name: &str| -> Result<bool> {
        let target = root.link(&format!("sys/class/{class}/{name}"))?;
        let expected = format!("/{}/{class}/{name}", interface.address());
        Ok(target.is_some_and(|target| target.ends_with(&expected)))
    };
    let rdma = interface.rdma.as_deref().map_or(Ok(true), |name| owns("infiniband", name))?;
    let uverbs = interface.uverbs.map_or(Ok(true), |number| owns("infiniband_verbs", &format!("uverbs{number}")))?;
    Ok(rdma && uverbs)
}

/// Returns the EFA interfaces among `functions`, in the same order.
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

/// Returns the efa module; `None` if the module is neither loaded nor built in. The module's folder, or a function
/// bound to the module, shows that the module exists.
pub(crate) fn driver(root: &HostRoot, problems: &mut Problems, functions: &[PciFunction]) -> Option<EfaDriver> {
    let version = problems.take(root.read(&format!("{MODULE}/version"))).flatten();
    let drives = || functions.iter().any(|function| function.driver.as_deref() == Some("efa"));
    let loaded = version.is_some() || drives() || !problems.take(root.list(MODULE)).unwrap_or_default().is_empty();
    loaded.then_some(EfaDriver { version })
}
