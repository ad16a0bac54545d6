//! Opens devices and loads vendor libraries.
//!
//! Only these modules have unsafe code.

pub mod context;
pub(crate) mod neuron_driver;
pub(crate) mod probe;
pub(crate) mod process;
mod sync;
pub mod vendor;

#[cfg(test)]
#[path = "../tests/support/child.rs"]
pub(crate) mod child;
