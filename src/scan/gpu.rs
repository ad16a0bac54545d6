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
    /// The UUID, as nvidia-smi and `CUDA_VISIBLE_DEVICES` write it: `GPU-5d2cdc5e-…`. `None` if the NVIDIA driver does
    /// not list the GPU.
    #[serde(default)]
    pub uuid: Option<String>,
    /// Whether this process may open the node. [`NodeAccess::Missing`] if the driver lists only other GPUs, and only they
    /// have nodes, as in a container. [`NodeAccess::Unknown`] if the driver lists no GPU.
    #[serde(default = "unknown")]
    pub access: NodeAccess,
}

impl Gpu {
    /// Returns the PCI address.
    #[must_use]
    pub fn address(&self) -> Bdf {
        self.function.address
    }

    /// Returns true if the UUID begins with this text, in capital or small letters.
    pub(crate) fn has_uuid(&self, beginning: &str) -> bool {
        let start = self.uuid.as_deref().and_then(|uuid| uuid.get(..beginning.len()));
        start.is_some_and(|start| start.eq_ignore_ascii_case(beginning))
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
    let nodes = problems.take(root.list("dev")).unwrap_or_default();
    let nodes = nodes.iter().filter(|name| name.strip_prefix("nvidia").and_then(number::<u32>).is_some()).count();
    let gpu = |function: &&PciFunction| {
        let name = listed.iter().find(|(address, _)| *address == function.address).map(|(_, name)| name);
        let Description { minor, uuid } =
            name.and_then(|name| problems.take(description(root, name))).unwrap_or_default();
        let access = match (minor, name) {
            (Some(minor), _) => {
                problems.take(root.access(&format!("dev/nvidia{minor}"))).unwrap_or(NodeAccess::Unknown)
            }
            // A privileged container can have the nodes of GPUs that its driver folder does not list.
            (None, None) if !listed.is_empty() && nodes <= listed.len() => NodeAccess::Missing,
            _ => NodeAccess::Unknown,
        };
        Gpu { function: (*function).clone(), minor, uuid, access }
    };
    functions.iter().map(gpu).collect()
}

/// What the driver tells about a GPU.
#[derive(Default)]
struct Description {
    minor: Option<u32>,
    uuid: Option<String>,
}

/// Reads the lines `Device Minor:` and `GPU UUID:` of the driver's description of a GPU. The driver writes `GPU-????…` for
/// a GPU that no process has opened yet.
fn description(root: &HostRoot, name: &str) -> crate::error::Result<Description> {
    let text = root.read(&format!("{DRIVER}/{name}/information"))?.unwrap_or_default();
    let value = |key: &str| text.lines().find_map(|line| Some(line.strip_prefix(key)?.trim()));
    let uuid = value("GPU UUID:").filter(|uuid| uuid.starts_with("GPU-") && !uuid.contains('?'));
    Ok(Description { minor: value("Device Minor:").and_then(number), uuid: uuid.map(str::to_owned) })
}
