//! The state of an RDMA port.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a port. The numbers come from the InfiniBand specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "u32", into = "u32")]
#[non_exhaustive]
pub enum PortState {
    /// 0: no change of state.
    NoChange,
    /// 1: the link is down.
    Down,
    /// 2: the link is up, and the port is not configured yet.
    Initializing,
    /// 3: the port is configured, and does not carry traffic yet.
    Armed,
    /// 4: the port carries traffic.
    Active,
    /// 5: the port was active, and its link is temporarily down.
    ActiveDefer,
    /// A number that this version of nearfab does not know.
    Unknown(u32),
}

impl From<u32> for PortState {
    fn from(number: u32) -> Self {
        match number {
            0 => Self::NoChange,
            1 => Self::Down,
            2 => Self::Initializing,
            3 => Self::Armed,
            4 => Self::Active,
            5 => Self::ActiveDefer,
            other => Self::Unknown(other),
        }
    }
}

impl From<PortState> for u32 {
    fn from(state: PortState) -> Self {
        match state {
            PortState::NoChange => 0,
            PortState::Down => 1,
            PortState::Initializing => 2,
            PortState::Armed => 3,
            PortState::Active => 4,
            PortState::ActiveDefer => 5,
            PortState::Unknown(number) => number,
        }
    }
}

impl fmt::Display for PortState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NoChange => "no change",
            Self::Down => "down",
            Self::Initializing => "initializing",
            Self::Armed => "armed",
            Self::Active => "active",
            Self::ActiveDefer => "active, deferred",
            Self::Unknown(number) => return f.pad(&format!("unknown ({number})")),
        })
    }
}
