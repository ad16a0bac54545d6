//! The distance between two PCI functions.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::scan::pci::PciFunction;

/// The distance between two PCI functions, in order from near to far.
///
/// Flat guests (trn1, p4d) show no PCIe bridges. The same root is the closest level on such guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Proximity {
    /// The two functions are the same function.
    SameFunction,
    /// Both functions are below one bridge. Traffic between them need not reach the PCI root.
    SameSwitch {
        /// The number of bridges that only one of the functions is below: 2 for two ports of one switch.
        bridges: usize,
    },
    /// Both functions are below one PCI root and share no bridge.
    SameRoot,
    /// Both functions are on one NUMA node, below different PCI roots.
    SameNuma,
    /// The functions are on different NUMA nodes.
    OtherNuma,
    /// The host shows no PCI path or no NUMA node for one of the functions.
    Unknown,
}

impl Proximity {
    /// Returns the proximity of two functions. Pass `None` for a function that the host does not show.
    #[must_use]
    pub fn between(a: Option<&PciFunction>, b: Option<&PciFunction>) -> Self {
        let (Some(a), Some(b)) = (a, b) else { return Self::Unknown };
        if a.address == b.address {
            return Self::SameFunction;
        }
        let common = a.bridges.iter().zip(&b.bridges).take_while(|(x, y)| x == y).count();
        if common > 0 {
            return Self::SameSwitch { bridges: a.bridges.len() + b.bridges.len() - 2 * common };
        }
        if a.root.is_some() && a.root == b.root {
            return Self::SameRoot;
        }
        Self::of_nodes(a.numa, b.numa)
    }

    /// Returns the proximity of two NUMA nodes, or of functions on them. Pass `None` for an unknown node.
    pub(crate) fn of_nodes(a: Option<u32>, b: Option<u32>) -> Self {
        match (a, b) {
            (Some(x), Some(y)) if x == y => Self::SameNuma,
            (Some(_), Some(_)) => Self::OtherNuma,
            _ => Self::Unknown,
        }
    }
}

impl Proximity {
    /// Returns the code of `nvidia-smi topo -m` with the same meaning, or `?` for [`Proximity::Unknown`]:
    ///
    /// | code | |
    /// |---|---|
    /// | `X` | the same function |
    /// | `PIX` | at most one switch: two bridges, the ports of the two functions |
    /// | `PXB` | more bridges, without the host bridge |
    /// | `PHB` | the same PCI root (host bridge): the closest level on hosts without PCIe switches |
    /// | `NODE` | host bridges of one NUMA node |
    /// | `SYS` | the link between NUMA nodes |
    ///
    /// ```
    /// use nearfab::Proximity;
    /// assert_eq!(Proximity::SameSwitch { bridges: 2 }.code(), "PIX");
    /// assert_eq!(Proximity::SameSwitch { bridges: 4 }.code(), "PXB");
    /// ```
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::SameFunction => "X",
            Self::SameSwitch { bridges: 0..=2 } => "PIX",
            Self::SameSwitch { .. } => "PXB",
            Self::SameRoot => "PHB",
            Self::SameNuma => "NODE",
            Self::OtherNuma => "SYS",
            Self::Unknown => "?",
        }
    }
}

impl fmt::Display for Proximity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::SameFunction => "same function",
            Self::SameSwitch { .. } => "same PCIe switch",
            Self::SameRoot => "same PCI root",
            Self::SameNuma => "same NUMA node",
            Self::OtherNuma => "other NUMA node",
            Self::Unknown => "unknown",
        })
    }
}
