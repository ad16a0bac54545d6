//! Finds NVIDIA GPUs, their device nodes, and whether this process may open the nodes.

use serde::{Deserialize, Serialize};

use crate::error::Problems;
use crate::scan::pci::{Identity, PciFunction};
use crate::scan::root::{HostRoot, NodeAccess};
use crate::types::{Bdf, number};

const NVIDIA: u16 = 0x10de;
/// The PCI classes of a GPU, without the programming interface: VGA controller and 3D controller. NVSwitches and audio
/// functions have other classes.
const CLASSES: [u32; 2] = [0x0300, 0x0302];
/// The folder in which the NVIDIA driver lists the GPUs that a process can use. Container runtimes mask the other GPUs
/// of the host.
const DRIVER: &str = "proc/driver/nvidia/gpus";

/// An NVIDIA GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Gpu {
    /// The PCI function. The address of the function identifies the GPU. CUDA and nvidia-smi may number GPUs in another
    /// order.
    #[serde(flatten)]
    pub function: PciFunction,
    /// The number N of `/dev/nvidiaN`; `None` if the NVIDIA driver does not list the GPU.
    #[serde(default)]
    pub minor: Option<u32>,
    /// Whether this process may open the node. [`NodeAccess::Missing`] if the driver lists only other GPUs, as in a
    /// container. [`NodeAccess::Unknown`] if the driver lists no GPU.
    #[serde(default = "unknown")]
    pub access: NodeAccess,
}

impl Gpu {
    /// Returns the PCI address.
    #[must_use]
    pub fn address(&self) -> Bdf {
        self.function.address
    }

    /// Returns the path of the device node on the host; `None` if the driver does not list the GPU.
    #[must_use]
    pub fn node(&self) -> Option<String> {
        self.minor.map(|minor| format!("/dev/nvidia{minor}"))
    }
}

fn unknown() -> NodeAccess {
    NodeAccess::Unknown
}

/// Returns true if a function is a GPU.
pub(crate) fn is_gpu(identity: &Identity) -> bool {
    identity.id.vendor == NVIDIA && identity.class.is_some_and(|class| CLASSES.contains(&(class >> 8)))
}

/// Returns the GPUs among the functions of a scan. The scan selected no other functions of NVIDIA.
pub(crate) fn scan(root: &HostRoot, problems: &mut Problems, functions: &[PciFunction]) -> Vec<Gpu> {
    let functions: Vec<&PciFunction> = functions.iter().filter(|function| function.id.vendor == NVIDIA).collect();
    if functions.is_empty() {
        return Vec::new();
    }
    let listed = problems.take(root.list(DRIVER)).unwrap_or_default();
    let listed: Vec<(Bdf, String)> = listed.into_iter().filter_map(|name| Some((name.parse().ok()?, name))).collect();
    let gpu = |function: &&PciFunction| {
        let folder = listed.iter().find(|(address, _)| *address == function.address);
        let minor = folder.and_then(|(_, name)| problems.take(minor(root, name)).flatten());
        let access = match (minor, folder) {
            (Some(minor), _) => {
                problems.take(root.access(&format!("dev/nvidia{minor}"))).unwrap_or(NodeAccess::Unknown)
            }
            (None, None) if !listed.is_empty() => NodeAccess::Missing,
            _ => NodeAccess::Unknown,
        };
        Gpu { function: (*function).clone(), minor, access }
    };
    functions.iter().map(gpu).collect()
}

/// Reads the line `Device Minor:` of the driver's description of a GPU.
fn minor(root: &HostRoot, name: &str) -> crate::error::Result<Option<u32>> {
    let text = root.read(&format!("{DRIVER}/{name}/information"))?.unwrap_or_default();
    Ok(text.lines().find_map(|line| number(line.strip_prefix("Device Minor:")?.trim())))
}
