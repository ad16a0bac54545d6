//! Which AWS EFA interface is near which Neuron (Trainium, Inferentia) core, and who may use them now.
//!
//! ```
//! use nearfab::{Basis, Host};
//!
//! // On a Trainium instance this is Host::discover()?.
//! let host = Host::from_instance("trn2.48xlarge")?;
//! for core in host.neuron().iter().flat_map(|device| device.cores()) {
//!     let near = host.near_core(core, Basis::Pairing)?;
//!     let best = &near.entries[0];
//!     println!("{core}  {}  ({})", best.target, best.evidence);
//! }
//! # Ok::<(), nearfab::Error>(())
//! ```
//!
//! Seeing and opening are separate. A [`Host`] is a snapshot taken without opening a device, without privilege and
//! without any vendor library; only [`probe()`] and the [`context`] module open devices, on request, on the live machine.

#![deny(unsafe_code)]

#[forbid(unsafe_code)]
pub mod compatibility;
#[expect(unsafe_code, reason = "calls vendor libraries")]
pub mod context;
#[forbid(unsafe_code)]
mod efa;
#[forbid(unsafe_code)]
mod error;
#[forbid(unsafe_code)]
mod gpu;
#[forbid(unsafe_code)]
mod host;
#[forbid(unsafe_code)]
mod id;
#[forbid(unsafe_code)]
pub mod instances;
#[forbid(unsafe_code)]
mod neuron;
#[forbid(unsafe_code)]
mod numa;
#[forbid(unsafe_code)]
mod pci;
#[forbid(unsafe_code)]
pub mod plan;
#[forbid(unsafe_code)]
pub mod probe;
#[forbid(unsafe_code)]
mod rdma;
#[forbid(unsafe_code)]
mod record;
#[forbid(unsafe_code)]
mod root;
#[expect(unsafe_code, reason = "maps vendor libraries, asks drivers")]
pub mod runtime;
#[forbid(unsafe_code)]
pub mod surroundings;
#[forbid(unsafe_code)]
pub mod telemetry;
#[forbid(unsafe_code)]
mod topology;
#[forbid(unsafe_code)]
pub mod verify;

pub use efa::{EfaDriver, EfaInterface, Guid, ParseGuidError, Port, PortState};
pub use error::{Error, ErrorCode, Result};
pub use gpu::Gpu;
pub use host::{Host, NothingFound, Origin};
pub use id::{ContainerDevice, Core, HostDevice, LogicalCore, PhysicalCore};
pub use neuron::{
    CoreMap, CoreMapEvidence, DriverLayout, Lnc, LncEvidence, Location, LocationEvidence, NeuronDevice, NeuronDriver,
};
pub use numa::{CpuCores, CpuList, NumaNode, ParseCpuListError};
pub use pci::{Bdf, LinkSpeed, LinkWidth, ParseBdfError, ParseLinkError, PciFunction, PciId, PciLink, PciRoot};
pub use plan::plan;
pub use probe::probe;
pub use rdma::RdmaDevice;
pub use record::Record;
pub use root::NodeAccess;
pub use surroundings::Surroundings;
pub use telemetry::telemetry;
pub use topology::{
    Anchor, Basis, Branch, Change, CoreNumbering, Evidence, Leaf, LinkEvidence, Links, LogicalCoreRow, Matrix,
    MatrixMember, Member, MemberKind, Near, NearList, NumaBranch, Pair, Proximity, RootBranch, Subject, TopologyTree,
    WhatChanged,
};
pub use verify::verify;

/// The README's example runs as a documentation test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// As do those of the concepts.
#[cfg(doctest)]
#[doc = include_str!("../docs/concepts/probe.md")]
struct Probing;
#[cfg(doctest)]
#[doc = include_str!("../docs/contexts.md")]
struct Contexts;
