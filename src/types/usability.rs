//! Whether this process can use a device now.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::PortState;

/// Whether this process can use a device now, and the reason if it cannot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Usability {
    /// The kernel's driver is bound, the device node exists, this user may open the node, and the port is active.
    Usable,
    /// The device node does not exist here, as in a container that was not given the device.
    NodeMissing,
    /// The device node exists, and this user may not open it.
    NodeRefused,
    /// The port of the EFA interface is not active.
    PortDown {
        /// The state of the port.
        port: PortState,
    },
    /// The function is not bound to the driver that makes it usable.
    NotBound {
        /// The driver that the function is bound to, such as `vfio-pci`; `None` for no driver.
        driver: Option<String>,
    },
    /// The efa driver is bound, and it made no RDMA device: the driver refused the interface.
    NoRdmaDevice,
    /// The efa driver is bound, RDMA devices belong to one network namespace each, and this namespace has no RDMA
    /// device of the interface.
    OtherNamespace,
    /// The last reset of the Neuron device failed: the driver refuses to open the device.
    ResetFailed,
    /// The Neuron device is being reset: opening it waits for the end of the reset.
    Resetting,
    /// The Neuron device does not answer on PCI.
    OffBus,
    /// Not known, as for a host from a table, or because a newer nearfab recorded a state that this version does not
    /// know.
    #[serde(other)]
    Unknown,
}

impl Usability {
    /// Returns false if it is known that this process cannot use the device.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        matches!(self, Self::Usable | Self::Unknown)
    }
}

impl fmt::Display for Usability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Usable => "usable",
            Self::NodeMissing => "node missing",
            Self::NodeRefused => "node refused",
            Self::PortDown { port } => return f.pad(&format!("port {port}")),
            Self::NotBound { driver: None } => "no driver",
            Self::NotBound { driver: Some(driver) } => return f.pad(&format!("bound to {driver}")),
            Self::NoRdmaDevice => "no RDMA device",
            Self::OtherNamespace => "in another RDMA namespace",
            Self::ResetFailed => "reset failed",
            Self::Resetting => "in reset",
            Self::OffBus => "off the bus",
            Self::Unknown => "unknown",
        })
    }
}
