//! The order in which the Neuron runtime numbers the physical cores of a device.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::NeuronDevice;
use crate::tables::instances::Platform;
use crate::types::PhysicalCore;

/// The orders of Trainium2, and of Trainium3 in a torus.
const TORUS: [[u32; 8]; 4] =
    [[4, 5, 6, 7, 2, 3, 0, 1], [2, 3, 0, 1, 4, 5, 6, 7], [0, 1, 2, 3, 6, 7, 4, 5], [6, 7, 4, 5, 0, 1, 2, 3]];
/// The row of [`TORUS`] for each device of a server.
const TORUS_ROW: [usize; 16] = [0, 1, 0, 1, 2, 3, 2, 3, 0, 1, 0, 1, 2, 3, 2, 3];
/// The orders of Trainium3 behind NeuronSwitches: of even devices, and of odd devices.
const SWITCHED: [[u32; 8]; 2] = [[4, 5, 6, 7, 2, 3, 0, 1], [6, 7, 4, 5, 0, 1, 2, 3]];

/// The physical cores of a device in the order in which the runtime numbers them, and the evidence for the order.
///
/// With LNC 2 each pair of neighbours in this order forms one logical core. The two cores of a pair share a memory
/// stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CoreMap {
    /// The physical cores; the first is the runtime's core 0 of this device.
    pub order: Vec<PhysicalCore>,
    /// The evidence for the order.
    pub evidence: CoreMapEvidence,
}

impl CoreMap {
    /// Returns the order on a server whose dice the driver flips.
    pub(crate) fn flipped(&self) -> Vec<PhysicalCore> {
        (0..self.order.len()).filter_map(|position| self.order.get(position ^ 6)).copied().collect()
    }
}

/// The evidence for the order of cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CoreMapEvidence {
    /// The product: the runtime and the driver number its cores alike, and the driver has no map.
    Product,
    /// The table in the driver's source code. The driver of this host was not asked for its map.
    DriverTable,
    /// The table in the driver's source code, on a server of an UltraServer. On servers 1 and 3 the driver flips the
    /// dice, and the order differs from the table. Only the driver knows which server this is.
    DriverTableUnlessFlipped,
    /// An assumption: no table has this product, instance type or device. nearfab assumes that the runtime and the
    /// driver number the cores alike.
    Assumed,
}

impl fmt::Display for CoreMapEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Product => "product",
            Self::DriverTable => "driver's table, nominal",
            Self::DriverTableUnlessFlipped => "driver's table, nominal, another on servers 1 and 3 of an UltraServer",
            Self::Assumed => "assumed",
        })
    }
}

/// Returns the order of a device's cores on an instance type.
pub(crate) fn of(device: &NeuronDevice, instance_type: Option<&str>) -> CoreMap {
    let platform = instance_type.and_then(Platform::named);
    let index = device.index.0 as usize;
    let row = match device.product.as_deref() {
        Some("Inferentia" | "Inferentia2" | "Trainium1") => return identity(device, CoreMapEvidence::Product),
        Some("Trainium2") => TORUS_ROW.get(index).map(|&row| &TORUS[row]),
        Some("Trainium3") => match platform {
            Some(Platform::Pds | Platform::Max) => Some(&SWITCHED[index % 2]),
            Some(Platform::UltraServer) => TORUS_ROW.get(index).map(|&row| &TORUS[row]),
            _ => None,
        },
        _ => None,
    };
    let Some(row) = row.filter(|row| row.len() == device.cores as usize) else {
        return identity(device, CoreMapEvidence::Assumed);
    };
    let evidence = match platform {
        Some(Platform::UltraServer) => CoreMapEvidence::DriverTableUnlessFlipped,
        _ => CoreMapEvidence::DriverTable,
    };
    CoreMap { order: row.iter().copied().map(PhysicalCore).collect(), evidence }
}

/// Returns the cores in the order of their numbers.
fn identity(device: &NeuronDevice, evidence: CoreMapEvidence) -> CoreMap {
    CoreMap { order: device.cores().map(|core| core.core).collect(), evidence }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The driver could flip by position, by device or by core: the result is the same.
    #[test]
    fn flipping_swaps_the_dice_of_a_torus() {
        let cores = |row: usize| TORUS[row].iter().copied().map(PhysicalCore).collect::<Vec<_>>();
        for (device, &row) in TORUS_ROW.iter().enumerate() {
            let flipped = CoreMap { order: cores(row), evidence: CoreMapEvidence::DriverTable }.flipped();
            assert_eq!(flipped, cores(TORUS_ROW[device ^ 6]));
            assert!(flipped.iter().eq(TORUS[row].map(|core| PhysicalCore(core ^ 4)).iter()));
        }
    }

    #[test]
    fn every_row_is_a_permutation_that_keeps_pairs() {
        for row in TORUS.iter().chain(&SWITCHED) {
            assert_eq!(row.iter().copied().collect::<BTreeSet<u32>>(), (0..8).collect());
            assert!(row.chunks(2).all(|pair| pair[0] % 2 == 0 && pair[1] == pair[0] + 1), "{row:?}");
        }
    }
}
