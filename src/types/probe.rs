//! The answers of the Neuron driver to a probe, as plain data.

mod json;

use std::fmt;

use serde::Serialize;

use crate::error::Result;
use crate::types::{Bdf, Core, HostDevice, PhysicalCore};

/// What the driver said.
#[derive(Debug)]
#[non_exhaustive]
pub struct Probe {
    /// For each Neuron device of the host, in its order.
    pub devices: Vec<DeviceProbe>,
    /// The physical core of each logical one, as numbered before cores are grouped (LNC 1). `None`: the architecture has
    /// no such map (Trainium1, Inferentia).
    pub core_map: Result<Option<Vec<Core>>>,
}

/// What the driver said of one device.
#[derive(Debug)]
#[non_exhaustive]
pub struct DeviceProbe {
    /// The device.
    pub device: HostDevice,
    /// The answers, or why the node could not be opened.
    pub answers: Result<DeviceAnswers>,
}

impl DeviceProbe {
    /// How many of its cores are held; `None` where of one of them it is not known.
    #[must_use]
    pub fn held_cores(&self) -> Option<usize> {
        let mut held = 0;
        for core in &self.answers.as_ref().ok()?.cores {
            held += usize::from(*core.state.as_ref().ok()? == CoreState::Held);
        }
        Some(held)
    }

    /// The processes that have it open, by their numbers in the initial PID namespace; `None` where that was not asked, or
    /// not answered.
    #[must_use]
    pub fn pids(&self) -> Option<Vec<i32>> {
        let users = self.answers.as_ref().ok()?.attachment.as_ref()?.as_ref().ok()?;
        Some(users.processes.as_ref().ok()?.iter().map(|user| user.pid).collect())
    }
}

/// The answers of one device: one that fails leaves the others alone.
#[derive(Debug)]
#[non_exhaustive]
pub struct DeviceAnswers {
    /// Its PCI address.
    pub address: Result<Bdf>,
    /// What it is to the driver.
    pub driver: Result<DriverInfo>,
    /// For each physical core whether it is held.
    pub cores: Vec<CoreProbe>,
    /// Who has it open, if asked for ([`ProbeOptions::with_processes`]).
    pub attachment: Option<Result<DeviceUsers>>,
}

/// What the driver knows a device as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DriverInfo {
    /// The generation.
    pub architecture: Architecture,
    /// The revision of the device; emulated ones have 240 or 255.
    pub revision: u32,
    /// What the driver can do, one bit each. `None`: it is too old to say.
    pub features: Option<u64>,
}

/// A generation of Neuron devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Architecture {
    /// Inferentia.
    V1,
    /// Trainium1 and Inferentia2.
    V2,
    /// Trainium2.
    V3,
    /// Trainium3.
    V4,
    /// A number that nearfab does not know.
    Unknown(u32),
}

/// Whether a core is held.
#[derive(Debug)]
#[non_exhaustive]
pub struct CoreProbe {
    /// The core.
    pub core: PhysicalCore,
    /// The answer.
    pub state: Result<CoreState>,
}

/// Whether a process has reserved a core. The driver tells nobody which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CoreState {
    /// No process has.
    Free,
    /// A process has, possibly one that is gone since.
    Held,
}

/// Who has a device open.
#[derive(Debug)]
#[non_exhaustive]
pub struct DeviceUsers {
    /// The host's number of the device, as the driver says it: the same in every container.
    pub host_device: Result<HostDevice>,
    /// The processes.
    pub processes: Result<Vec<DeviceUser>>,
    /// Whether one of the processes is the one that asked: in a PID namespace, as in a container, it does not know its
    /// own number in the list.
    pub includes_probe: bool,
}

/// A process that has a device open.
#[derive(Debug)]
#[non_exhaustive]
pub struct DeviceUser {
    /// Its number in the initial PID namespace: in a container another one than is seen there.
    pub pid: i32,
    /// Its name, of at most 15 bytes. `None`: it has ended since, or this process sees others by other numbers, as in a
    /// container.
    pub name: Option<String>,
    /// Which of the first four cores it has locked for a model, one bit each.
    pub locked_cores: u8,
    /// Bytes of host memory that the driver allocated for it.
    pub host_memory: u64,
    /// Bytes of device memory that it has allocated.
    pub device_memory: u64,
    /// What its runtime says of itself. `None`: it has said nothing.
    pub datastore: Result<Option<Datastore>>,
}

/// What a runtime says of itself to monitoring tools, its version and a tag of the process among others. Its form is not
/// published, so these are the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Datastore(pub(crate) Vec<u8>);

impl Datastore {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Datastore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Datastore({} bytes)", self.0.len())
    }
}

impl From<u32> for Architecture {
    fn from(raw: u32) -> Self {
        match raw {
            1 => Self::V1,
            2 => Self::V2,
            3 => Self::V3,
            4 => Self::V4,
            other => Self::Unknown(other),
        }
    }
}
