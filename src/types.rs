//! Plain data that all rooms of the library share: numbers and names of devices, PCI addresses, sets of CPUs, links,
//! and the answers of a probe.

mod bdf;
mod cpulist;
mod cpuset;
mod device_state;
mod guid;
mod id;
mod library;
mod link;
pub(crate) mod path_text;
mod pci_id;
mod port_state;
pub(crate) mod probe;
mod usability;

pub(crate) use bdf::hex;
pub use bdf::{Bdf, ParseBdfError};
pub use cpulist::{CpuList, ParseCpuListError};
pub use device_state::DeviceState;
pub use guid::{Guid, ParseGuidError};
pub(crate) use id::number;
pub use id::{ContainerDevice, Core, HostDevice, LogicalCore, PhysicalCore};
pub use library::Library;
pub use link::{LinkSpeed, LinkWidth, ParseLinkError, PciLink};
pub(crate) use pci_id::AMAZON;
pub use pci_id::{PciId, PciRoot};
pub use port_state::PortState;
pub use usability::Usability;
