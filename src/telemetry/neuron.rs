//! What a Neuron device shows about itself in sysfs, with drivers up to 2.30.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Cost, Reading, Readings, reading, readings};
use crate::scan::neuron::NeuronDevice;
use crate::scan::root::HostRoot;
use crate::types::{HostDevice, PhysicalCore, number};

/// What a Neuron device and its cores measure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NeuronTelemetry {
    /// The host's number of the device.
    pub device: HostDevice,
    /// Whether it works. Only root may read it ([`DeviceState::Unread`]). Costs nothing.
    pub state: Option<DeviceState>,
    /// Memory errors that were counted since the last reset, such as `mem_ecc_uncorrected`. The driver also shows 0 where
    /// it could not read the count.
    pub ecc: Readings,
    /// What newer drivers say of its parts, such as `hw_error_event`.
    pub health: Readings,
    /// How much of its maximum power it draws. Costs nothing: the driver asks the firmware each minute.
    pub power: Option<Power>,
    /// Host memory that the driver allocated for the device, by use. Costs nothing.
    pub host_memory: BTreeMap<String, MemoryUse>,
    /// Its physical cores.
    pub cores: Vec<CoreTelemetry>,
}

/// Memory of a core. Reading it costs nothing.
///
/// A core is not idle because its numbers are zero: the driver does not see all allocations of newer frameworks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CoreTelemetry {
    /// The physical core.
    pub core: PhysicalCore,
    /// Host memory that was allocated for it.
    pub host_memory: Option<MemoryUse>,
    /// Device memory that was allocated for it.
    pub device_memory: Option<MemoryUse>,
    /// The same by use, such as `tensors`.
    pub device_memory_by_use: BTreeMap<String, MemoryUse>,
}

/// Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MemoryUse {
    /// Allocated now.
    pub present: Option<Reading>,
    /// The most that was ever allocated at once.
    pub peak: Option<Reading>,
    /// The sum of all allocations, those that were freed included.
    pub total: Option<Reading>,
}

/// Whether a device works.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeviceState {
    /// It is being reset; opening it waits until that is over.
    Reset,
    /// It works.
    Ready,
    /// It cannot be opened.
    Invalid,
    /// A number that nearfab does not know.
    Unknown(u64),
    /// It could not be read, or is no number.
    Unread(Reading),
}

/// Power in percent of the device's maximum, over the minute before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Power {
    /// What the driver measured.
    Measured {
        /// Whether the numbers mean something.
        status: PowerStatus,
        /// When, in seconds since 1970.
        time: u64,
        /// The lowest.
        min: f64,
        /// The highest.
        max: f64,
        /// The average.
        average: f64,
    },
    /// It could not be read, or is in no form that nearfab knows.
    Unread(Reading),
}

/// Whether power was measured.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PowerStatus {
    /// It was.
    Valid,
    /// Not yet.
    NoData,
    /// The firmware gave no sensible numbers.
    Invalid,
    /// A word that nearfab does not know.
    Unknown(String),
}

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

/// The folders below one, each with numbers of its own.
fn memory_by_use(root: &HostRoot, folder: &str) -> BTreeMap<String, MemoryUse> {
    let names = root.list(folder).unwrap_or_default();
    names
        .into_iter()
        .filter_map(|name| memory(root, &format!("{folder}/{name}")).map(|memory| (name, memory)))
        .collect()
}

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

/// `POWER_STATUS_VALID,<time>,<min>,<max>,<average>`.
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
