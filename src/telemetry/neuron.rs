//! The values that a Neuron device shows in sysfs, with drivers up to 2.30.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Cost, Reading, Readings, reading, readings};
use crate::scan::neuron::NeuronDevice;
use crate::scan::root::HostRoot;
use crate::types::{HostDevice, PhysicalCore, number};

/// The measured values of a Neuron device and of its cores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NeuronTelemetry {
    /// The host's number of the device.
    pub device: HostDevice,
    /// Whether the device works. Only root may read the state; other users get [`DeviceState::Unread`]. Reading costs
    /// nothing.
    pub state: Option<DeviceState>,
    /// Counts of memory errors since the last reset, such as `mem_ecc_uncorrected`. The driver also shows 0 if it could
    /// not read a count.
    pub ecc: Readings,
    /// Events of the device's components, such as `hw_error_event`. Drivers before 2.27 show no such events.
    pub health: Readings,
    /// The power that the device draws. Reading costs nothing: the driver asks the firmware once a minute.
    pub power: Option<Power>,
    /// Host memory that the driver allocated for the device, by use. Reading costs nothing.
    pub host_memory: BTreeMap<String, MemoryUse>,
    /// The physical cores of the device.
    pub cores: Vec<CoreTelemetry>,
}

/// The memory of a core. Reading the memory costs nothing.
///
/// Numbers of zero do not show that a core is idle: the driver does not see all allocations of newer frameworks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CoreTelemetry {
    /// The physical core.
    pub core: PhysicalCore,
    /// Host memory that is allocated for the core.
    pub host_memory: Option<MemoryUse>,
    /// Device memory that is allocated for the core.
    pub device_memory: Option<MemoryUse>,
    /// Device memory that is allocated for the core, by use, such as `tensors`.
    pub device_memory_by_use: BTreeMap<String, MemoryUse>,
}

/// Amounts of memory in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryUse {
    /// The memory that is allocated now.
    pub present: Option<Reading>,
    /// The most memory that was ever allocated at the same time.
    pub peak: Option<Reading>,
    /// The sum of all allocations, including freed ones.
    pub total: Option<Reading>,
}

/// Whether a device works.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeviceState {
    /// The device is being reset. Opening the device waits for the end of the reset.
    Reset,
    /// The device works.
    Ready,
    /// The device cannot be opened.
    Invalid,
    /// A state that nearfab does not know.
    Unknown(u64),
    /// The state could not be read, or is not a number.
    Unread(Reading),
}

/// The power that a device drew in the last minute, in percent of its maximum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Power {
    /// The driver's measurement.
    Measured {
        /// Whether the numbers are valid.
        status: PowerStatus,
        /// The time of the measurement, in seconds since 1970.
        time: u64,
        /// The lowest power.
        min: f64,
        /// The highest power.
        max: f64,
        /// The average power.
        average: f64,
    },
    /// The power could not be read, or is in a form that nearfab does not know.
    Unread(Reading),
}

/// Whether a power measurement is valid.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PowerStatus {
    /// The measurement is valid.
    Valid,
    /// The driver has no measurement yet.
    NoData,
    /// The firmware returned invalid numbers.
    Invalid,
    /// A status that nearfab does not know.
    Unknown(String),
}

/// Reads the values of a device.
pub(super) fn read(root: &HostRoot, device: &NeuronDevice) -> NeuronTelemetry {
    let folder = format!("sys/class/neuron_device/{}", device.index);
    let hardware = format!("{folder}/stats/hardware");
    NeuronTelemetry {
        device: device.index,
        state: reading(root, &format!("{folder}/reset")).map(DeviceState::from),
        ecc: readings(root, &hardware, Cost::RegisterRead),
        health: readings(root, &format!("{hardware}/health_status"), Cost::Unknown),
        power: reading(root, &format!("{folder}/stats/power/utilization")).map(Power::from),
        host_memory: memory_by_use(root, &format!("{folder}/stats/memory_usage/host_mem")),
        cores: device.cores().map(|core| read_core(root, &folder, core.core)).collect(),
    }
}

fn read_core(root: &HostRoot, device: &str, core: PhysicalCore) -> CoreTelemetry {
    let folder = format!("{device}/neuron_core{}/stats/memory_usage", core.0);
    let device_memory = format!("{folder}/device_mem");
    CoreTelemetry {
        core,
        host_memory: memory(root, &format!("{folder}/host_mem")),
        device_memory: memory(root, &device_memory),
        device_memory_by_use: memory_by_use(root, &device_memory),
    }
}

/// Reads the folders below a folder; each has the three numbers of one use of memory.
fn memory_by_use(root: &HostRoot, folder: &str) -> BTreeMap<String, MemoryUse> {
    let names = root.list(folder).unwrap_or_default();
    names
        .into_iter()
        .filter_map(|name| memory(root, &format!("{folder}/{name}")).map(|memory| (name, memory)))
        .collect()
}

/// Reads the three numbers of one use of memory; `None` if the driver shows none of them.
fn memory(root: &HostRoot, folder: &str) -> Option<MemoryUse> {
    let one = |name: &str| reading(root, &format!("{folder}/{name}"));
    let memory = MemoryUse { present: one("present"), peak: one("peak"), total: one("total") };
    (memory.present.is_some() || memory.peak.is_some() || memory.total.is_some()).then_some(memory)
}

impl From<Reading> for DeviceState {
    fn from(reading: Reading) -> Self {
        match reading.number() {
            Some(0) => Self::Reset,
            Some(1) => Self::Ready,
            Some(2) => Self::Invalid,
            Some(other) => Self::Unknown(other),
            None => Self::Unread(reading),
        }
    }
}

impl From<Reading> for Power {
    fn from(reading: Reading) -> Self {
        match &reading {
            Reading::Text(text) => measured(text),
            _ => None,
        }
        .unwrap_or(Self::Unread(reading))
    }
}

/// Parses `POWER_STATUS_VALID,<time>,<min>,<max>,<average>`.
fn measured(text: &str) -> Option<Power> {
    let mut fields = text.split(',');
    let status = match fields.next()?.strip_prefix("POWER_STATUS_")? {
        "VALID" => PowerStatus::Valid,
        "NO_DATA" => PowerStatus::NoData,
        "INVALID" => PowerStatus::Invalid,
        other => PowerStatus::Unknown(other.to_owned()),
    };
    let time = number(fields.next()?)?;
    let mut percent = || fields.next()?.parse::<f64>().ok().filter(|value| value.is_finite());
    let (min, max, average) = (percent()?, percent()?, percent()?);
    fields.next().is_none().then_some(Power::Measured { status, time, min, max, average })
}
