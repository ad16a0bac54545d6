//! The numbers of devices and cores, one type for each numbering, so that the compiler refuses to mix them up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The number of a Neuron device on the host: the N of `/dev/neuronN`.
///
/// This number is neither the position among the devices of a container ([`ContainerDevice`]) nor the number of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HostDevice(pub u32);

/// The number of a physical NeuronCore in its device: the K of `neuron_coreK` in sysfs.
///
/// This number is not the number of a [`LogicalCore`]. A logical core can consist of two physical cores, and is
/// numbered across all devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PhysicalCore(pub u32);

/// The number of a Neuron device in a container: the position of the device among the devices whose nodes the container
/// has.
///
/// The Neuron runtime and neuron-ls use this number in a container, while node names and `connected_devices` have the
/// number on the host ([`HostDevice`]). On a host with all nodes, both numbers are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerDevice(pub u32);

/// The number of a logical NeuronCore, as in `NEURON_RT_VISIBLE_CORES`.
///
/// Logical cores are numbered across all visible devices. Each logical core consists of one or two physical cores, by
/// the logical core configuration ([`Lnc`](crate::Lnc)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogicalCore(pub u32);

impl fmt::Display for ContainerDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for LogicalCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Parses `nc5`. The prefix distinguishes a logical core from a device.
///
/// ```
/// use nearfab::LogicalCore;
/// assert_eq!("nc5".parse::<LogicalCore>()?, LogicalCore(5));
/// # Ok::<(), nearfab::Error>(())
/// ```
impl FromStr for LogicalCore {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || number(text.strip_prefix("nc")?).map(Self);
        parse().ok_or_else(|| Error::BadName { text: text.to_owned(), expected: "a logical core such as nc5" })
    }
}

impl fmt::Display for HostDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("neuron{}", self.0))
    }
}

impl FromStr for HostDevice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        device_number(text)
            .map(Self)
            .ok_or_else(|| Error::BadName { text: text.to_owned(), expected: "a Neuron device such as neuron5" })
    }
}

/// A physical NeuronCore of the host, written `neuron5:0`.
///
/// ```
/// use nearfab::{Core, HostDevice, PhysicalCore};
/// let core: Core = "neuron5:0".parse()?;
/// assert_eq!(core, Core { device: HostDevice(5), core: PhysicalCore(0) });
/// # Ok::<(), nearfab::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Core {
    /// The device.
    pub device: HostDevice,
    /// The core in the device.
    pub core: PhysicalCore,
}

impl fmt::Display for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.device, self.core.0)
    }
}

impl FromStr for Core {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let (device, core) = text.split_once(':')?;
            Some(Self { device: HostDevice(device_number(device)?), core: PhysicalCore(number(core)?) })
        };
        parse().ok_or_else(|| Error::BadName {
            text: text.to_owned(),
            expected: "a physical core of a Neuron device, such as neuron5:0",
        })
    }
}

fn device_number(name: &str) -> Option<u32> {
    number(name.strip_prefix("neuron")?)
}

/// Parses a decimal number of digits only. Refuses a sign, which `parse` accepts.
pub(crate) fn number<T: FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}
