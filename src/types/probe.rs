//! The answers of the Neuron driver to a probe, as plain data.

mod json;

use std::fmt;

use serde::Serialize;

use crate::error::Result;
use crate::types::{Bdf, Core, HostDevice, PhysicalCore};

/// The driver's answers for all Neuron devices of a host.
#[derive(Debug)]
#[non_exhaustive]
pub struct Probe {
    /// The Neuron devices of the host, in the host's order.
    pub devices: Vec<DeviceProbe>,
    /// The physical core of each logical core with LNC 1. `None` if the architecture has no such map (Trainium1,
    /// Inferentia).
    pub core_map: Result<Option<Vec<Core>>>,
}

/// The driver's answers for one device.
#[derive(Debug)]
#[non_exhaustive]
pub struct DeviceProbe {
    /// The device.
    pub device: HostDevice,
    /// The answers, or the error of opening the device node.
    pub answers: Result<DeviceAnswers>,
}

impl DeviceProbe {
    /// Returns the number of held cores of the device; `None` if the state of at least one core is unknown.
    #[must_use]
    pub fn held_cores(&self) -> Option<usize> {
        let mut held = 0;
        for core in &self.answers.as_ref().ok()?.cores {
            held += usize::from(*core.state.as_ref().ok()? == CoreState::Held);
        }
        Some(held)
    }

    /// Returns the processes that have the device open, by their PIDs in the initial PID namespace. `None` if the probe
    /// did not ask for processes, or the driver did not answer.
    #[must_use]
    pub fn pids(&self) -> Option<Vec<i32>> {
        let users = self.answers.as_ref().ok()?.attachment.as_ref()?.as_ref().ok()?;
        Some(users.processes.as_ref().ok()?.iter().map(|user| user.pid).collect())
    }
}

/// The answers for one device. Each question can fail separately.
#[derive(Debug)]
#[non_exhaustive]
pub struct DeviceAnswers {
    /// The PCI address of the device.
    pub address: Result<Bdf>,
    /// The driver's data about the device.
    pub driver: Result<DriverInfo>,
    /// The state of each physical core.
    pub cores: Vec<CoreProbe>,
    /// The processes that have the device open. `None` unless the probe asked for the processes
    /// (`ProbeOptions::with_processes`).
    pub attachment: Option<Result<DeviceUsers>>,
}

/// The driver's data about a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DriverInfo {
    /// The generation of the device.
    pub architecture: Architecture,
    /// The revision of the device. Emulated devices have 240 or 255.
    pub revision: u32,
    /// The features of the driver, one bit each. `None` if the driver is too old to list its features.
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

/// A core and its state.
#[derive(Debug)]
#[non_exhaustive]
pub struct CoreProbe {
    /// The core.
    pub core: PhysicalCore,
    /// Whether the core is held.
    pub state: Result<CoreState>,
}

/// Whether a process has reserved a core. The driver does not report which process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CoreState {
    /// No process has reserved the core.
    Free,
    /// A process has reserved the core. The process may have ended in the meantime.
    Held,
}

/// The processes that have a device open.
#[derive(Debug)]
#[non_exhaustive]
pub struct DeviceUsers {
    /// The number of the device on the host, from the driver. The number is the same in every container.
    pub host_device: Result<HostDevice>,
    /// The processes.
    pub processes: Result<Vec<DeviceUser>>,
    /// Whether the list contains the process that probed. In a PID namespace, as in a container, that process cannot
    /// find itself in the list, because it does not know its PID in the initial namespace.
    pub includes_probe: bool,
}

/// A process that has a device open.
#[derive(Debug)]
#[non_exhaustive]
pub struct DeviceUser {
    /// The PID in the initial PID namespace, which differs from the PID in a container.
    pub pid: i32,
    /// The name, of at most 15 bytes. `None` if the process has ended in the meantime, or if this process is in another
    /// PID namespace, as in a container.
    pub name: Option<String>,
    /// The cores that the process has locked for a model: one bit for each of the first four cores.
    pub locked_cores: u8,
    /// The host memory that the driver allocated for the process, in bytes.
    pub host_memory: u64,
    /// The device memory that the process has allocated, in bytes.
    pub device_memory: u64,
    /// The data that the process's Neuron runtime publishes about itself. `None` if the runtime published no data.
    pub datastore: Result<Option<Datastore>>,
}

/// The data that a Neuron runtime publishes for monitoring tools, such as its version and a tag of the process. The
/// form of the data is not public, so nearfab returns the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Datastore(pub(crate) Vec<u8>);

impl Datastore {
    /// Returns the bytes.
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
