//! Keeps what is allocated: a device that a claim holds keeps its name, attributes and counters until the claim is gone.
//!
//! The scheduler reads what an allocated device consumes from the slices of now (kubernetes#140802). If the device were
//! renamed, dropped or encoded in another way, its hardware would be free for the next claim. A flag, a version of the
//! driver or of the server, and a failed device can all change the model. So a held device stays as it was published,
//! and a new device with common hardware waits until the held device is free, unless the counters exclude it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::resource::v1::{Counter, CounterSet, Device};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::counters::{CORES, NEURON, NODE};
use super::hardware::{Hardware, Pieces};
use super::slices::Pool;
use super::{Model, unit_of};

/// The devices that claims hold, by the names of driver and device. Devices that a claim has with administrator access
/// are not held.
pub type Held = BTreeSet<(String, String)>;

impl Model {
    /// Returns the model to publish while claims hold devices. `before` are the pools as they are published now.
    #[must_use]
    pub fn keeping(mut self, hardware: &Hardware<'_>, before: &[Pool], held: &Held) -> Self {
        let kept: Vec<Kept> = held.iter().map(|(driver, name)| Kept::new(driver, name, hardware, before)).collect();
        for pool in &mut self.pools {
            let own: Vec<&Device> =
                kept.iter().filter(|kept| kept.driver == pool.driver).filter_map(|kept| kept.published).collect();
            let old = before.iter().filter(|old| old.driver == pool.driver).flat_map(|old| &old.counters);
            pool.counters = counters_for(&pool.counters, old, &own);
            for held in own {
                match pool.devices.iter_mut().find(|device| device.name == held.name) {
                    Some(device) => device.clone_from(held),
                    None => pool.devices.push(held.clone()),
                }
            }
            withdraw(pool, hardware, &kept);
        }
        self
    }
}

/// A device that a claim holds.
struct Kept<'a> {
    driver: &'a str,
    name: &'a str,
    /// The pieces of hardware. None for a name that no version of the driver gives.
    pieces: Pieces,
    /// The device as it is published now. A driver's slices can be deleted, and the driver of another name publishes
    /// nothing while this one runs.
    published: Option<&'a Device>,
}

impl<'a> Kept<'a> {
    fn new(driver: &'a str, name: &'a str, hardware: &Hardware<'_>, before: &'a [Pool]) -> Self {
        let pieces = unit_of(driver, name).map(|unit| hardware.pieces(unit)).unwrap_or_default();
        let mut devices = before.iter().filter(|pool| pool.driver == driver).flat_map(|pool| &pool.devices);
        Self { driver, name, pieces, published: devices.find(|device| device.name == name) }
    }
}

/// Removes the devices of a pool that have hardware in common with held devices, and that the counters do not exclude.
fn withdraw(pool: &mut Pool, hardware: &Hardware<'_>, kept: &[Kept<'_>]) {
    let values = values(&pool.counters);
    // What the scheduler reads for each held device.
    let find =
        |kept: &&Kept<'_>| pool.devices.iter().find(|device| kept.driver == pool.driver && device.name == kept.name);
    let kept: Vec<(&Kept<'_>, Option<Values>)> = kept.iter().map(|kept| (kept, find(&kept).map(consumed))).collect();
    let driver = pool.driver;
    pool.devices.retain(|device| {
        let pieces = unit_of(driver, &device.name).map(|unit| hardware.pieces(unit)).unwrap_or_default();
        kept.iter().all(|(kept, consumption)| {
            let is_it = kept.driver == driver && kept.name == device.name;
            let excluded = || consumption.as_ref().is_some_and(|held| exclude(&values, &consumed(device), held));
            is_it || !pieces.overlaps(&kept.pieces) || excluded()
        })
    });
}

/// Numbers by the names of counter set and counter.
type Values = BTreeMap<(String, String), u64>;

fn values(sets: &[CounterSet]) -> Values {
    let all = sets.iter().flat_map(|set| set.counters.iter().map(move |counter| (&set.name, counter)));
    all.map(|(set, (name, counter))| ((set.clone(), name.clone()), number(&counter.value))).collect()
}

fn consumed(device: &Device) -> Values {
    let sets = device.consumes_counters.iter().flatten();
    let all = sets.flat_map(|set| set.counters.iter().map(move |counter| (&set.counter_set, counter)));
    all.map(|(set, (name, counter))| ((set.clone(), name.clone()), number(&counter.value))).collect()
}

/// Returns true if the counters keep two devices from being allocated at the same time.
fn exclude(values: &Values, one: &Values, other: &Values) -> bool {
    one.iter().any(|(counter, amount)| {
        let sum = other.get(counter).map(|other| other + amount);
        sum.is_some_and(|sum| sum > values.get(counter).copied().unwrap_or_default())
    })
}

/// Returns the new counter sets, with the counters that held devices consume and that the new sets lack.
fn counters_for<'a>(
    new: &[CounterSet],
    old: impl Iterator<Item = &'a CounterSet>,
    held: &[&Device],
) -> Vec<CounterSet> {
    let mut sets: BTreeMap<String, BTreeMap<String, Counter>> =
        new.iter().map(|set| (set.name.clone(), set.counters.clone())).collect();
    let needed: Values = held.iter().flat_map(|device| consumed(device)).collect();
    for set in old {
        for (name, counter) in &set.counters {
            if needed.contains_key(&(set.name.clone(), name.clone())) {
                let counters = sets.entry(set.name.clone()).or_default();
                counters.entry(name.clone()).or_insert_with(|| counter.clone());
            }
        }
    }
    // A device that failed keeps its halves while it is held, and its cores count too.
    let halves = sets.get(NEURON).into_iter().flatten();
    let cores: u64 = halves.map(|(_, counter)| number(&counter.value)).sum();
    if let Some(counter) = sets.get_mut(NODE).and_then(|counters| counters.get_mut(CORES)) {
        counter.value = Quantity(cores.to_string());
    }
    sets.into_iter().map(|(name, counters)| CounterSet { name, counters }).collect()
}

/// Returns the value of a counter. The driver writes whole numbers only.
fn number(quantity: &Quantity) -> u64 {
    quantity.0.parse().unwrap_or_default()
}
