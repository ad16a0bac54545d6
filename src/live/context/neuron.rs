//! Asks the Neuron driver about devices, and gives access to libnrt in this process.
//!
//! A [`Neuron`] is an open device node. Through the node, nearfab asks the driver which cores are held, and which
//! processes are attached. A [`Neuron`] never reserves a core. nearfab keeps no list of held cores: the driver's
//! reservations are the truth.
//!
//! A [`NeuronRuntime`] is libnrt, loaded but not initialized. The loaded libnrt counts cores and names the instance
//! type. Only [`NeuronRuntime::init`] opens devices and reserves cores, once in a process.
//!
//! [`near_address`] returns the EFA interfaces that are near to device memory.

use crate::error::Result;
use crate::host::Host;
use crate::live::neuron_driver::WriteOnlyNode;
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

/// A Neuron device of this machine, with an open node to ask the driver through.
///
/// All `Neuron` values of a device share one node. The node is opened write-only, once in a process, and stays open
/// until the process ends. Closing the node in any way would free all cores that the process has reserved on all
/// devices, including libnrt's. So a `Neuron` cannot be closed.
#[derive(Debug, Clone, Copy)]
pub struct Neuron {
    device: HostDevice,
    cores: u32,
    options: ProbeOptions,
    node: WriteOnlyNode,
}

impl Neuron {
    /// Opens the device's node, or shares it if this process has it open. Opening returns at once, even while the
    /// device is in reset, and takes none of the device's places for processes.
    ///
    /// ```
    /// use nearfab::context::neuron::Neuron;
    /// use nearfab::probe::ProbeOptions;
    /// use nearfab::{Error, Host};
    ///
    /// // A host from a table has devices, but no node to open.
    /// let host = Host::from_instance("trn2.48xlarge")?;
    /// let error = Neuron::open(&host, host.neuron_devices()[0].index, ProbeOptions::default()).unwrap_err();
    /// assert!(matches!(error, Error::NotLive { .. }));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::NotLive`](crate::Error::NotLive): the host is not this machine.
    /// - [`Error::NoSuchDevice`](crate::Error::NoSuchDevice): the host has no such device.
    /// - [`Error::ProbeRefused`](crate::Error::ProbeRefused): the machine is a member of an UltraServer or pod, or may
    ///   be one. There, even the end of this process would affect the other members; see
    ///   [`ProbeOptions::even_on_pods`].
    /// - [`Error::NodeRefused`](crate::Error::NodeRefused): the node cannot be opened; the error says why and what to
    ///   do.
    pub fn open(host: &Host, device: HostDevice, options: ProbeOptions) -> Result<Self> {
        probe::may_open(host, options)?;
        let cores = host.find_neuron(device)?.cores;
        Ok(Self { device, cores, options, node: WriteOnlyNode::open(device)? })
    }

    /// Returns the host's number of the device.
    #[must_use]
    pub fn device(&self) -> HostDevice {
        self.device
    }

    fn open_node(&self) -> Result<OpenNode<'_>> {
        Ok(OpenNode::new(self.device, self.node.node()?))
    }

    /// Asks for the PCI address.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::Error::Driver): the driver does not answer.
    /// [`Error::Malformed`](crate::Error::Malformed): the answer is no PCI address.
    /// [`Error::Forked`](crate::Error::Forked): in a forked child.
    pub fn address(&self) -> Result<Bdf> {
        self.open_node()?.address()
    }

    /// Asks for the device's architecture and the driver's features.
    ///
    /// # Errors
    /// [`Error::Driver`](crate::Error::Driver): the driver does not answer. [`Error::Forked`](crate::Error::Forked): in
    /// a forked child.
    pub fn driver(&self) -> Result<DriverInfo> {
        self.open_node()?.driver_info()
    }

    /// Asks for each physical core whether it is held at this moment.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked): in a forked child. The failure of one core is in the answer for that
    /// core.
    pub fn cores(&self) -> Result<Vec<CoreProbe>> {
        let node = self.open_node()?;
        Ok(node.cores(self.cores, &node.driver_info()))
    }

    /// Asks for the processes that are attached to the device and so may hold its cores. The driver does not report
    /// which process holds which core.
    ///
    /// A child process asks, as [`ProbeOptions::with_processes`] describes, within the options' deadline.
    ///
    /// # Errors
    /// [`Error::ProbeRefused`](crate::Error::ProbeRefused): this process has a Neuron node open itself, as an
    /// initialized libnrt has, or must not fork. [`Error::NodeRefused`](crate::Error::NodeRefused): the child could not
    /// open the node. [`Error::Deadline`](crate::Error::Deadline): the driver did not answer in time.
    /// [`Error::Driver`](crate::Error::Driver): the child could not be started, or died.
    /// [`Error::Forked`](crate::Error::Forked): in a forked child.
    pub fn users(&self) -> Result<DeviceUsers> {
        probe::users(self.device, &self.open_node()?, self.options)
    }
}
