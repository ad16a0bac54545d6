//! Devices that claims hold stay as they were published, whatever changes.

use std::collections::BTreeSet;

use nearfab::Host;
use nearfab_dra::model::Model;
use nearfab_dra::model::hardware::Hardware;
use nearfab_dra::model::options::Published;
use nearfab_dra::model::slices::Pool;

use crate::hosts::{Mode, host, host_with};
use crate::{device, names};

/// Returns what is published after a change to `new`, while claims hold devices of `before`.
fn after(host: &Host, before: &Model, held: &[&str], new: &Model) -> Model {
    let held: BTreeSet<_> = before
        .pools
        .iter()
        .flat_map(|pool| pool.devices.iter().map(move |device| (pool.driver.to_owned(), device.name.clone())))
        .filter(|(_, name)| held.contains(&name.as_str()))
        .collect();
    // As after a restart of the driver: only the slices in the API server are known.
    let slices: Vec<_> = before.pools.iter().flat_map(Pool::slices).collect();
    let before = Pool::from_slices(&["nearfab.dev", "neuron.aws.com", "dra.net"], &slices);
    new.clone().keeping(&Hardware::of(host, Published::Both), &before, &held)
}

#[test]
fn nothing_changes_while_nothing_is_held() {
    let host = host("trn2.48xlarge");
    for from in Mode::ALL {
        for to in Mode::ALL {
            let new = to.model(&host);
            assert_eq!(after(&host, &from.model(&host), &[], &new), new, "{from:?} to {to:?}");
        }
    }
}

#[test]
fn a_whole_device_without_counters_keeps_its_parts_away() {
    let host = host("trn2.48xlarge");
    let flat = Mode::Flat.model(&host);
    let published = after(&host, &flat, &["neuron-5"], &Mode::Partitions.model(&host));
    assert_eq!(device(&published, "neuron-5"), device(&flat, "neuron-5"));
    let names = names(&published);
    for gone in ["neuron-5-half-0", "neuron-5-lnc2-core-3", "group2-2", "group4-1", "group8-0", "group16-0", "node"] {
        assert!(!names.contains(&gone), "{gone} would give neuron-5 out again");
    }
    for stays in ["neuron-4-half-0", "group2-3", "group4-0", "group8-1", "efa-0000-57-00-0"] {
        assert!(names.contains(&stays), "{stays}");
    }
}

#[test]
fn a_group_keeps_its_counters_when_counters_are_no_longer_published() {
    let host = host("trn2.48xlarge");
    let partitions = Mode::Partitions.model(&host);
    let published = after(&host, &partitions, &["group4-1"], &Mode::Flat.model(&host));
    assert_eq!(device(&published, "group4-1"), device(&partitions, "group4-1"));
    let names = names(&published);
    for gone in ["neuron-4", "neuron-5", "neuron-6", "neuron-7", "efa-0000-57-00-0"] {
        assert!(!names.contains(&gone), "{gone} is a part of group4-1");
    }
    assert_eq!(names.len(), 16 + 16 - 8 + 1);
    let counters = &published.pools[0].counters;
    let count = |set: &str| counters.iter().find(|one| one.name == set).unwrap().counters.len();
    assert_eq!((count("neuron"), count("node")), (8, 4 + 1), "the counters of the group alone");
}

#[test]
fn a_core_of_another_size_keeps_the_cores_away_that_share_a_physical_core() {
    let host = host("trn2.48xlarge");
    let lnc2 = Mode::Partitions.model(&host);
    // The node file sets the size of a logical core; the names of the new cores are those of size 1.
    let mut lnc1 = lnc2.clone();
    let template = device(&lnc2, "neuron-5-lnc2-core-0").clone();
    let devices = &mut lnc1.pools[0].devices;
    devices.retain(|device| !device.name.contains("-lnc2-"));
    for core in 0..8 {
        let mut device = template.clone();
        device.name = format!("neuron-5-lnc1-core-{core}");
        for (set, counter) in [(0, format!("neuron-5-half-{}", core / 4)), (1, "cores".to_owned())] {
            let counters = &mut device.consumes_counters.as_mut().unwrap()[set].counters;
            let value = k8s_openapi::apimachinery::pkg::api::resource::Quantity("1".to_owned());
            *counters = [(counter, k8s_openapi::api::resource::v1::Counter { value })].into();
        }
        devices.push(device);
    }
    let published = after(&host, &lnc2, &["neuron-5-lnc2-core-1"], &lnc1);
    let names = names(&published);
    for core in 0..8 {
        let is_published = names.contains(&format!("neuron-5-lnc1-core-{core}").as_str());
        // Logical core 1 of size 2 is made of the physical cores 2 and 3.
        assert_eq!(is_published, !matches!(core, 2 | 3), "core {core}");
    }
    assert!(names.contains(&"neuron-5-lnc2-core-1") && names.contains(&"neuron-5-half-0"));
}

#[test]
fn a_device_that_failed_stays_while_it_is_held() {
    let before = Mode::Partitions.model(&host("trn2.48xlarge"));
    let broken = host_with("trn2.48xlarge", &["neuron-node-missing=5".parse().unwrap()]);
    let new = Mode::Partitions.model(&broken);
    let published = after(&broken, &before, &["neuron-5-half-1"], &new);
    assert_eq!(device(&published, "neuron-5-half-1"), device(&before, "neuron-5-half-1"));
    assert!(!names(&published).contains(&"neuron-5"));
    let cores = |model: &Model| {
        let node = model.pools[0].counters.iter().find(|set| set.name == "node").unwrap();
        node.counters["cores"].value.0.clone()
    };
    assert_eq!((cores(&new), cores(&published)), ("120".to_owned(), "124".to_owned()));
    assert_eq!(after(&broken, &before, &[], &new), new);
}

#[test]
fn devices_under_the_names_of_aws_keep_their_hardware_from_the_drivers_own() {
    let host = host("trn2.48xlarge");
    let held = ["neuron-device-5", "pci-0000-57-00-0"];
    let published = after(&host, &Mode::Aws.model(&host), &held, &Mode::Partitions.model(&host));
    let names = names(&published);
    for gone in ["neuron-5", "neuron-5-half-0", "group4-1", "efa-0000-57-00-0", "neuron-device-5"] {
        assert!(!names.contains(&gone), "{gone}");
    }
    assert!(names.contains(&"neuron-4") && names.contains(&"group2-3"));
}
