//! Raw C interfaces of the libraries that nearfab opens at run time: libibverbs, libefa's direct verbs (`efadv`),
//! libfabric, and libnrt ([`nrt`]); and the ioctls of the Neuron driver ([`neuron`]).
//!
//! Nothing here links a vendor library: a program that holds this crate runs on a machine that has none of them. The
//! functions come as tables ([`Verbs`], [`Efadv`], [`VerbsDmabuf`], [`Fabric`]) that the caller fills with what `dlsym`
//! finds; [`verbs`] and [`fabric`] hold the types, as bindgen makes them from the headers of rdma-core and libfabric. They are
//! committed, so that a build needs neither headers nor
//! libclang, and contain what nearfab calls and nothing else.
//!
//! # The port query
//!
//! `ibv_query_port` is two things. In C it is a macro: it calls an operation of the opened device
//! ([`ibv_context::query_port`]), and only where that is missing the function of this name in the library. That function is
//! older than the last fields of [`verbs::ibv_port_attr`], and writes only what comes before `port_cap_flags2`. It is the one
//! in [`Verbs`]; its argument type is incomplete in the headers as a warning: hand it a zeroed `ibv_port_attr`.
//!
//! # Structures of libfabric
//!
//! Its attributes grow at their ends between versions, and the symbol that `dlsym` finds is the newest. So an `fi_info` is
//! never made here: `fi_dupinfo` makes it, as long as the library wants it, and what these bindings know is its beginning.

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
