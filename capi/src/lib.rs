//! The C interface of nearfab, which `include/nearfab.h` declares.
//!
//! Every function runs inside [`boundary::guard`], so no panic reaches C. Handles are looked up in a table and never
//! dereferenced, so a wrong handle is an error. cbindgen copies the doc comments of the public items into the header.

mod boundary;
#[cfg(test)]
#[path = "../../tests/support/child.rs"]
mod child;
mod handle;
mod pointer;

// cbindgen writes the modules in this order. The empty lines keep rustfmt from sorting them.
pub mod error;

pub mod host;

pub mod device;

pub mod near;

pub mod context;

pub mod bdf;
