//! The Neuron driver: its version, and the layout of its files in sysfs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CLASS, NeuronDevice};
use crate::error::Problems;
use crate::scan::root::HostRoot;
use crate::types::{HostDevice, number};

const VERSION: &str = "sys/module/neuron/version";

/// The Neuron driver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NeuronDriver {
    /// The version, such as `2.30.2.0`. A build between releases has a version such as `2.x.7693.0`.
    pub version: Option<String>,
    /// The layout of the driver's files in sysfs.
    pub layout: DriverLayout,
    /// The names of the attributes of the device class. The attributes are in the same folder as the devices. The names
    /// depend on the platform (`ultraserver_mode`) and on the generation of the driver. nearfab does not read the
    /// attributes: reading some attributes costs the firmware a command.
    pub class_attributes: Vec<String>,
}

/// The layout of the driver's files in sysfs, by the driver's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum DriverLayout {
    /// Up to 2.26: no `health_status`.
    UpTo226,
    /// 2.27 to 2.29: `health_status` contains error counts.
    From227,
    /// 2.30: `health_status` names the unhealthy components.
    From230,
    /// Another layout. Driver 2.31 moved files, and the new places of these files are not published. nearfab reads the
    /// files in the known places. The values of the other files are missing from the host.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for DriverLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::UpTo226 => "up to 2.26",
            Self::From227 => "2.27 to 2.29",
            Self::From230 => "2.30",
            Self::Unknown => "unknown",
        })
    }
}

/// Reads the driver; `None` if the driver is not loaded. `class` has the names in the class folder, and `device` is one
/// of the devices. `is_bound` is true if a function is bound to the driver.
pub(super) fn read(
    root: &HostRoot,
    problems: &mut Problems,
    class: &[String],
    is_bound: bool,
    device: Option<&NeuronDevice>,
) -> Option<NeuronDriver> {
    let version = problems.take(root.read(VERSION)).flatten();
    if version.is_none() && class.is_empty() && !is_bound {
        return None;
    }
    let by_files = layout_of_files(root, problems, device);
    let by_version = version.as_deref().and_then(layout_of_version);
    let layout = match by_version {
        Some(layout) if layout != by_files => DriverLayout::Unknown,
        _ => by_files,
    };
    if layout == DriverLayout::Unknown && device.is_some() {
        let version = version.as_deref().unwrap_or("without a version");
        problems.note(format!(
            "the files of the Neuron driver {version} have a layout that this version of nearfab does not know: values that \
             are missing from its devices may be in other files"
        ));
    }
    let is_device = |name: &&String| name.parse::<HostDevice>().is_ok();
    let mut class_attributes: Vec<String> = class.iter().filter(|name| !is_device(name)).cloned().collect();
    class_attributes.sort_unstable();
    Some(NeuronDriver { version, layout, class_attributes })
}

/// Returns the layout by the files of a device. All devices of a driver have the same files.
fn layout_of_files(root: &HostRoot, problems: &mut Problems, device: Option<&NeuronDevice>) -> DriverLayout {
    let Some(device) = device.filter(|device| device.architecture.is_some()) else { return DriverLayout::Unknown };
    let health = format!("{CLASS}/{}/stats/hardware/health_status", device.index);
    let health = problems.take(root.list(&health)).unwrap_or_default();
    let has = |name: &str| health.iter().any(|file| file == name);
    if has("unhealthy_components") {
        DriverLayout::From230
    } else if has("hbm_ecc_err_count") {
        DriverLayout::From227
    } else if health.is_empty() {
        DriverLayout::UpTo226
    } else {
        DriverLayout::Unknown
    }
}

/// Returns the layout by the version; `None` for a build between releases, because its version does not show its
/// layout.
fn layout_of_version(version: &str) -> Option<DriverLayout> {
    let mut parts = version.split('.');
    let version: (u32, u32) = (number(parts.next()?)?, number(parts.next()?)?);
    Some(match version {
        (..2, _) | (2, ..=26) => DriverLayout::UpTo226,
        (2, 27..=29) => DriverLayout::From227,
        (2, 30) => DriverLayout::From230,
        _ => DriverLayout::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_released_version_has_a_layout() {
        for (version, layout) in [
            ("2.24.7.0", Some(DriverLayout::UpTo226)),
            ("2.26.10.0", Some(DriverLayout::UpTo226)),
            ("2.27.4.0", Some(DriverLayout::From227)),
            ("2.30.2.0", Some(DriverLayout::From230)),
            ("2.31.7.0", Some(DriverLayout::Unknown)),
            ("3.0", Some(DriverLayout::Unknown)),
            ("4294967295.0", Some(DriverLayout::Unknown)),
            ("2.x.7693.0", None),
            ("", None),
        ] {
            assert_eq!(layout_of_version(version), layout, "{version}");
        }
    }

    proptest! {
        #[test]
        fn layout_is_that_of_the_first_two_numbers(version in "[0-4]\\.[0-9x]{1,3}(\\.[0-9]{1,3}){0,2}|[0-9.+x]{0,12}|\\PC*") {
            // The plain reading combines both numbers in one: the first number times 10^12, plus the second.
            let mut parts = version.split('.').map(|part| {
                let is_number = !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
                is_number.then(|| part.parse::<u32>().ok()).flatten()
            });
            let numbers = parts.next().flatten().zip(parts.next().flatten());
            let plain = numbers.map(|(major, minor)| u128::from(major) * 1_000_000_000_000 + u128::from(minor));
            let plain = plain.map(|number| match number {
                ..2_000_000_000_027 => DriverLayout::UpTo226,
                2_000_000_000_027..2_000_000_000_030 => DriverLayout::From227,
                2_000_000_000_030 => DriverLayout::From230,
                _ => DriverLayout::Unknown,
            });
            prop_assert_eq!(layout_of_version(&version), plain);
        }
    }
}
