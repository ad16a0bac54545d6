//! Everything on a host that has a place on PCI, of whatever kind.

use std::fmt;

use serde::Serialize;

use super::NearList;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::scan::efa::EfaInterface;
use crate::scan::gpu::Gpu;
use crate::scan::neuron::NeuronDevice;
use crate::scan::pci::PciFunction;
use crate::scan::rdma::RdmaDevice;
use crate::topology::Basis;
use crate::types::Bdf;

/// One of what a host has.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Member<'a> {
    /// A Neuron device with a number, wherever it is.
    Neuron(&'a NeuronDevice),
    /// A Neuron function of which the number is not known.
    Unnumbered(&'a PciFunction),
    /// A Neuron function without the Neuron driver.
    Driverless(&'a PciFunction),
    /// A GPU.
    Gpu(&'a Gpu),
    /// An EFA interface.
    Efa(&'a EfaInterface),
    /// An RDMA device that is no EFA interface.
    OtherRdma(&'a RdmaDevice),
}

/// What kind of thing a [`Member`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum MemberKind {
    /// [`Member::Neuron`].
    Neuron,
    /// [`Member::Unnumbered`].
    Unnumbered,
    /// [`Member::Driverless`].
    Driverless,
    /// [`Member::Gpu`].
    Gpu,
    /// [`Member::Efa`].
    Efa,
    /// [`Member::OtherRdma`].
    OtherRdma,
}

impl<'a> Member<'a> {
    /// What it is.
    #[must_use]
    pub const fn kind(self) -> MemberKind {
        match self {
            Self::Neuron(_) => MemberKind::Neuron,
            Self::Unnumbered(_) => MemberKind::Unnumbered,
            Self::Driverless(_) => MemberKind::Driverless,
            Self::Gpu(_) => MemberKind::Gpu,
            Self::Efa(_) => MemberKind::Efa,
            Self::OtherRdma(_) => MemberKind::OtherRdma,
        }
    }

    /// Its PCI function, where the host shows one.
    #[must_use]
    pub fn function(self) -> Option<&'a PciFunction> {
        match self {
            Self::Neuron(device) => device.function(),
            Self::Unnumbered(function) | Self::Driverless(function) => Some(function),
            Self::Gpu(gpu) => Some(&gpu.function),
            Self::Efa(efa) => Some(&efa.function),
            Self::OtherRdma(device) => device.function.as_ref(),
        }
    }

    /// Its PCI address, where known.
    #[must_use]
    pub fn address(self) -> Option<Bdf> {
        match self {
            Self::Neuron(device) => device.address(),
            other => other.function().map(|function| function.address),
        }
    }
}

/// Its name on its host: `neuron5`, an address, the name of an RDMA device that is no EFA interface.
impl fmt::Display for Member<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Neuron(device) => device.index.fmt(f),
            Self::Unnumbered(function) | Self::Driverless(function) => function.address.fmt(f),
            Self::Gpu(gpu) => gpu.address().fmt(f),
            Self::Efa(efa) => efa.address().fmt(f),
            Self::OtherRdma(device) => f.pad(&device.name),
        }
    }
}

impl Host {
    /// Everything it has, kind by kind in the order of [`MemberKind`], each kind in its own order.
    ///
    /// ```
    /// use nearfab::{Host, MemberKind};
    /// let host = Host::from_instance("p4d.24xlarge")?;
    /// let gpus = host.members().filter(|member| member.kind() == MemberKind::Gpu);
    /// assert_eq!((gpus.count(), host.members().count()), (8, 12));
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    pub fn members(&self) -> impl Iterator<Item = Member<'_>> {
        let neuron = self.neuron().iter().map(Member::Neuron);
        let unnumbered = self.unnumbered().iter().map(Member::Unnumbered);
        let driverless = self.driverless().iter().map(Member::Driverless);
        let gpus = self.gpus().iter().map(Member::Gpu);
        let efa = self.efa().iter().map(Member::Efa);
        let others = self.other_rdma().iter().map(Member::OtherRdma);
        neuron.chain(unnumbered).chain(driverless).chain(gpus).chain(efa).chain(others)
    }

    /// The EFA interfaces by their nearness to an accelerator of this host: by the pairing for a numbered Neuron device,
    /// by place for others.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`](crate::Error::NoSuchDevice) for a member of another host, and for what is no accelerator.
    pub fn near_member(&self, member: Member<'_>) -> Result<NearList<Bdf>> {
        match member {
            Member::Neuron(device) => self.near_device(device.index, Basis::Pairing),
            Member::Unnumbered(function) | Member::Driverless(function) => self.near_function(function.address),
            Member::Gpu(gpu) => self.near_function(gpu.address()),
            Member::Efa(_) | Member::OtherRdma(_) => Err(Error::NoSuchDevice {
                wanted: format!("accelerator {member}"),
                present: "something else of that name".to_owned(),
            }),
        }
    }
}
