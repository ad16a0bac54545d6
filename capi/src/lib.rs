//! The C face of nearfab: what `include/nearfab.h` declares.
//!
//! Every function runs inside [`boundary::guard`], so that no panic reaches C, and takes handles that are looked up,
//! never followed, so that a wrong one is an error. The doc comments here become the header's.

mod boundary;
#[cfg(test)]
#[path = "../../tests/support/child.rs"]
mod child;
mod handle;
mod pointer;

// In the order of the header, which is why they stand apart: rustfmt would sort them.
pub mod error;

pub mod host;

pub mod device;

pub mod near;

pub mod context;

pub mod bdf;
