//! What the Neuron driver says of itself, and how its tree is laid out.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CLASS, NeuronDevice};
use crate::error::Problems;
use crate::scan::root::HostRoot;
use crate::types::{HostDevice, number};

const VERSION: &str = "sys/module/neuron/version";

/// The Neuron driver, where it is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeuronDriver {
    /// Its version, such as `2.30.2.0`; builds between releases say `2.x.7693.0`.
    pub version: Option<String>,
    /// How its tree is laid out.
    pub layout: DriverLayout,
    /// The attributes of the device class, which stand beside the devices: those there are tell the platform
    /// (`ultraserver_mode`) and the generation of the driver. By name alone: reading some of them asks the firmware.
    pub class_attributes: Vec<String>,
}

/// How the driver's tree is laid out. It changed with the driver's versions and from 2.31 on is not compatible at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum DriverLayout {
    /// Up to 2.26: no health attributes.
    UpTo226,
    /// 2.27 to 2.29: `health_status` holds error counts.
    From227,
    /// 2.30: `health_status` names the unhealthy components.
    From230,
    /// Another. Of 2.31 it is known that files moved, not where to. What such a driver shows in the places of the others
    /// is taken; what is missing may be elsewhere.
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

/// `class` are the names in the class folder, `device` is one of those there, and `drives` tells whether a function is
/// bound to the driver.
pub(super) fn read(
    root: &HostRoot,
    problems: &mut Problems,
    class: &[String],
    drives: bool,
    device: Option<&NeuronDevice>,
) -> Option<NeuronDriver> {
    let version = problems.take(root.read(VERSION)).flatten();
    if version.is_none() && class.is_empty() && !drives {
        return None;
    }
    let shown = layout_of_files(root, problems, device);
    let stated = version.as_deref().and_then(layout_of_version);
    let layout = match stated {
        Some(stated) if stated != shown => DriverLayout::Unknown,
        _ => shown,
    };
    if layout == DriverLayout::Unknown && device.is_some() {
        let version = version.as_deref().unwrap_or("of no stated version");
        problems.note(format!(
            "the tree of the Neuron driver {version} is not laid out in a way that is known here: what is missing of its \
             devices may be elsewhere"
        ));
    }
    let is_device = |name: &&String| name.parse::<HostDevice>().is_ok();
    let mut class_attributes: Vec<String> = class.iter().filter(|name| !is_device(name)).cloned().collect();
    class_attributes.sort_unstable();
    Some(NeuronDriver { version, layout, class_attributes })
}

/// The layout that the files of a device show; all devices of a driver are alike.
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

/// The layout of a released version; `None` for other builds, which do not say where they stand.
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
    fn released_versions_are_told_apart() {
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
        fn no_version_panics(version in "\\PC*") {
            let _ = layout_of_version(&version);
        }
    }
}
