//! Values that move by themselves: counters, errors, power, memory, the state of a device.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::scan::root::HostRoot;
use crate::types::{Bdf, number};

mod neuron;

pub use neuron::{CoreTelemetry, DeviceState, MemoryUse, NeuronTelemetry, Power, PowerStatus};

/// What the devices of a host count and measure, as read at one moment from the host's file tree.
///
/// What a driver does not show is left out: sets differ between drivers, so names are looked for and none is required.
/// What it shows is kept, also what cannot be understood or read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Telemetry {
    /// Of the EFA interfaces that have a driver, by PCI address.
    pub efa: Vec<EfaTelemetry>,
    /// Of the Neuron devices, by number.
    pub neuron: Vec<NeuronTelemetry>,
}

/// What an EFA interface counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EfaTelemetry {
    /// Its PCI address.
    pub address: Bdf,
    /// Commands to the device and what failed, such as `cmds_err`. Old kernels have the port's counters among them.
    pub device: Readings,
    /// Traffic and trouble, such as `rx_bytes` and `retrans_timeout_events`.
    pub port: Readings,
}

/// Readings of one kind, by the names that the driver gives them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Readings {
    /// What reading one of them costs.
    pub cost: Cost,
    /// The readings.
    pub values: BTreeMap<String, Reading>,
}

/// What reading a value costs the device, over the system calls that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cost {
    /// Nothing: the driver has it in memory.
    Nothing,
    /// A read of the device's registers, in which its firmware publishes the value.
    RegisterRead,
    /// A command on the device's admin queue, unless the kernel answers from what it got a few milliseconds before.
    AdminCommand,
    /// Not known: what the driver does for it is not published.
    #[serde(other)]
    Unknown,
}

/// A value as the driver showed it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reading {
    /// A whole number.
    Number(u64),
    /// A text that is no number.
    Text(String),
    /// There is a value, and this user may not read it.
    Refused,
    /// There is a value, and the driver failed to read it: the reason.
    Failed(String),
}

impl Reading {
    /// The number, if it is one.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }
}

impl Readings {
    /// The number of this name, if it is there and is one.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.values.get(name)?.number()
    }
}

impl EfaTelemetry {
    /// Whether an entry among the counters is none: settings of the kernel are in the same folder.
    ///
    /// ```
    /// # use nearfab::telemetry::EfaTelemetry;
    /// assert!(EfaTelemetry::is_counter("tx_bytes"));
    /// // For how many milliseconds the kernel keeps what it read.
    /// assert!(!EfaTelemetry::is_counter("lifespan"));
    /// ```
    #[must_use]
    pub fn is_counter(name: &str) -> bool {
        name != "lifespan"
    }
}

/// Reads the telemetry of a host: this machine, or the tree that it was made from, as it is now.
///
/// Reading opens no device node. What it costs the devices is said with each group of readings, see [`Cost`].
///
/// ```
/// use nearfab::{Error, Host, telemetry::telemetry};
///
/// // On an instance this is Host::discover()?. A table has no values to read.
/// let host = Host::from_instance("trn2.48xlarge")?;
/// assert!(matches!(telemetry(&host), Err(Error::NoTree { .. })));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::NoTree`] for a host from a table or a record, [`Error::Read`] where its root cannot be opened any more. What
/// cannot be read below it is among the readings.
pub fn telemetry(host: &Host) -> Result<Telemetry> {
    let path = host.root().ok_or_else(|| Error::NoTree { origin: host.origin().to_string() })?;
    let root = HostRoot::open(path)?;
    let efa = host.efa().iter().filter_map(|interface| {
        let device = format!("sys/class/infiniband/{}", interface.rdma.as_deref()?);
        Some(EfaTelemetry {
            address: interface.address(),
            device: readings(&root, &format!("{device}/hw_counters"), Cost::AdminCommand),
            port: readings(&root, &format!("{device}/ports/1/hw_counters"), Cost::AdminCommand),
        })
    });
    let neuron = host.neuron().iter().map(|device| neuron::read(&root, device));
    Ok(Telemetry { efa: efa.collect(), neuron: neuron.collect() })
}

/// All files of a folder.
fn readings(root: &HostRoot, folder: &str, cost: Cost) -> Readings {
    let names = root.list(folder).unwrap_or_default();
    let values = names.into_iter().filter_map(|name| {
        let reading = reading(root, &format!("{folder}/{name}"))?;
        Some((name, reading))
    });
    Readings { cost, values: values.collect() }
}

/// A file; `None` where there is none, or a folder.
fn reading(root: &HostRoot, path: &str) -> Option<Reading> {
    match root.read(path) {
        Ok(text) => text.map(|text| number(&text).map_or(Reading::Text(text), Reading::Number)),
        Err(Error::Read { cause, .. }) if cause.kind() == ErrorKind::IsADirectory => None,
        Err(Error::Read { cause, .. }) if cause.kind() == ErrorKind::PermissionDenied => Some(Reading::Refused),
        Err(error) => Some(Reading::Failed(error.to_string())),
    }
}
