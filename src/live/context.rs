//! Opens devices of the live machine and shares them within the process.
//!
//! Reading a [`Host`](crate::Host) opens nothing. This module opens device nodes through vendor libraries, which are
//! loaded when the first device is opened.
//!
//! Each EFA interface is opened once in a process. The first [`Efa::open`] opens it; later calls and [`Efa::clone`]
//! share it; closing or dropping the last handle closes it. (Each copy of nearfab in a process has its own handles: the
//! crate in a program, `libnearfab.so.0`, the Python module.) In a forked child, the methods of the parent's handles
//! return [`Error::Forked`](crate::Error::Forked), and dropping them does nothing. The child can open the interface
//! itself.
//!
//! An object holds the interface and the objects that it depends on: a [`ProtectionDomain`] and a [`CompletionQueue`]
//! hold the interface, a [`MemoryRegion`] holds its domain, a [`QueuePair`] holds its domain and its completion queues.
//! So in any order of dropping, each object is closed before the objects that it depends on.
//!
//! [`fabric`] does the same for libfabric. [`neuron`] opens Neuron devices to ask their driver, and libnrt.

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
