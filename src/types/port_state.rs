//! The state of an RDMA port.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a port, by the numbers of InfiniBand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "u32", into = "u32")]
#[non_exhaustive]
pub enum PortState {
    /// 0: no state changes are reported.
    NoChange,
    /// 1.
    Down,
    /// 2.
    Initializing,
    /// 3.
    Armed,
    /// 4: in use.
    Active,
    /// 5.
    ActiveDefer,
    /// A number that this nearfab does not know.
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
