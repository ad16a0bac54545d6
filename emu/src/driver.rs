//! Releases of the Neuron driver.

use std::fmt;

use nearfab::instances::Product;

/// A release of the Neuron driver, whose tree looks its own way.
///
/// What 2.24 shows is captured, of the others is known what their source or AWS's documentation says: see
/// `tests/captured`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NeuronDriver {
    /// 2.24.7, the last for the first Inferentia. All up to 2.26 look like it.
    V2_24,
    /// 2.27.4: health as counts of errors.
    V2_27,
    /// 2.28.0: everybody may read how many cores and neighbours a device has, before only root.
    V2_28,
    /// 2.29.0: power of each die.
    V2_29,
    /// 2.30.2: health by component; attributes of the class by platform.
    V2_30,
    /// 2.31.7: files moved, and where to is not public. Here each device shows what the kernel itself makes of it.
    V2_31,
}

impl NeuronDriver {
    /// Every release that can be emulated, the oldest first.
    pub const ALL: [Self; 6] = [Self::V2_24, Self::V2_27, Self::V2_28, Self::V2_29, Self::V2_30, Self::V2_31];

    /// The version as the module states it.
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

    /// Whether it drives devices of a product: the first Inferentia was dropped in 2.25, which brought Trainium3.
    #[must_use]
    pub fn drives(self, product: &Product) -> bool {
        match product.name {
            "Inferentia" => self == Self::V2_24,
            "Trainium3" => self > Self::V2_24,
            _ => true,
        }
    }

    /// The newest of which is known where it shows what.
    pub(crate) fn newest_for(product: &Product) -> Self {
        if Self::V2_30.drives(product) { Self::V2_30 } else { Self::V2_24 }
    }
}

/// Major and minor number, such as `2.24`.
impl fmt::Display for NeuronDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.version()[..4])
    }
}
