//! The counters that exclude units with common pieces from each other.
//!
//! Two counter sets hold the whole host, within the limit of 32 counters a set: `neuron` has one counter for each half of
//! a Neuron device, and `node` has one for each EFA interface and `cores`. A counter of a half counts physical cores, so
//! that logical cores of each size fit. The counter `cores` excludes nothing by itself: its fixed name lets a quota by
//! counters charge whole devices, halves, cores and groups alike.

use std::collections::BTreeMap;

use k8s_openapi::api::resource::v1::{Counter, CounterSet, DeviceCounterConsumption};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::hardware::{Hardware, Pieces, halves};
use super::unit::Unit;

/// The name of the counter set of the halves of Neuron devices.
pub const NEURON: &str = "neuron";
/// The name of the counter set of the EFA interfaces and of [`CORES`].
pub const NODE: &str = "node";
/// The name of the counter of all physical cores.
pub const CORES: &str = "cores";
/// The largest number of counters in a set that Kubernetes accepts.
pub const COUNTERS_PER_SET: usize = 32;

/// The counters of the two sets, by the names of the sets and of the counters. A set without counters is left out.
pub type Counters = BTreeMap<&'static str, BTreeMap<String, u32>>;

/// Returns all counters of a host.
#[must_use]
pub fn total(hardware: &Hardware<'_>) -> Counters {
    counters(hardware, &hardware.pieces(Unit::Node))
}

/// Returns what a unit consumes.
#[must_use]
pub fn consumption(hardware: &Hardware<'_>, unit: Unit) -> Counters {
    counters(hardware, &hardware.pieces(unit))
}

/// Returns the counters of the usable pieces.
fn counters(hardware: &Hardware<'_>, pieces: &Pieces) -> Counters {
    let mut neuron = BTreeMap::new();
    for (index, cores) in &pieces.cores {
        let Some(device) = hardware.device(*index) else { continue };
        for (number, half) in (0..).zip(halves(device.cores)) {
            let (start, end) = (half.start.max(cores.start), half.end.min(cores.end));
            if start < end {
                neuron.insert(Unit::Half { device: *index, half: number }.to_string(), end - start);
            }
        }
    }
    let interfaces = pieces.efa.iter().filter(|address| hardware.interface(**address).is_some());
    let mut node: BTreeMap<String, u32> = interfaces.map(|address| (Unit::Efa(*address).to_string(), 1)).collect();
    if !neuron.is_empty() {
        node.insert(CORES.to_owned(), neuron.values().sum());
    }
    [(NEURON, neuron), (NODE, node)].into_iter().filter(|(_, counters)| !counters.is_empty()).collect()
}

/// Returns counters as the counter sets of a pool.
#[must_use]
pub fn to_sets(counters: Counters) -> Vec<CounterSet> {
    counters
        .into_iter()
        .map(|(set, counters)| CounterSet { name: set.to_owned(), counters: to_api(counters) })
        .collect()
}

/// Returns counters as the consumption of a device.
#[must_use]
pub fn to_consumption(counters: Counters) -> Vec<DeviceCounterConsumption> {
    let one = |(set, counters): (&str, BTreeMap<String, u32>)| DeviceCounterConsumption {
        counter_set: set.to_owned(),
        counters: to_api(counters),
        ..Default::default()
    };
    counters.into_iter().map(one).collect()
}

fn to_api(counters: BTreeMap<String, u32>) -> BTreeMap<String, Counter> {
    counters.into_iter().map(|(name, value)| (name, Counter { value: Quantity(value.to_string()) })).collect()
}
