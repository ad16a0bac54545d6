//! Which physical core each core number of the runtime means, device by device.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::NeuronDevice;
use crate::tables::instances::Platform;
use crate::types::PhysicalCore;

/// Trainium2, and Trainium3 in a torus, by device number.
const TORUS: [[u32; 8]; 4] =
    [[4, 5, 6, 7, 2, 3, 0, 1], [2, 3, 0, 1, 4, 5, 6, 7], [0, 1, 2, 3, 6, 7, 4, 5], [6, 7, 4, 5, 0, 1, 2, 3]];
/// The row of [`TORUS`] for each device of a server.
const TORUS_ROW: [usize; 16] = [0, 1, 0, 1, 2, 3, 2, 3, 0, 1, 0, 1, 2, 3, 2, 3];
/// Trainium3 behind NeuronSwitches, for even and for odd devices.
const SWITCHED: [[u32; 8]; 2] = [[4, 5, 6, 7, 2, 3, 0, 1], [6, 7, 4, 5, 0, 1, 2, 3]];

/// The physical cores of a device in the order in which the runtime numbers them, and how that is known.
///
/// Neighbours in this order, of which LNC 2 makes one logical core, always share a memory stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoreMap {
    /// The physical cores; the first is the runtime's core 0 of this device.
    pub order: Vec<PhysicalCore>,
    /// How that is known.
    pub evidence: CoreMapEvidence,
}

impl CoreMap {
    /// The order on a server whose dice the driver flips.
    pub(crate) fn flipped(&self) -> Vec<PhysicalCore> {
        (0..self.order.len()).filter_map(|position| self.order.get(position ^ 6)).copied().collect()
    }
}

/// How the order of cores is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CoreMapEvidence {
    /// The product numbers them as they are: its driver has no map.
    Product,
    /// The table in the driver's source. Nominal: the driver of this host was not asked.
    DriverTable,
    /// The table in the driver's source, on a server of an UltraServer. On its servers 1 and 3 the driver flips the dice,
    /// and the order is another; which server this is only the driver can tell.
    DriverTableUnlessFlipped,
    /// No table has this product, type or device: taken to be numbered as they are.
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

/// The order of a device's cores on an instance type.
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

fn identity(device: &NeuronDevice, evidence: CoreMapEvidence) -> CoreMap {
    CoreMap { order: device.cores().map(|core| core.core).collect(), evidence }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Whether the driver flips by position, by device or by core: it comes to the same.
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
