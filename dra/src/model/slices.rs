//! The pools and ResourceSlices of a model.

use std::collections::BTreeMap;

use k8s_openapi::api::resource::v1::{CounterSet, Device, ResourcePool, ResourceSlice, ResourceSliceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The largest number of devices that Kubernetes accepts in a slice without counters and taints.
pub const DEVICES_PER_SLICE: usize = 128;

/// The largest number of devices that Kubernetes accepts in a slice whose devices consume counters.
const COUNTED_DEVICES_PER_SLICE: usize = 64;

/// The devices of one driver on one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// The name of the driver.
    pub driver: &'static str,
    /// The name of the pool.
    pub name: String,
    /// The name of the node.
    pub node: String,
    /// The counters that the devices consume.
    pub counters: Vec<CounterSet>,
    /// The devices, in the order in which the scheduler tries them.
    pub devices: Vec<Device>,
}

impl Pool {
    /// Returns the slices of the pool, with the pool's first generation. A pool without devices has one empty slice,
    /// which shows that the driver runs and found no device.
    #[must_use]
    pub fn slices(&self) -> Vec<ResourceSlice> {
        // Counters have a separate slice. The allocator reads slices in the order of their names.
        let counters = (!self.counters.is_empty())
            .then(|| ResourceSliceSpec { shared_counters: Some(self.counters.clone()), ..Default::default() });
        let limit = if self.counters.is_empty() { DEVICES_PER_SLICE } else { COUNTED_DEVICES_PER_SLICE };
        let devices = self.devices.chunks(limit);
        let devices =
            devices.map(|devices| ResourceSliceSpec { devices: Some(devices.to_vec()), ..Default::default() });
        let mut specs: Vec<ResourceSliceSpec> = counters.into_iter().chain(devices).collect();
        if specs.is_empty() {
            specs.push(ResourceSliceSpec::default());
        }
        let count = i64::try_from(specs.len()).unwrap_or(i64::MAX);
        let slice = |(number, spec): (usize, ResourceSliceSpec)| ResourceSlice {
            metadata: ObjectMeta {
                name: Some(format!("{}-{}-{number:02}", self.driver, self.node)),
                ..Default::default()
            },
            spec: ResourceSliceSpec {
                driver: self.driver.to_owned(),
                node_name: Some(self.node.clone()),
                pool: ResourcePool { name: self.name.clone(), generation: 1, resource_slice_count: count },
                ..spec
            },
        };
        specs.into_iter().enumerate().map(slice).collect()
    }

    /// Returns the pools of slices that were read back. Slices of other drivers are left out.
    #[must_use]
    pub fn from_slices(drivers: &[&'static str], slices: &[ResourceSlice]) -> Vec<Self> {
        let mut sorted: Vec<&ResourceSlice> = slices.iter().collect();
        sorted.sort_by_key(|slice| slice.metadata.name.clone());
        let mut pools: BTreeMap<(&str, &str), Self> = BTreeMap::new();
        for ResourceSlice { spec, .. } in sorted {
            let Some(&driver) = drivers.iter().find(|driver| **driver == spec.driver) else { continue };
            let pool = pools.entry((driver, &spec.pool.name)).or_insert_with(|| Self {
                driver,
                name: spec.pool.name.clone(),
                node: spec.node_name.clone().unwrap_or_default(),
                counters: Vec::new(),
                devices: Vec::new(),
            });
            pool.counters.extend(spec.shared_counters.iter().flatten().cloned());
            pool.devices.extend(spec.devices.iter().flatten().cloned());
        }
        pools.into_values().collect()
    }
}
