//! Finds the AWS EFA interfaces that are near each Neuron (Trainium, Inferentia) core or GPU, and whether this process
//! may use them.
//!
//! ```
//! use nearfab::{Basis, Host};
//!
//! // On a Trainium instance use Host::discover()?.
//! let host = Host::from_instance("trn2.48xlarge")?;
//! for core in host.neuron_devices().iter().flat_map(|device| device.cores()) {
//!     for near in host.near_core(core, Basis::Pairing)?.nearest() {
//!         println!("{core}  {}  ({})", near.target, near.evidence);
//!     }
//! }
//! # Ok::<(), nearfab::Error>(())
//! ```
//!
//! Discovering devices and opening them are separate steps. A [`Host`] is a snapshot of a machine. Taking the snapshot
//! opens no device, and needs no privilege and no vendor library. Only [`probe()`] and the modules [`context`] and
//! [`vendor`] open devices and load vendor libraries, on request, on the live machine. The function and the modules
//! need the feature `live`, which is on by default.

#![cfg_attr(not(feature = "live"), forbid(unsafe_code))]
#![deny(unsafe_code)]

pub mod doctor;
mod error;
mod host;
#[cfg(feature = "live")]
#[expect(unsafe_code, reason = "calls vendor libraries and drivers")]
mod live;
pub mod plan;
mod record;
mod redact;
mod scan;
pub mod system;
mod tables;
pub mod telemetry;
mod topology;
mod types;
pub mod verify;

pub use error::{Error, ErrorCode, Result};
pub use host::{Host, NothingFound, Origin};
#[cfg(feature = "live")]
pub use live::{context, vendor};
pub use plan::{CpuCores, plan};
#[cfg(feature = "live")]
pub use probe::probe;
pub use record::Record;
pub use scan::efa::{EfaDriver, EfaInterface, Port};
pub use scan::gpu::Gpu;
pub use scan::neuron::{
    CoreMap, CoreMapEvidence, DriverLayout, Lnc, LncEvidence, Location, LocationEvidence, NeuronDevice, NeuronDriver,
};
pub use scan::numa::NumaNode;
pub use scan::pci::PciFunction;
pub use scan::rdma::RdmaDevice;
pub use scan::root::NodeAccess;
pub use system::SystemInfo;
pub use tables::{instances, version_rules};
pub use telemetry::telemetry;
pub use topology::{
    Anchor, Basis, Branch, Change, CoreNumbering, Evidence, Leaf, LinkEvidence, Links, LogicalCoreRow, Matrix,
    MatrixMember, Member, MemberKind, Near, NearList, NumaBranch, Pair, Proximity, Rail, RailOptions, Rails,
    RootBranch, Subject, TopologyTree, WhatChanged,
};
pub use types::{
    Bdf, ContainerDevice, Core, CpuList, DeviceState, Guid, HostDevice, LinkSpeed, LinkWidth, LogicalCore,
    ParseBdfError, ParseCpuListError, ParseGuidError, ParseLinkError, PciId, PciLink, PciRoot, PhysicalCore, PortState,
    Usability,
};
pub use verify::verify;

/// The answers of the Neuron driver to a probe, and the function that probes.
///
/// The answers are plain data. Probing opens device nodes and needs the feature `live`.
pub mod probe {
    #[cfg(feature = "live")]
    pub use crate::live::probe::{ProbeOptions, probe};
    pub use crate::types::probe::{
        Architecture, CoreProbe, CoreState, Datastore, DeviceAnswers, DeviceProbe, DeviceUser, DeviceUsers, DriverInfo,
        Probe,
    };
}

// Doctests: the examples in the README and in docs/.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/concepts/probe.md")]
struct Probing;
#[cfg(doctest)]
#[doc = include_str!("../docs/contexts.md")]
struct Contexts;
#[cfg(doctest)]
#[doc = include_str!("../docs/rust.md")]
struct RustPage;
