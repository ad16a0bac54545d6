//! The state of a Neuron device.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a Neuron device, as the Neuron driver shows it in the attribute `reset`. The numbers come from the
/// driver (`enum neuron_device_state`). Reading the state does not reach the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "u32", into = "u32")]
#[non_exhaustive]
pub enum DeviceState {
    /// 0: a reset is going on. Opening the device waits for the end of the reset.
    Resetting,
    /// 1: the device can be used.
    Ready,
    /// 2: the last reset failed. The driver refuses to open the device.
    ResetFailed,
    /// A number that this version of nearfab does not know.
    Unknown(u32),
}

impl From<u32> for DeviceState {
    fn from(number: u32) -> Self {
        match number {
            0 => Self::Resetting,
            1 => Self::Ready,
            2 => Self::ResetFailed,
            other => Self::Unknown(other),
        }
    }
}

impl From<DeviceState> for u32 {
    fn from(state: DeviceState) -> Self {
        match state {
            DeviceState::Resetting => 0,
            DeviceState::Ready => 1,
            DeviceState::ResetFailed => 2,
            DeviceState::Unknown(number) => number,
        }
    }
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Resetting => "in reset",
            Self::Ready => "ready",
            Self::ResetFailed => "reset failed",
            Self::Unknown(number) => return f.pad(&format!("unknown ({number})")),
        })
    }
}
