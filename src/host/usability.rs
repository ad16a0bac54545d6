//! Which devices this process can use now.

use super::{Host, Origin};
use crate::scan::efa::EfaInterface;
use crate::scan::gpu::Gpu;
use crate::scan::neuron::NeuronDevice;
use crate::scan::pci::PciFunction;
use crate::scan::rdma::RdmaNamespaces;
use crate::scan::root::NodeAccess;
use crate::types::{DeviceState, PortState, Usability};

impl Host {
    /// Returns whether this process can use an EFA interface of this host.
    ///
    /// ```
    /// use nearfab::{Host, Usability};
    /// let host = Host::from_instance("trn2.48xlarge")?; // a table knows no drivers and no nodes
    /// assert_eq!(host.efa_usability(&host.efa_interfaces()[0]), Usability::Unknown);
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    #[must_use]
    pub fn efa_usability(&self, efa: &EfaInterface) -> Usability {
        if self.is_table() {
            return Usability::Unknown;
        }
        let has_device = efa.rdma.is_some() || efa.uverbs.is_some();
        match efa.function.driver.as_deref() {
            Some("efa") if !has_device => match self.snapshot.rdma_namespaces {
                Some(RdmaNamespaces::Exclusive) => return Usability::OtherNamespace,
                _ => return Usability::NoRdmaDevice,
            },
            Some("efa") => {}
            // The driver's link is missing in a tree of sys/class only. An RDMA device shows that a driver is bound.
            None if has_device => {}
            driver => return Usability::NotBound { driver: driver.map(str::to_owned) },
        }
        if efa.uverbs.is_none() {
            return Usability::NodeMissing;
        }
        if let Some(unusable) = refused(efa.access) {
            return unusable;
        }
        // A new state of a newer kernel is no reason to leave an interface out.
        match efa.port.as_ref().and_then(|port| port.state) {
            Some(PortState::Active | PortState::NoChange | PortState::Unknown(_)) | None => granted(efa.access),
            Some(port) => Usability::PortDown { port },
        }
    }

    /// Returns whether this process can use a Neuron device of this host. A device that is off the bus is known only
    /// after [`Host::with_details`].
    #[must_use]
    pub fn neuron_usability(&self, device: &NeuronDevice) -> Usability {
        match (refused(device.access), device.state) {
            (Some(refused), _) => refused,
            (None, Some(DeviceState::ResetFailed)) => Usability::ResetFailed,
            (None, Some(DeviceState::Resetting)) => Usability::Resetting,
            (None, _) if device.is_off_bus() => Usability::OffBus,
            (None, _) => granted(device.access),
        }
    }

    /// Returns whether this process can use a GPU of this host.
    #[must_use]
    pub fn gpu_usability(&self, gpu: &Gpu) -> Usability {
        match gpu.function.driver.as_deref() {
            Some("nvidia") | None => refused(gpu.access).unwrap_or_else(|| granted(gpu.access)),
            Some(driver) => Usability::NotBound { driver: Some(driver.to_owned()) },
        }
    }

    /// Returns whether this process can use the accelerator with this PCI function.
    pub(crate) fn accelerator_usability(&self, function: &PciFunction) -> Usability {
        let is_it = |address| address == function.address;
        if let Some(device) = self.neuron_devices().iter().find(|device| device.address().is_some_and(is_it)) {
            return self.neuron_usability(device);
        }
        if let Some(gpu) = self.gpus().iter().find(|gpu| is_it(gpu.address())) {
            return self.gpu_usability(gpu);
        }
        if self.driverless().iter().any(|driverless| is_it(driverless.address)) {
            return Usability::NotBound { driver: function.driver.clone() };
        }
        // A function whose device number is unknown: its node is unknown too.
        Usability::Unknown
    }

    fn is_table(&self) -> bool {
        matches!(self.snapshot.origin, Origin::Table { .. })
    }
}

/// Returns the state of a device whose node this process cannot open.
fn refused(access: NodeAccess) -> Option<Usability> {
    match access {
        NodeAccess::Missing => Some(Usability::NodeMissing),
        NodeAccess::Refused => Some(Usability::NodeRefused),
        NodeAccess::Granted | NodeAccess::Unknown => None,
    }
}

/// Returns the state of a device that has no other defect than that its access may be unknown.
fn granted(access: NodeAccess) -> Usability {
    if access == NodeAccess::Granted { Usability::Usable } else { Usability::Unknown }
}
