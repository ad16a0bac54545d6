//! Why a host has neither a Neuron device nor an EFA interface.

use std::fmt;

use super::{Host, Origin};

/// Why a host has neither a Neuron device nor an EFA interface.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NothingFound {
    /// The table of the instance type has no Neuron device and no EFA interface.
    Table {
        /// The instance type.
        instance_type: String,
    },
    /// PCI shows no function: `sys/bus/pci/devices` is missing or empty.
    NoPci,
    /// PCI shows Neuron functions, and none of these functions is bound to the Neuron driver.
    Driverless {
        /// The number of Neuron functions.
        functions: usize,
    },
    /// PCI shows functions, and none is a Neuron device or an EFA interface.
    NoFunction {
        /// The number of functions.
        seen: u32,
    },
}

impl fmt::Display for NothingFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table { instance_type } => {
                write!(f, "according to its table, {instance_type} has no Neuron device and no EFA interface")
            }
            Self::NoPci => {
                write!(
                    f,
                    "sys/bus/pci/devices is missing or empty: mount sysfs there, or name the root of a tree that contains it"
                )
            }
            Self::Driverless { functions } => write!(
                f,
                "the Neuron driver is bound to none of the Neuron functions on PCI ({functions}): load the module neuron"
            ),
            Self::NoFunction { seen } => write!(
                f,
                "none of the functions on PCI ({seen}) is a Neuron device (such as 1d0f:7064) or an EFA interface \
                 (1d0f:efa0 to efaf)"
            ),
        }
    }
}

impl Host {
    /// Returns why this host has neither a Neuron device nor an EFA interface; `None` if the host has at least one of
    /// them.
    ///
    /// ```
    /// use nearfab::Host;
    /// let reason = Host::from_instance("m7i.large")?.nothing_found().unwrap();
    /// assert_eq!(reason.to_string(), "according to its table, m7i.large has no Neuron device and no EFA interface");
    /// assert_eq!(Host::from_instance("inf2.xlarge")?.nothing_found(), None);
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    #[must_use]
    pub fn nothing_found(&self) -> Option<NothingFound> {
        if !self.neuron_devices().is_empty() || !self.efa_interfaces().is_empty() {
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
