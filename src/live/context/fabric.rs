//! Opens domains of libfabric and makes endpoints, address vectors, completion queues and memory regions in them.
//!
//! [`Interface::find`] asks libfabric for interfaces. [`Interface::open`] opens the domain of an interface, or shares
//! the domain if this process has it open. Two interfaces share a domain if all of these are equal: PCI address, names,
//! API version, kind of endpoint, capabilities, memory mode and threading model. Each object holds its domain, an
//! [`Endpoint`] also holds its queues and its address vector, and a domain holds its fabric. So each object is closed
//! before its dependencies, in any order of dropping.
//!
//! In a forked child, every method returns [`Error::Forked`], and dropping does nothing. If the parent has asked
//! libfabric for interfaces, the child cannot ask: the devices that libfabric opened for the answer belong to the
//! parent.
//!
//! An endpoint sends and receives messages. These operations are enough to test a path between two processes.
//!
//! ```no_run
//! use nearfab::context::fabric::{EndpointKind, Interface, Query};
//!
//! let found = Interface::find(&Query::default().provider("efa"))?;
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
pub use completion::{Completion, FabricCompletionQueue, Failure, Finished};
pub use domain::Domain;
pub use endpoint::{Endpoint, Operation, Posted};
pub use interface::{EndpointKind, Interface, Query};
pub use memory::FabricMemoryRegion;

/// Makes the error of a call that returned one of libfabric's negative numbers.
fn failed(function: &'static str, device: &str, status: impl TryInto<c_int>) -> Error {
    // The numbers fit a `c_int`, whatever integer type the function returns.
    call(function, device, reason(status.try_into().map_or(FI_EOTHER.cast_signed(), c_int::wrapping_neg)))
}

fn call(function: &'static str, device: &str, cause: io::Error) -> Error {
    Error::Call { function, device: device.to_owned(), cause }
}

fn invalid(function: &'static str, device: &str, reason: String) -> Error {
    call(function, device, io::Error::new(io::ErrorKind::InvalidInput, reason))
}

/// Returns the error for a positive number of libfabric: an errno, or a number that only libfabric has.
fn reason(number: c_int) -> io::Error {
    /// libfabric's own numbers begin here.
    const OWN: c_int = 256;
    match vendor::fabric() {
        Ok(fabric) if number >= OWN => {
            // SAFETY: the function takes any number and returns a constant text.
            let text = unsafe { (fabric.fi_strerror)(number) };
            // SAFETY: the text ends with a zero byte and is a constant of the library, which is never unloaded.
            let text = unsafe { CStr::from_ptr(text) };
            io::Error::other(text.to_string_lossy().into_owned())
        }
        _ => io::Error::from_raw_os_error(number),
    }
}
