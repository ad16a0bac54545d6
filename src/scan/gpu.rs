//! NVIDIA GPUs, for their nearness to EFA interfaces and nothing else.

use serde::{Deserialize, Serialize};

use crate::scan::pci::{Identity, PciFunction};
use crate::types::Bdf;

const NVIDIA: u16 = 0x10de;
/// The classes of a GPU, without the programming interface: a VGA controller and one without a display. NVSwitches and
/// audio functions are of others.
const CLASSES: [u32; 2] = [0x0300, 0x0302];

/// An NVIDIA GPU: where it is, and that it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// The PCI function; its address identifies the GPU. Tools that number GPUs may be told another order.
    #[serde(flatten)]
    pub function: PciFunction,
}

impl Gpu {
    /// The PCI address.
    #[must_use]
    pub fn address(&self) -> Bdf {
        self.function.address
    }
}

/// Whether a function is a GPU.
pub(crate) fn is_gpu(identity: &Identity) -> bool {
    identity.id.vendor == NVIDIA && identity.class.is_some_and(|class| CLASSES.contains(&(class >> 8)))
}

/// The GPUs among the functions that a scan was asked for: of NVIDIA's it was asked for no others.
pub(crate) fn among(functions: &[PciFunction]) -> Vec<Gpu> {
    let of_nvidia = functions.iter().filter(|function| function.id.vendor == NVIDIA);
    of_nvidia.map(|function| Gpu { function: function.clone() }).collect()
}
