//! What is allocated as one device, and its name.
//!
//! A name follows the hardware: it contains the number of a Neuron device or the PCI address of an EFA interface. An
//! interface that is missing after a boot thus renames no other device. A name is parsed back to its unit, so that a
//! device that another version of the driver published is still understood.

use std::fmt;
use std::str::FromStr;

use nearfab::instances::GroupSize;
use nearfab::{Bdf, HostDevice};

/// What is allocated as one device of the driver `nearfab.dev`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// A whole Neuron device.
    Neuron(HostDevice),
    /// One half of a Neuron device's cores.
    Half {
        /// The device.
        device: HostDevice,
        /// 0 for the cores that the runtime numbers first, 1 for the others.
        half: u32,
    },
    /// One logical core of a Neuron device.
    Core {
        /// The device.
        device: HostDevice,
        /// The number of physical cores of the logical core.
        lnc: u32,
        /// The number of the logical core on its device, as the runtime numbers the cores.
        core: u32,
    },
    /// Neuron devices with neighbouring numbers, with their EFA interfaces.
    Group {
        /// The number of Neuron devices, at least 2.
        size: GroupSize,
        /// The number of the group on the host: the group's first device is `number * size`.
        number: u32,
    },
    /// All Neuron devices and all EFA interfaces of the host.
    Node,
    /// An EFA interface.
    Efa(Bdf),
    /// The EFA interfaces that one accelerator should use. The address is the lowest of the set in the instance table.
    EfaSet(Bdf),
}

/// The kind of a unit: the value of the attribute `type`, and the first part of the name of the kind's device class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Whole Neuron devices.
    Neuron,
    /// Halves of Neuron devices.
    Half,
    /// Logical cores.
    Core,
    /// Groups of Neuron devices with their EFA interfaces.
    Group(GroupSize),
    /// Whole hosts.
    Node,
    /// EFA interfaces.
    Efa,
    /// Sets of EFA interfaces.
    EfaSet,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Neuron,
        Self::Half,
        Self::Core,
        Self::Group(GroupSize::Two),
        Self::Group(GroupSize::Four),
        Self::Group(GroupSize::Eight),
        Self::Group(GroupSize::Sixteen),
        Self::Node,
        Self::Efa,
        Self::EfaSet,
    ];

    /// Returns the value of the attribute `type`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Neuron => "neuron",
            Self::Half => "neuron-half",
            Self::Core => "neuron-core",
            Self::Group(GroupSize::One) => "group1",
            Self::Group(GroupSize::Two) => "group2",
            Self::Group(GroupSize::Four) => "group4",
            Self::Group(GroupSize::Eight) => "group8",
            Self::Group(GroupSize::Sixteen) => "group16",
            Self::Node => "node",
            Self::Efa => "efa",
            Self::EfaSet => "efa-set",
        }
    }
}

impl Unit {
    /// Returns the kind of this unit.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Neuron(_) => Kind::Neuron,
            Self::Half { .. } => Kind::Half,
            Self::Core { .. } => Kind::Core,
            Self::Group { size, .. } => Kind::Group(size),
            Self::Node => Kind::Node,
            Self::Efa(_) => Kind::Efa,
            Self::EfaSet(_) => Kind::EfaSet,
        }
    }
}

/// Writes the name of the unit's device: a DNS label.
impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Neuron(device) => write!(f, "neuron-{}", device.0),
            Self::Half { device, half } => write!(f, "neuron-{}-half-{half}", device.0),
            Self::Core { device, lnc, core } => write!(f, "neuron-{}-lnc{lnc}-core-{core}", device.0),
            Self::Group { size, number } => write!(f, "group{}-{number}", size.devices()),
            Self::Node => f.write_str("node"),
            Self::Efa(address) => write!(f, "efa-{}", label(*address)),
            Self::EfaSet(address) => write!(f, "efa-set-{}", label(*address)),
        }
    }
}

/// A name that no version of the driver gives to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no device of the driver has this name")]
pub struct NotAUnit;

/// Parses the name of a unit's device.
impl FromStr for Unit {
    type Err = NotAUnit;

    fn from_str(name: &str) -> Result<Self, NotAUnit> {
        let unit = parse(name).ok_or(NotAUnit)?;
        // A number with a zero or a sign in front would be a second name of a device.
        if unit.to_string() == name { Ok(unit) } else { Err(NotAUnit) }
    }
}

fn parse(name: &str) -> Option<Unit> {
    if name == "node" {
        return Some(Unit::Node);
    }
    if let Some(address) = name.strip_prefix("efa-set-") {
        return Some(Unit::EfaSet(address_of_label(address)?));
    }
    if let Some(address) = name.strip_prefix("efa-") {
        return Some(Unit::Efa(address_of_label(address)?));
    }
    if let Some(group) = name.strip_prefix("group") {
        let (devices, number) = group.split_once('-')?;
        let devices: u32 = devices.parse().ok()?;
        let size = GroupSize::ALL.iter().copied().find(|size| *size > GroupSize::One && size.devices() == devices)?;
        return Some(Unit::Group { size, number: number.parse().ok()? });
    }
    let rest = name.strip_prefix("neuron-")?;
    let Some((device, part)) = rest.split_once('-') else { return Some(Unit::Neuron(HostDevice(rest.parse().ok()?))) };
    let device = HostDevice(device.parse().ok()?);
    if let Some(half) = part.strip_prefix("half-") {
        return Some(Unit::Half { device, half: half.parse().ok().filter(|half| *half < 2)? });
    }
    let (lnc, core) = part.strip_prefix("lnc")?.split_once("-core-")?;
    Some(Unit::Core { device, lnc: lnc.parse().ok().filter(|lnc| *lnc > 0)?, core: core.parse().ok()? })
}

/// Returns a PCI address as a part of a DNS label, such as `0000-c9-00-0`.
#[must_use]
pub fn label(address: Bdf) -> String {
    address.to_string().replace([':', '.'], "-")
}

/// Returns the PCI address of a [`label`].
#[must_use]
pub fn address_of_label(label: &str) -> Option<Bdf> {
    let parts: Vec<&str> = label.split('-').collect();
    let [domain, bus, device, function] = parts[..] else { return None };
    format!("{domain}:{bus}:{device}.{function}").parse().ok()
}
