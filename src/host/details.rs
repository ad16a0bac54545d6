//! The values that only the devices themselves have.

use std::sync::Arc;

use super::{Host, Snapshot};
use crate::error::{Problems, Result};
use crate::scan::pci::PciFunction;
use crate::scan::root::HostRoot;

impl Host {
    /// Returns this host with the serial numbers of its Neuron devices and with the PCIe links of all its devices.
    ///
    /// Only a device itself has these values: reading them reads registers of the device. The driver writes a line into
    /// the kernel's log if a serial number is 0. All other values of a host come from the memory of the kernel, so that
    /// making a host does not reach a device. A host from a table or a record keeps the values that it has.
    ///
    /// ```
    /// use nearfab::Host;
    /// let host = Host::from_instance("trn2.48xlarge")?; // on an instance: Host::discover()?
    /// let host = host.with_details()?;
    /// assert_eq!(host.neuron_devices()[0].serial, None); // a table has no serial numbers
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Read`](crate::Error::Read) if the folder that the host was read from cannot be opened any more. Other
    /// files that cannot be read are in [`Host::problems`].
    pub fn with_details(&self) -> Result<Self> {
        let Some(folder) = self.root() else { return Ok(self.clone()) };
        let root = HostRoot::open(folder)?;
        let mut problems = Problems::default();
        let mut snapshot = (*self.snapshot).clone();
        for device in &mut snapshot.neuron {
            device.read_serial(&root, &mut problems);
        }
        for function in snapshot.functions_mut() {
            function.read_link(&root, &mut problems);
        }
        for problem in problems.into_sentences() {
            if !snapshot.problems.contains(&problem) {
                snapshot.problems.push(problem);
            }
        }
        Ok(Self { snapshot: Arc::new(snapshot), root: self.root.clone() })
    }
}

impl Snapshot {
    /// Returns the PCI functions of all devices.
    fn functions_mut(&mut self) -> impl Iterator<Item = &mut PciFunction> {
        let neuron = self.neuron.iter_mut().filter_map(|device| device.location.as_mut()?.function.as_mut());
        let efa = self.efa.iter_mut().map(|efa| &mut efa.function);
        let gpus = self.gpus.iter_mut().map(|gpu| &mut gpu.function);
        let rdma = self.other_rdma.iter_mut().filter_map(|device| device.function.as_mut());
        let others = self.driverless.iter_mut().chain(&mut self.unnumbered);
        neuron.chain(efa).chain(gpus).chain(rdma).chain(others)
    }
}
