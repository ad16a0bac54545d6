//! Why a host has nothing that can be near anything.

use std::fmt;

use super::{Host, Origin};

/// Why a host has neither a Neuron device nor an EFA interface.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NothingFound {
    /// The table of the instance type has none.
    Table {
        /// The instance type.
        instance_type: String,
    },
    /// PCI shows no function at all: no `sys/bus/pci/devices`, or an empty one.
    NoPci,
    /// There are Neuron functions, and the Neuron driver has none of them.
    Driverless {
        /// How many.
        functions: usize,
    },
    /// PCI shows functions, and none of a Neuron device or EFA interface.
    NoFunction {
        /// How many it shows.
        seen: u32,
    },
}

impl fmt::Display for NothingFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table { instance_type } => write!(f, "by its table, {instance_type} has none"),
            Self::NoPci => {
                write!(
                    f,
                    "sys/bus/pci/devices is missing or empty: is sysfs mounted there, and is it the root of a tree?"
                )
            }
            Self::Driverless { functions } => write!(
                f,
                "the Neuron driver has none of the Neuron functions on PCI ({functions}): is the module neuron loaded?"
            ),
            Self::NoFunction { seen } => write!(
                f,
                "of the functions on PCI ({seen}) none is a Neuron device (1d0f:7064 and the like) or an EFA interface \
                 (1d0f:efa0 to efaf)"
            ),
        }
    }
}

impl Host {
    /// Why there is neither a Neuron device nor an EFA interface; `None` where there is one.
    ///
    /// ```
    /// use nearfab::Host;
    /// let reason = Host::from_instance("m7i.large")?.nothing_found().unwrap();
    /// assert_eq!(reason.to_string(), "by its table, m7i.large has none");
    /// assert_eq!(Host::from_instance("inf2.xlarge")?.nothing_found(), None);
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    #[must_use]
    pub fn nothing_found(&self) -> Option<NothingFound> {
        if !self.neuron().is_empty() || !self.efa().is_empty() {
            return None;
        }
        if let Origin::Table { instance_type } = self.origin() {
            return Some(NothingFound::Table { instance_type: instance_type.clone() });
        }
        Some(match (self.snapshot.pci_functions, self.driverless().len()) {
            (_, functions @ 1..) => NothingFound::Driverless { functions },
            (0, _) => NothingFound::NoPci,
            (seen, _) => NothingFound::NoFunction { seen },
        })
    }
}
