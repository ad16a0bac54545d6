//! Opens devices of the live machine and shares them within the process.
//!
//! Reading a [`Host`](crate::Host) opens nothing. This module opens device nodes through vendor libraries, which are
//! loaded when the first device is opened.
//!
//! Each EFA interface is opened once in a process. The first [`Efa::open`] opens the interface. Later calls and
//! [`Efa::clone`] return more handles of the open interface. Closing or dropping the last handle closes the interface.
//! (Each copy of nearfab in a process has its own handles: the crate in a program, `libnearfab.so.0`, the Python
//! module.) In a forked child, the methods of the parent's handles return [`Error::Forked`](crate::Error::Forked), and
//! dropping the handles does nothing. The child can open the interface itself.
//!
//! Each object holds the interface and its dependencies: a [`ProtectionDomain`] and a [`CompletionQueue`] hold the
//! interface, a [`MemoryRegion`] holds its domain, a [`QueuePair`] holds its domain and its completion queues. So each
//! object is closed before its dependencies, in any order of dropping.
//!
//! [`fabric`] does the same for libfabric. [`neuron`] opens Neuron devices to ask their driver, and gives access to
//! libnrt.

mod c_values;
pub mod fabric;
mod handle;
pub mod neuron;
mod object;
mod registry;

mod verbs;

pub use object::Closed;
pub use verbs::{
    Access, AsyncEvent, AsyncEventKind, AsyncEventSubject, CompletionQueue, DeviceAttributes, Efa, EfaAttributes,
    EfaCapabilities, LinkLayer, MemoryRegion, Mtu, PhysicalState, PortAttributes, PortSpeed, PortWidth,
    ProtectionDomain, QueuePair, QueuePairKind, QueuePairOptions,
};

#[doc(hidden)]
pub use crate::live::process::{Owned, PerProcess};
