//! Ids of PCI functions and of PCI roots.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::bdf::hex;

/// Vendor and device id of a PCI function, written `1d0f:7364`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PciId {
    /// The vendor id: 0x1d0f is Amazon's.
    pub vendor: u16,
    /// The device id.
    pub device: u16,
}

/// Amazon's PCI vendor id.
pub(crate) const AMAZON: u16 = 0x1d0f;

impl PciId {
    /// Returns true if this id is the id of an EFA interface. All generations so far have Amazon's vendor id and a
    /// device id `0xefa?`.
    pub(crate) fn is_efa(self) -> bool {
        self.vendor == AMAZON && self.device & 0xfff0 == 0xefa0
    }
}

impl fmt::Display for PciId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vendor, self.device)
    }
}

impl From<PciId> for String {
    fn from(id: PciId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for PciId {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        let half = |digits| u16::try_from(hex(digits, 4..=4, 0xffff)?).ok();
        let parse = || {
            let (vendor, device) = text.split_once(':')?;
            Some(Self { vendor: half(vendor)?, device: half(device)? })
        };
        parse().ok_or_else(|| format!("{text:?} is not a PCI id; expected one such as 1d0f:7364"))
    }
}

/// A PCI root bus, written `pci0000:b7` as in sysfs and in Kubernetes' `resource.kubernetes.io/pcieRoot`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PciRoot {
    /// The PCI domain.
    pub domain: u32,
    /// The root bus.
    pub bus: u8,
}

impl fmt::Display for PciRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pci{:04x}:{:02x}", self.domain, self.bus)
    }
}

impl FromStr for PciRoot {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parse = || {
            let (domain, bus) = text.strip_prefix("pci")?.split_once(':')?;
            // The kernel pads the domain to four digits and writes no more zeros. Names are compared as texts.
            if domain.len() > 4 && domain.starts_with('0') {
                return None;
            }
            let bus = u8::try_from(hex(bus, 2..=2, 0xff)?).ok()?;
            Some(Self { domain: hex(domain, 4..=8, u32::MAX)?, bus })
        };
        parse().ok_or_else(|| format!("{text:?} is not a PCI root; expected one such as pci0000:b7"))
    }
}

impl From<PciRoot> for String {
    fn from(root: PciRoot) -> Self {
        root.to_string()
    }
}

impl TryFrom<String> for PciRoot {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}
