//! The health of Neuron devices: a small part of the telemetry.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Cost, DeviceState, Reading, Readings, reading, readings};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::scan::neuron::NeuronDevice;
use crate::scan::root::HostRoot;
use crate::types::{HostDevice, PhysicalCore};

/// Whether a Neuron device works, as the driver shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NeuronHealth {
    /// The host's number of the device.
    pub device: HostDevice,
    /// Whether the device can be opened, see [`NeuronTelemetry::state`](super::NeuronTelemetry::state).
    pub state: Option<DeviceState>,
    /// Counts of memory errors, see [`NeuronTelemetry::ecc`](super::NeuronTelemetry::ecc).
    pub ecc: Readings,
    /// Events and unhealthy components, see [`NeuronTelemetry::health`](super::NeuronTelemetry::health).
    pub components: Readings,
    /// The number of executions on each physical core that ended with a DMA abort. Reading costs nothing.
    pub dma_aborts: BTreeMap<PhysicalCore, Reading>,
    /// True if the serial number consists of ones: the device does not answer on PCI.
    pub is_off_bus: bool,
}

impl NeuronHealth {
    /// Returns the names of the unhealthy components, such as `hbm`. The list is empty with drivers that name none.
    #[must_use]
    pub fn unhealthy_components(&self) -> Vec<&str> {
        match self.components.values.get("unhealthy_components") {
            Some(Reading::Text(names)) => {
                names.split([',', ' ']).map(str::trim).filter(|name| !name.is_empty()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Returns true if the driver shows nothing about the health of the device, or nothing that could be read.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        let is_read = |reading: &Reading| matches!(reading, Reading::Number(_) | Reading::Text(_));
        let shown = self.ecc.values.values().chain(self.components.values.values()).chain(self.dma_aborts.values());
        !self.is_off_bus && !shown.into_iter().any(is_read)
    }
}

/// Reads the health of the Neuron devices of a host from this machine, or from the tree that the host was read from.
///
/// Reading opens no device node. Counts of memory errors are registers of the device, see [`Cost`].
///
/// ```
/// use nearfab::{Error, Host, telemetry::neuron_health};
///
/// // On an instance this is Host::discover()?. A table has no values to read.
/// let host = Host::from_instance("trn2.48xlarge")?;
/// assert!(matches!(neuron_health(&host), Err(Error::NoTree { .. })));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// [`Error::NoTree`] for a host from a table or a record, [`Error::Read`] if the root cannot be opened any more.
pub fn neuron_health(host: &Host) -> Result<Vec<NeuronHealth>> {
    let path = host.root().ok_or_else(|| Error::NoTree { origin: host.origin().to_string() })?;
    let root = HostRoot::open(path)?;
    Ok(read_all(&root, host.neuron_devices()))
}

/// Reads the health of devices.
pub(crate) fn read_all(root: &HostRoot, devices: &[NeuronDevice]) -> Vec<NeuronHealth> {
    devices.iter().map(|device| read(root, device)).collect()
}

fn read(root: &HostRoot, device: &NeuronDevice) -> NeuronHealth {
    let folder = format!("sys/class/neuron_device/{}", device.index);
    let hardware = format!("{folder}/stats/hardware");
    let aborts = device.cores().filter_map(|core| {
        let path = format!("{folder}/neuron_core{}/stats/status/hw_dma_abort_error/total", core.core.0);
        Some((core.core, reading(root, &path)?))
    });
    let serial = reading(root, &format!("{folder}/info/serial_number"));
    NeuronHealth {
        device: device.index,
        state: reading(root, &format!("{folder}/reset")).map(DeviceState::from),
        ecc: readings(root, &hardware, Cost::RegisterRead),
        components: readings(root, &format!("{hardware}/health_status"), Cost::Unknown),
        dma_aborts: aborts.collect(),
        is_off_bus: matches!(serial, Some(Reading::Text(serial)) if serial == "f".repeat(16)),
    }
}
