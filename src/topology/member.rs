//! Lists the devices of a host, of every kind.

use std::fmt;

use serde::{Deserialize, Serialize};

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

/// Any device of a host.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Member<'a> {
    /// A Neuron device with a number. The PCI address of the device may be unknown.
    Neuron(&'a NeuronDevice),
    /// A Neuron PCI function whose `/dev/neuronN` number is unknown.
    Unnumbered(&'a PciFunction),
    /// A Neuron PCI function that the Neuron driver is not bound to.
    Driverless(&'a PciFunction),
    /// A GPU.
    Gpu(&'a Gpu),
    /// An EFA interface.
    Efa(&'a EfaInterface),
    /// An RDMA device that is not an EFA interface.
    OtherRdma(&'a RdmaDevice),
}

/// The kind of a [`Member`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// Returns the kind of the device.
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

    /// Returns the PCI function of the device, if the host shows it.
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

    /// Returns the PCI address of the device, if it is known.
    #[must_use]
    pub fn address(self) -> Option<Bdf> {
        match self {
            Self::Neuron(device) => device.address(),
            other => other.function().map(|function| function.address),
        }
    }
}

/// Writes the name of the device on its host: `neuron5`, a PCI address, or the name of an RDMA device that is not an
/// EFA interface.
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
    /// Returns all devices, grouped by kind in the order of [`MemberKind`]. Numbers and addresses ascend within a kind.
    ///
    /// ```
    /// use nearfab::{Host, MemberKind};
    /// let host = Host::from_instance("p4d.24xlarge")?;
    /// let gpus = host.members().filter(|member| member.kind() == MemberKind::Gpu);
    /// assert_eq!((gpus.count(), host.members().count()), (8, 12));
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    pub fn members(&self) -> impl Iterator<Item = Member<'_>> {
        let neuron = self.neuron_devices().iter().map(Member::Neuron);
        let unnumbered = self.unnumbered().iter().map(Member::Unnumbered);
        let driverless = self.driverless().iter().map(Member::Driverless);
        let gpus = self.gpus().iter().map(Member::Gpu);
        let efa = self.efa_interfaces().iter().map(Member::Efa);
        let others = self.other_rdma().iter().map(Member::OtherRdma);
        neuron.chain(unnumbered).chain(driverless).chain(gpus).chain(efa).chain(others)
    }

    /// Ranks the EFA interfaces by their nearness to an accelerator of this host: by the vendor's pairing for a
    /// numbered Neuron device, and by place for other accelerators.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] if the device is of another host or is not an accelerator.
    pub fn near_member(&self, member: Member<'_>) -> Result<NearList<Bdf>> {
        match member {
            Member::Neuron(device) => self.near_device(device.index, Basis::Pairing),
            Member::Unnumbered(function) | Member::Driverless(function) => self.near_function(function.address),
            Member::Gpu(gpu) => self.near_function(gpu.address()),
            Member::Efa(_) | Member::OtherRdma(_) => Err(Error::NoSuchDevice {
                wanted: format!("accelerator {member}"),
                present: "a device of that name that is not an accelerator".to_owned(),
            }),
        }
    }
}
