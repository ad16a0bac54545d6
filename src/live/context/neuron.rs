//! Neuron devices: what their driver says, and libnrt in this process.
//!
//! A [`Neuron`] is a device's node, opened for questions alone: which cores are held, and by whom as far as is known. No core
//! is ever reserved by it: the driver's own reservations are the truth, and nearfab keeps no second book.
//!
//! A [`NeuronRuntime`] is libnrt, loaded and no more. It counts cores and names the instance; its devices are opened, and
//! their cores reserved, only by [`NeuronRuntime::init`], once in a process.
//!
//! [`near_address`] tells the EFA interface that device memory is near to.

use crate::error::Result;
use crate::host::Host;
use crate::live::neuron_driver::Identity;
use crate::live::probe::open_node::OpenNode;
use crate::live::probe::{self, ProbeOptions};
use crate::types::probe::{CoreProbe, DeviceUsers, DriverInfo};
use crate::types::{Bdf, HostDevice};

mod instance;
mod libnrt;
mod near;
mod status;

pub use instance::{NeuronFamily, NeuronInstance, NeuronSize};
pub use libnrt::{InitializedRuntime, NeuronRuntime, RuntimeVersion};
pub use near::{NearAddress, near_address};
pub use status::NeuronStatus;

/// A Neuron device of this machine, open for questions.
///
/// Its node is opened once in a process, write-only, however many of these there are, and stays open until the process ends:
/// closing one, in whatever way, frees all cores that the process has reserved on all devices, those of libnrt included. So
/// there is no way to close one.
#[derive(Debug, Clone, Copy)]
pub struct Neuron {
    device: HostDevice,
    cores: u32,
    options: ProbeOptions,
    identity: Identity,
}

impl Neuron {
    /// Opens the device's node, or shares it where this process has it open. That answers at once, in reset too, and takes no
    /// place from anybody.
    ///
    /// ```
    /// use nearfab::context::neuron::Neuron;
    /// use nearfab::probe::ProbeOptions;
    /// use nearfab::{Error, Host};
    ///
    /// // A host from a table has devices, and none that could be opened.
    /// let host = Host::from_instance("trn2.48xlarge")?;
    /// let error = Neuron::open(&host, host.neuron()[0].index, ProbeOptions::default()).unwrap_err();
    /// assert!(matches!(error, Error::NotLive { .. }));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::NotLive`](crate::Error::NotLive): the host is not this machine.
    /// - [`Error::NoSuchDevice`](crate::Error::NoSuchDevice): it has no such device.
    /// - [`Error::ProbeRefused`](crate::Error::ProbeRefused): the machine is an UltraServer or a pod, or may be one, where even the
    ///   end of this process would be felt by others; see [`ProbeOptions::even_on_pods`].
    /// - [`Error::NodeRefused`](crate::Error::NodeRefused): the node cannot be opened; the error says why and what to do.
    pub fn open(host: &Host, device: HostDevice, options: ProbeOptions) -> Result<Self> {
        probe::may_open(host, options)?;
        let cores = host.find_neuron(device)?.cores;
        Ok(Self { device, cores, options, identity: Identity::open(device)? })
    }

    /// The host's number of the device.
    #[must_use]
    pub fn device(&self) -> HostDevice {
        self.device
    }

    fn asked(&self) -> Result<OpenNode<'_>> {
        Ok(OpenNode::new(self.device, self.identity.node()?))
    }

    /// The PCI address.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::Error::Driver), [`Error::Malformed`](crate::Error::Malformed) where the driver does not tell,
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    pub fn address(&self) -> Result<Bdf> {
        self.asked()?.address()
    }

    /// What it is to the driver.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::Error::Driver) where the driver does not tell, [`Error::Forked`](crate::Error::Forked) in a
    /// forked child.
    pub fn driver(&self) -> Result<DriverInfo> {
        self.asked()?.driver_info()
    }

    /// For each physical core whether it is held, now.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked) in a forked child. What goes wrong with a core is in its place.
    pub fn cores(&self) -> Result<Vec<CoreProbe>> {
        let asked = self.asked()?;
        Ok(asked.cores(self.cores, &asked.driver_info()))
    }

    /// Who has the device open for more than questions, and so may hold its cores: the driver tells nobody which process holds
    /// which core.
    ///
    /// A child process asks, as [`ProbeOptions::with_processes`] says, within the options' deadline.
    ///
    /// # Errors
    /// [`Error::ProbeRefused`](crate::Error::ProbeRefused): this process has a Neuron node open itself, as an initialized libnrt
    /// has. [`Error::NodeRefused`](crate::Error::NodeRefused), [`Error::Deadline`](crate::Error::Deadline),
    /// [`Error::Driver`](crate::Error::Driver): the child could not open it, was not answered in time, or was lost.
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    pub fn users(&self) -> Result<DeviceUsers> {
        probe::users(self.device, &self.asked()?, self.options)
    }
}
