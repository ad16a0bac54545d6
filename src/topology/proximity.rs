//! How far apart two PCI functions are.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::scan::pci::PciFunction;

/// How near two PCI functions are to each other, from near to far.
///
/// On flat guests (trn1, p4d) no bridge is visible, and the same root is as near as it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Proximity {
    /// They are one function.
    SameFunction,
    /// Below a common bridge: traffic between them need not reach the root.
    SameSwitch {
        /// Bridges on the way that are not common to both: 2 between two ports of one switch.
        bridges: usize,
    },
    /// Below the same root, with no common bridge.
    SameRoot,
    /// On the same NUMA node, below different roots.
    SameNuma,
    /// On different NUMA nodes.
    OtherNuma,
    /// Not known: the host shows no place on PCI or no NUMA node for one of them.
    Unknown,
}

impl Proximity {
    /// The proximity of two functions, either of which may not be shown by the host.
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
        match (a.numa, b.numa) {
            (Some(x), Some(y)) if x == y => Self::SameNuma,
            (Some(_), Some(_)) => Self::OtherNuma,
            _ => Self::Unknown,
        }
    }
}

impl Proximity {
    /// The code of `nvidia-smi topo -m` for it, in the meaning that it has there, `?` where nothing is known:
    ///
    /// | code | |
    /// |---|---|
    /// | `X` | the same function |
    /// | `PIX` | at most one switch between: two bridges that are not common, the ports of the two |
    /// | `PXB` | more bridges, without the host bridge |
    /// | `PHB` | the host bridge of one root; on flat guests, which show no bridges, as near as it gets |
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
