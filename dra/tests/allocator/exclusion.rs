//! Units with common hardware exclude each other, and no others.

use k8s_openapi::api::resource::v1::Device;
use nearfab_dra::model::hardware::Hardware;
use nearfab_dra::model::options::Published;
use nearfab_dra::model::slices::Pool;
use nearfab_dra::model::unit_of;

use crate::cluster::all_classes;
use crate::hosts::{Mode, NODE, host};
use crate::judge::Outcome;
use crate::{claim_of, with_each_new_allocator};

#[test]
fn one_of_two_units_with_common_hardware_is_given_out_at_a_time() {
    with_each_new_allocator(|version, judge| {
        for (instance_type, first, last) in [("trn2.48xlarge", 4, 7), ("trn1.32xlarge", 2, 5), ("p5.48xlarge", 0, 0)] {
            let host = host(instance_type);
            let hardware = Hardware::of(&host, Published::Both);
            let model = Mode::Partitions.model(&host);
            let pool = &model.pools[0];
            // A few Neuron devices with everything that they are a part of.
            let near =
                (first..=last).map(|index| hardware.pieces(unit_of(pool.driver, &format!("neuron-{index}")).unwrap()));
            let near: Vec<_> = near.collect();
            let pieces = |device: &Device| hardware.pieces(unit_of(pool.driver, &device.name).unwrap());
            let is_near = |device: &&Device| {
                let efa_of_near =
                    || host.efa_interfaces().iter().take(4).any(|efa| pieces(device).efa.contains(&efa.address()));
                near.iter().any(|near| near.overlaps(&pieces(device))) || efa_of_near()
            };
            let devices: Vec<&Device> = pool.devices.iter().filter(is_near).collect();
            assert!(devices.len() >= 5, "{instance_type}: {}", devices.len());
            let mut overlapping = 0;
            for one in &devices {
                for other in devices.iter().filter(|other| other.name != one.name) {
                    let what = format!("{} beside {} on {instance_type}, Kubernetes {version}", other.name, one.name);
                    judge.reset();
                    judge.classes(&all_classes());
                    // Only these two devices are published, so a claim of a class gets the one of its type.
                    let two = Pool { devices: vec![(*one).clone(), (*other).clone()], ..pool.clone() };
                    judge.slices(&two.slices());
                    assert_eq!(
                        given(judge.allocate(&claim_of("one", &class(one), 1), NODE)),
                        Some(one.name.clone()),
                        "{what}"
                    );
                    let overlaps = pieces(one).overlaps(&pieces(other));
                    let expected = (!overlaps).then(|| other.name.clone());
                    assert_eq!(given(judge.allocate(&claim_of("other", &class(other), 1), NODE)), expected, "{what}");
                    overlapping += usize::from(overlaps);
                    if overlaps {
                        judge.free("one");
                        let first = if class(one) == class(other) { one } else { other };
                        let again = given(judge.allocate(&claim_of("again", &class(other), 1), NODE));
                        assert_eq!(again, Some(first.name.clone()), "{what}, freed");
                    }
                }
            }
            assert!(overlapping > devices.len(), "{instance_type}: {overlapping} overlapping pairs");
        }
    });
}

/// Returns the class of a device.
fn class(device: &Device) -> String {
    let kind = device.attributes.as_ref().unwrap()["type"].string.as_deref().unwrap();
    format!("{kind}.nearfab.dev")
}

/// Returns the only device of an allocation.
fn given(outcome: Outcome) -> Option<String> {
    match outcome {
        Outcome::Allocated(devices) => Some(devices[0].device.clone()),
        Outcome::Refused => None,
        Outcome::Error(error) => panic!("{error}"),
    }
}
