//! Opening devices, and sharing what is open.
//!
//! A [`Host`] only looks. What is here opens device nodes of the live machine, through vendor libraries that
//! are loaded when the first device is opened.
//!
//! Each EFA interface is opened once in a process, however many users it has: the first [`Efa::open`] opens it, the others
//! and [`Efa::clone`] share it, and it is closed when the last of them is gone. (Each copy of nearfab in a process counts for
//! itself: the crate in a program, `libnearfab.so.0`, the Python module.) In a forked child a handle of the parent
//! is of no use and does no harm: its calls return [`Error::Forked`], and dropping it touches nothing. The child can open
//! the interface for itself.
//!
//! What is made on an interface holds it: a [`ProtectionDomain`] and a [`CompletionQueue`] the interface, a [`MemoryRegion`] its
//! domain, a [`QueuePair`] its domain and its completion queues. So whatever order they are dropped in, each is closed
//! before what it hangs on.
//!
//! [`fabric`] has the same for libfabric, and [`neuron`] opens Neuron devices for questions, and libnrt.

mod c_values;
pub mod fabric;
pub mod neuron;
mod object;
mod registry;
mod usage;
mod verbs;

pub use object::Closed;
pub use verbs::{
    Access, AsyncEvent, AsyncEventKind, AsyncEventSubject, CompletionQueue, DeviceAttributes, Efa, EfaAttributes,
    EfaCapabilities, LinkLayer, LinkSpeed, LinkWidth, MemoryRegion, Mtu, PhysicalState, PortAttributes, PortState,
    ProtectionDomain, QueuePair, QueuePairKind, QueuePairOptions,
};

#[doc(hidden)]
pub use crate::live::process::{Owned, PerProcess};
