//! Values that change by themselves: counters, errors, power, memory, the state of a device.

mod health;
mod neuron;

use std::collections::BTreeMap;
use std::io::ErrorKind;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::host::Host;
use crate::scan::root::HostRoot;
use crate::types::{Bdf, number};

pub(crate) use health::read_all;
pub use health::{NeuronHealth, neuron_health};
pub use neuron::{CoreTelemetry, DeviceState, MemoryUse, NeuronTelemetry, Power, PowerStatus};

/// The counters and measured values of a host's devices, read at one moment from the host's file tree.
///
/// Drivers show different sets of values. A value that the driver does not show is left out. A value that the driver
/// shows is kept, even if it cannot be read or is not a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Telemetry {
    /// The EFA interfaces that have an RDMA device, in the order of their PCI addresses.
    pub efa: Vec<EfaTelemetry>,
    /// The Neuron devices, in the order of their numbers.
    pub neuron: Vec<NeuronTelemetry>,
}

/// The counters of an EFA interface.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EfaTelemetry {
    /// The PCI address of the interface.
    pub address: Bdf,
    /// Counters of the device: commands and failures, such as `cmds_err`. Old kernels show the port's counters among
    /// these counters too.
    pub device: Readings,
    /// Counters of the port: traffic and its failures, such as `rx_bytes` and `retrans_timeout_events`.
    pub port: Readings,
}

/// A group of readings with the same cost, by the names that the driver gives them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Readings {
    /// The cost of reading one value for the device.
    pub cost: Cost,
    /// The readings.
    pub values: BTreeMap<String, Reading>,
}

/// The cost of reading a value for the device. The system calls have an additional cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cost {
    /// Nothing: the driver has the value in memory.
    Nothing,
    /// A read of a register of the device, in which the firmware publishes the value.
    RegisterRead,
    /// A command on the device's admin queue, unless the kernel still has an answer that is a few milliseconds old.
    AdminCommand,
    /// The cost is not known: no published source shows what the driver does for this value.
    #[serde(other)]
    Unknown,
}

/// A value as the driver shows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reading {
    /// A whole number.
    Number(u64),
    /// A text that is not a whole number.
    Text(String),
    /// The driver shows the value, and this user may not read it.
    Refused,
    /// The driver shows the value and reading it failed, for this reason.
    Failed(String),
}

impl Reading {
    /// Returns the number, or `None` if the reading is not a number.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }
}

impl Readings {
    /// Returns the number of this name, or `None` if no such reading exists or the reading is not a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.values.get(name)?.number()
    }
}

impl EfaTelemetry {
    /// Returns true if a name among the readings is the name of a counter. The kernel has settings in the same folder.
    ///
    /// ```
    /// # use nearfab::telemetry::EfaTelemetry;
    /// assert!(EfaTelemetry::is_counter("tx_bytes"));
    /// // How many milliseconds the kernel keeps a value before it reads it again.
    /// assert!(!EfaTelemetry::is_counter("lifespan"));
    /// ```
    #[must_use]
    pub fn is_counter(name: &str) -> bool {
        name != "lifespan"
    }
}

/// Reads the current telemetry of a host from this machine, or from the tree that the host was read from.
///
/// Reading opens no device node. Each group of readings has its cost for the device, see [`Cost`].
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
/// [`Error::NoTree`] for a host from a table or a record, [`Error::Read`] if the root cannot be opened any more. A file
/// below the root that cannot be read is a reading ([`Reading::Refused`], [`Reading::Failed`]) and not an error.
pub fn telemetry(host: &Host) -> Result<Telemetry> {
    let path = host.root().ok_or_else(|| Error::NoTree { origin: host.origin().to_string() })?;
    let root = HostRoot::open(path)?;
    let neuron = host.neuron_devices().iter().map(|device| neuron::read(&root, device));
    Ok(Telemetry { efa: efa_counters(&root, host), neuron: neuron.collect() })
}

/// Reads the current counters of the EFA interfaces of a host, like [`telemetry`]. Reading costs a command of each device.
///
/// # Errors
/// As for [`telemetry`].
pub fn efa_telemetry(host: &Host) -> Result<Vec<EfaTelemetry>> {
    let path = host.root().ok_or_else(|| Error::NoTree { origin: host.origin().to_string() })?;
    Ok(efa_counters(&HostRoot::open(path)?, host))
}

fn efa_counters(root: &HostRoot, host: &Host) -> Vec<EfaTelemetry> {
    let efa = host.efa_interfaces().iter().filter_map(|interface| {
        let device = format!("sys/class/infiniband/{}", interface.rdma.as_deref()?);
        Some(EfaTelemetry {
            address: interface.address(),
            device: readings(root, &format!("{device}/hw_counters"), Cost::AdminCommand),
            port: readings(root, &format!("{device}/ports/1/hw_counters"), Cost::AdminCommand),
        })
    });
    efa.collect()
}

/// Reads all files of a folder.
fn readings(root: &HostRoot, folder: &str, cost: Cost) -> Readings {
    let names = root.list(folder).unwrap_or_default();
    let values = names.into_iter().filter_map(|name| {
        let reading = reading(root, &format!("{folder}/{name}"))?;
        Some((name, reading))
    });
    Readings { cost, values: values.collect() }
}

/// Reads a file; `None` if the file does not exist or is a folder.
fn reading(root: &HostRoot, path: &str) -> Option<Reading> {
    match root.read(path) {
        Ok(text) => text.map(|text| number(&text).map_or(Reading::Text(text), Reading::Number)),
        Err(Error::Read { cause, .. }) if cause.kind() == ErrorKind::IsADirectory => None,
        Err(Error::Read { cause, .. }) if cause.kind() == ErrorKind::PermissionDenied => Some(Reading::Refused),
        Err(error) => Some(Reading::Failed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Writes a file and the folders above it.
    fn write(path: &std::path::Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn folders_among_counters_are_no_readings_on_any_mount() {
        let tree = tempfile::tempdir().unwrap();
        let hardware = "sys/class/neuron_device/neuron0/stats/hardware";
        let counters = "sys/class/infiniband/rdmap201s0/hw_counters";
        write(&tree.path().join(hardware).join("mem_ecc_corrected"), "7\n");
        write(&tree.path().join(hardware).join("health_status/hw_error_event"), "0\n");
        write(&tree.path().join(counters).join("cmds_err"), "3\n");
        write(&tree.path().join(counters).join("more/inside"), "1\n");
        std::os::unix::fs::symlink("more", tree.path().join(counters).join("link_to_folder")).unwrap();
        for is_nodev in [true, false] {
            let mut root = HostRoot::open(tree.path()).unwrap();
            root.treat_sys_as_nodev(is_nodev);
            for (folder, name, number) in [(hardware, "mem_ecc_corrected", 7), (counters, "cmds_err", 3)] {
                let readings = readings(&root, folder, Cost::Unknown);
                let expected = BTreeMap::from([(name.to_owned(), Reading::Number(number))]);
                assert_eq!(readings.values, expected, "nodev: {is_nodev}");
                assert_eq!(reading(&root, folder), None, "nodev: {is_nodev}");
            }
            let health = readings(&root, &format!("{hardware}/health_status"), Cost::Unknown);
            assert_eq!(health.number("hw_error_event"), Some(0));
        }
    }
}
