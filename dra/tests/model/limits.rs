//! The limits of Kubernetes: an API server refuses a whole slice that breaks one of them.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::resource::v1::{Device, DeviceAttribute, ResourceSlice};
use nearfab::instances::tables;
use nearfab_dra::model::slices::Pool;

use crate::hosts::{Mode, WITHOUT_TABLE, host};

/// The driver's own limit for the attributes and capacities of a device. Kubernetes takes 32.
const ATTRIBUTES: usize = 28;

#[test]
fn slices_of_every_type_and_mode_stay_within_the_limits() {
    let types = tables().iter().map(|table| table.instance_type).chain([WITHOUT_TABLE]);
    for instance_type in types {
        let host = host(instance_type);
        for mode in Mode::ALL {
            for pool in &mode.model(&host).pools {
                check(pool, &format!("{instance_type}, {}, {}", mode.name(), pool.driver));
            }
        }
    }
}

fn check(pool: &Pool, what: &str) {
    let mut counters = BTreeMap::new();
    for set in &pool.counters {
        assert!(is_dns_label(&set.name) && (1..=32).contains(&set.counters.len()), "{what}: {}", set.name);
        for (name, counter) in &set.counters {
            assert!(is_dns_label(name), "{what}: {name}");
            counters.insert((&set.name, name), counter.value.0.parse::<u32>().unwrap());
        }
    }
    let names: BTreeSet<_> = pool.devices.iter().map(|device| &device.name).collect();
    assert_eq!(names.len(), pool.devices.len(), "{what}: names are unique");
    for device in &pool.devices {
        check_device(device, &format!("{what}: {}", device.name));
        let consumptions = device.consumes_counters.iter().flatten();
        for (set, (name, counter)) in consumptions.flat_map(|set| set.counters.iter().map(move |one| (set, one))) {
            let total = counters[&(&set.counter_set, name)];
            let amount: u32 = counter.value.0.parse().unwrap();
            assert!((1..=total).contains(&amount), "{what}: {} takes {amount} of {total} {name}", device.name);
        }
        assert_eq!(device.consumes_counters.is_some(), !counters.is_empty(), "{what}: {}", device.name);
    }
    let slices = pool.slices();
    for (number, ResourceSlice { metadata, spec }) in slices.iter().enumerate() {
        assert_eq!(spec.pool.resource_slice_count, i64::try_from(slices.len()).unwrap());
        let limit = if counters.is_empty() { 128 } else { 64 };
        assert!(spec.devices.as_ref().is_none_or(|devices| devices.len() <= limit), "{what}");
        assert!(spec.shared_counters.as_ref().is_none_or(|sets| sets.len() <= 8), "{what}");
        assert!(spec.devices.is_none() || spec.shared_counters.is_none(), "{what}: counters have a separate slice");
        assert_eq!(metadata.name, Some(format!("{}-node1-{number:02}", pool.driver)));
    }
    let published: Vec<Device> = slices.into_iter().flat_map(|slice| slice.spec.devices.unwrap_or_default()).collect();
    assert_eq!(published, pool.devices, "{what}");
}

fn check_device(device: &Device, what: &str) {
    assert!(is_dns_label(&device.name), "{what}");
    let (attributes, capacities) = (device.attributes.iter().flatten(), device.capacity.iter().flatten());
    let count = attributes.clone().count() + capacities.clone().count();
    assert!(count <= ATTRIBUTES, "{what} has {count} attributes and capacities");
    for name in attributes.clone().map(|(name, _)| name).chain(capacities.map(|(name, _)| name)) {
        let (domain, id) = name.split_once('/').unwrap_or(("nearfab.dev", name));
        assert!(domain.len() <= 63 && domain.split('.').all(is_dns_label), "{what}: {name}");
        assert!(!name.starts_with("nearfab.dev/"), "{what}: the driver's own domain is left out");
        assert!(id.len() <= 32 && is_c_identifier(id), "{what}: {name}");
    }
    for (name, value) in attributes {
        let types = serde_json::to_value(value).unwrap();
        assert_eq!(types.as_object().unwrap().len(), 1, "{what}: {name} has one type: {types}");
        let DeviceAttribute { string, version, .. } = value;
        assert!(string.as_ref().or(version.as_ref()).is_none_or(|text| text.len() <= 64), "{what}: {name}");
        assert!(version.as_ref().is_none_or(|version| version.split('.').count() == 3), "{what}: {name}: {version:?}");
    }
    assert!(device.consumes_counters.as_ref().is_none_or(|sets| (1..=2).contains(&sets.len())), "{what}");
}

fn is_dns_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_c_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A model without counters has no smaller slices than the API allows: the driver writes a single slice.
#[test]
fn a_slice_without_counters_has_up_to_128_devices() {
    let mut pool = Mode::Flat.model(&host("trn2.48xlarge")).pools.remove(0);
    pool.devices = pool.devices.iter().cycle().take(128).cloned().collect();
    assert_eq!(pool.slices().len(), 1);
    pool.devices.push(pool.devices[0].clone());
    assert_eq!(pool.slices().len(), 2);
}
