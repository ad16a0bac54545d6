//! Raw C interfaces of the libraries that nearfab opens at run time: libibverbs, libefa's direct verbs (`efadv`),
//! libfabric, and libnrt ([`nrt`]); and the ioctls of the Neuron driver ([`neuron`]).
//!
//! This crate links no vendor library: a program with this crate runs on a machine without vendor libraries. The
//! functions are in tables ([`Verbs`], [`Efadv`], [`VerbsDmabuf`], [`Fabric`]). The caller fills the tables with the
//! addresses that `dlsym` finds. The modules [`verbs`] and [`fabric`] contain the types. bindgen generated these
//! modules from the headers of rdma-core and libfabric. The generated files are committed, so that a build needs
//! neither headers nor libclang. The generated files contain only the functions and types that nearfab uses.
//!
//! # The port query
//!
//! The name `ibv_query_port` has two meanings: a macro and an exported function. C programs call the macro. The macro
//! calls an operation of the opened device ([`ibv_context::query_port`]). If the device lacks that operation, the macro
//! calls the library's exported function of the same name. The exported function is older than the last fields of
//! [`verbs::ibv_port_attr`], and writes only the fields before `port_cap_flags2`. [`Verbs`] has the exported function.
//! The headers declare the function's argument type as incomplete, as a warning: pass a zeroed `ibv_port_attr`.
//!
//! # Structures of libfabric
//!
//! libfabric's attributes grow at their ends between versions, and `dlsym` finds the symbol of the newest version. This
//! crate therefore never creates an `fi_info`: `fi_dupinfo` creates an `fi_info` with the size that the library needs.
//! These bindings declare only the first fields of `fi_info`.

#[rustfmt::skip]
#[expect(missing_docs, reason = "C names, described by the manual pages of libfabric")]
#[expect(non_camel_case_types, reason = "the names in the C headers")]
#[expect(clippy::undocumented_unsafe_blocks, clippy::multiple_unsafe_ops_per_block, reason = "written by bindgen")]
#[path = "bindings/fabric.rs"]
pub mod fabric;
pub mod neuron;
pub mod nrt;
mod objects;
pub mod operations;
mod table;
#[rustfmt::skip]
#[expect(missing_docs, reason = "C names, described by the manual pages of rdma-core")]
#[expect(non_camel_case_types, reason = "the names in the C headers")]
#[expect(clippy::undocumented_unsafe_blocks, clippy::multiple_unsafe_ops_per_block, reason = "written by bindgen")]
#[path = "bindings/verbs.rs"]
pub mod verbs;

pub use objects::{QueryPort, ibv_comp_channel, ibv_context, ibv_cq, ibv_device, ibv_pd, ibv_qp, ibv_srq, ibv_wq};
pub use table::{Efadv, Fabric, Verbs, VerbsDmabuf};
