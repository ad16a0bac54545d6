//! What libfabric opens: a domain, and on it endpoints, address vectors, completion queues and memory regions.
//!
//! [`Interface::find`] asks libfabric what there is, and [`Interface::open`] opens the domain of what it found, or shares it
//! where this process has it open: for the same PCI address, names, version of the interface, capabilities, memory mode
//! and threading, and for nothing less. What is made in a domain holds it, and an [`Endpoint`] its queues and its address
//! vector too; the domain holds the fabric. So whatever order they are dropped in, each is closed before what it hangs on.
//!
//! In a forked child all of it returns [`Error::Forked`], and dropping it touches nothing. The child of a process that has
//! asked libfabric cannot ask for itself: what libfabric opened then is the parent's.
//!
//! Sending and receiving here is as much as it takes to try a way out: two processes can talk.
//!
//! ```no_run
//! use nearfab::context::fabric::{EndpointKind, Interface, Query};
//!
//! let query = Query { provider: Some("efa".to_owned()), ..Query::default() };
//! let found = Interface::find(&query)?;
//! let Some(interface) = found.iter().find(|found| found.endpoint == EndpointKind::ReliableDatagram) else { return Ok(()) };
//! let domain = interface.open()?;
//! let (peers, queue) = (domain.address_vector()?, domain.completion_queue(64)?);
//! let endpoint = domain.endpoint(&peers, &queue, &queue)?;
//! println!("{} is at {:02x?}", interface.domain, endpoint.address()?);
//! # Ok::<(), nearfab::Error>(())
//! ```

use std::ffi::{CStr, c_int};
use std::io;

use nearfab_sys::fabric::FI_EOTHER;

use crate::error::Error;
use crate::live::vendor;

mod address;
mod completion;
mod domain;
mod endpoint;
mod interface;
mod memory;

pub use address::{AddressVector, Peer};
pub use completion::{Completion, CompletionQueue, Failure, Finished};
pub use domain::Domain;
pub use endpoint::{Endpoint, Operation, Posted};
pub use interface::{EndpointKind, Interface, Query};
pub use memory::MemoryRegion;

/// A call that failed with libfabric's number, which is negative.
fn failed(function: &'static str, device: &str, status: impl TryInto<c_int>) -> Error {
    // Of either width the numbers are small.
    call(function, device, reason(status.try_into().map_or(FI_EOTHER.cast_signed(), c_int::wrapping_neg)))
}

fn call(function: &'static str, device: &str, source: io::Error) -> Error {
    Error::Call { function, device: device.to_owned(), source }
}

fn invalid(function: &'static str, device: &str, reason: String) -> Error {
    call(function, device, io::Error::new(io::ErrorKind::InvalidInput, reason))
}

/// What a positive number of libfabric's means: the system's, or one of its own.
fn reason(number: c_int) -> io::Error {
    /// Its own begin here.
    const OWN: c_int = 256;
    match vendor::fabric() {
        Ok(fabric) if number >= OWN => {
            // SAFETY: any number has a text.
            let text = unsafe { (fabric.fi_strerror)(number) };
            // SAFETY: it ends with a zero byte, and lives as long as the library.
            let text = unsafe { CStr::from_ptr(text) };
            io::Error::other(text.to_string_lossy().into_owned())
        }
        _ => io::Error::from_raw_os_error(number),
    }
}
