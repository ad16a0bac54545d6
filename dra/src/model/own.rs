//! The devices of the driver `nearfab.dev`.

use k8s_openapi::api::resource::v1::Device;
use nearfab::HostDevice;
use nearfab::instances::GroupSize;

use super::counters::{COUNTERS_PER_SET, consumption, to_consumption, to_sets, total};
use super::hardware::{Hardware, halves};
use super::options::EfaForm;
use super::slices::Pool;
use super::unit::Unit;
use super::{attributes, pool_name};
use crate::DRIVER;

/// Returns the pool of a node, and the reason if the devices cannot be published in parts.
#[must_use]
pub fn pool(hardware: &Hardware<'_>, node: &str, partitions: bool, efa: EfaForm) -> (Pool, Option<String>) {
    let counters = total(hardware);
    let too_many = counters.iter().find(|(_, counters)| counters.len() > COUNTERS_PER_SET);
    let problem = too_many.filter(|_| partitions).map(|(set, counters)| {
        format!(
            "partitions are not published: the counter set {set} would have {} counters, and a set holds at most \
             {COUNTERS_PER_SET}",
            counters.len()
        )
    });
    let partitions = partitions && problem.is_none();
    let is_shared = efa == EfaForm::Shared;
    let device = |unit: Unit| {
        let capacities = attributes::capacities(hardware, unit, is_shared);
        Device {
            name: unit.to_string(),
            attributes: Some(attributes::attributes(hardware, unit)),
            capacity: (!capacities.is_empty()).then_some(capacities),
            allow_multiple_allocations: (is_shared && matches!(unit, Unit::Efa(_))).then_some(true),
            consumes_counters: partitions.then(|| to_consumption(consumption(hardware, unit))),
            ..Default::default()
        }
    };
    let pool = Pool {
        driver: DRIVER,
        name: pool_name(node),
        node: node.to_owned(),
        devices: units(hardware, partitions, efa).into_iter().map(device).collect(),
        counters: if partitions { to_sets(counters) } else { Vec::new() },
    };
    (pool, problem)
}

/// Returns the units that are published, in their published order.
fn units(hardware: &Hardware<'_>, partitions: bool, efa: EfaForm) -> Vec<Unit> {
    let mut units: Vec<Unit> = hardware.neuron().iter().map(|device| Unit::Neuron(device.index)).collect();
    if partitions {
        units.extend(half_units(hardware));
        units.extend(core_units(hardware));
        let sizes = GroupSize::ALL.iter().filter(|size| **size > GroupSize::One);
        units.extend(sizes.flat_map(|size| hardware.groups(*size)));
        if !hardware.neuron().is_empty() || !hardware.efa().is_empty() {
            units.push(Unit::Node);
        }
    }
    match efa {
        EfaForm::Single | EfaForm::Shared => units.extend(hardware.efa().iter().map(|efa| Unit::Efa(efa.address()))),
        EfaForm::Sets => units.extend(hardware.efa_sets()),
    }
    units
}

fn half_units(hardware: &Hardware<'_>) -> Vec<Unit> {
    let devices = hardware.neuron().iter().filter(|device| halves(device.cores).len() == 2);
    devices.flat_map(|device| [0, 1].map(|half| Unit::Half { device: device.index, half })).collect()
}

/// Returns the logical cores, in the size that the node is configured for.
fn core_units(hardware: &Hardware<'_>) -> Vec<Unit> {
    let lnc = hardware.host().lnc().map_or(0, |lnc| lnc.size);
    let devices = hardware.neuron().iter().filter(|device| lnc > 0 && device.cores.is_multiple_of(lnc));
    let cores = |device: HostDevice, cores: u32| (0..cores / lnc).map(move |core| Unit::Core { device, lnc, core });
    devices.flat_map(|device| cores(device.index, device.cores)).collect()
}
