//! The emulated releases of the Neuron driver.

use std::fmt;

use nearfab::instances::Product;

/// A release of the Neuron driver. The releases show different files.
///
/// The files of 2.24 are captured. The files of the other releases follow the source of each release or AWS's
/// documentation: see `tests/captured`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NeuronDriver {
    /// 2.24.7, the last release for the first Inferentia. All releases up to 2.26 show the same files.
    V2_24,
    /// 2.27.4 shows health as counts of errors.
    V2_27,
    /// 2.28.0 lets every user read the core count and the connected devices. Before 2.28.0 only root could read them.
    V2_28,
    /// 2.29.0 shows the power of each die.
    V2_29,
    /// 2.30.2 shows health by component, and attributes of the class that depend on the platform.
    V2_30,
    /// 2.31.7 moved files to paths that are not public. In an emulated tree each device has only the files that the
    /// kernel itself creates.
    V2_31,
}

impl NeuronDriver {
    /// All emulated releases, the oldest first.
    pub const ALL: [Self; 6] = [Self::V2_24, Self::V2_27, Self::V2_28, Self::V2_29, Self::V2_30, Self::V2_31];

    /// Returns the version as the kernel module shows it.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::V2_24 => "2.24.7.0",
            Self::V2_27 => "2.27.4.0",
            Self::V2_28 => "2.28.0.0",
            Self::V2_29 => "2.29.0.0",
            Self::V2_30 => "2.30.2.0",
            Self::V2_31 => "2.31.7.0",
        }
    }

    /// Returns true if the release supports a product. Release 2.25 dropped the first Inferentia and added Trainium3.
    #[must_use]
    pub fn supports(self, product: &Product) -> bool {
        match product.name {
            "Inferentia" => self == Self::V2_24,
            "Trainium3" => self > Self::V2_24,
            _ => true,
        }
    }

    /// Returns the newest release that supports a product and has known paths.
    pub(crate) fn newest_for(product: &Product) -> Self {
        if Self::V2_30.supports(product) { Self::V2_30 } else { Self::V2_24 }
    }
}

/// Writes the major and minor number, such as `2.24`.
impl fmt::Display for NeuronDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.version()[..4])
    }
}
