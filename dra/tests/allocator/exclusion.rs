//! Units with common hardware exclude each other, and no others.

use std::ops::Range;

use k8s_openapi::api::resource::v1::Device;
use nearfab_dra::model::slices::Pool;

use crate::cluster::all_classes;
use crate::hosts::{Mode, NODE, host};
use crate::judge::Outcome;
use crate::{claim_of, with_each_new_allocator};

#[test]
fn one_of_two_units_with_common_hardware_is_given_out_at_a_time() {
    with_each_new_allocator(|version, judge| {
        for (instance_type, centre) in [
            ("trn2.48xlarge", &["neuron-4", "neuron-5", "neuron-8", "efa-0000-57-00-0", "efa-0000-c9-00-0"][..]),
            ("trn1.32xlarge", &["neuron-2", "neuron-3", "neuron-4", "efa-0000-10-1a-0", "efa-0000-20-19-0"]),
            ("p5.48xlarge", &["efa-0000-4f-00-0", "efa-0000-50-00-0", "node"]),
        ] {
            let host = host(instance_type);
            let pool = &Mode::Partitions.model(&host).pools[0];
            // A few Neuron devices and interfaces, with everything that they are a part of.
            let named = |name: &str| pool.devices.iter().find(|device| device.name == name).unwrap();
            let near: Vec<&Device> = centre.iter().map(|name| named(name)).collect();
            let is_near = |device: &&Device| near.iter().any(|near| have_common_hardware(near, device));
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
                    let overlaps = have_common_hardware(one, other);
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

/// Returns true if two devices have hardware in common, by the attributes that claims see: the numbers of Neuron devices,
/// and the ids of AWS's groups. The driver's own account of pieces and counters is what the test judges.
fn have_common_hardware(one: &Device, other: &Device) -> bool {
    if one.name == other.name {
        return true;
    }
    let [(kind, one), (other_kind, other)] = [one, other].map(|device| (text(device, "type").unwrap(), device));
    let is_efa = |kind: &str| kind == "efa";
    match (kind, other_kind) {
        ("node", _) | (_, "node") => true,
        _ if is_efa(kind) && is_efa(other_kind) => false,
        _ => match (group(kind), group(other_kind)) {
            // The wider group says which narrower groups, devices and interfaces are in it.
            (Some(size), Some(other_size)) => in_one_group(one, other, size.max(other_size)),
            (Some(size), None) | (None, Some(size)) => in_one_group(one, other, size),
            (None, None) if is_efa(kind) || is_efa(other_kind) => false,
            (None, None) => {
                let index = |device: &Device| device.attributes.as_ref().unwrap()["index"].int;
                let (cores, others) = (positions(one), positions(other));
                index(one) == index(other) && cores.start.max(others.start) < cores.end.min(others.end)
            }
        },
    }
}

/// Returns the number of Neuron devices of a type of groups.
fn group(kind: &str) -> Option<u32> {
    kind.strip_prefix("group")?.parse().ok()
}

fn in_one_group(one: &Device, other: &Device, size: u32) -> bool {
    let name = if size == 2 { "devicegroup2_id".to_owned() } else { format!("resource.aws.com/devicegroup{size}_id") };
    text(one, &name).unwrap() == text(other, &name).unwrap()
}

/// Returns which parts of its Neuron device a device is, in thousandths.
fn positions(device: &Device) -> Range<u32> {
    let number = |text: &str| text.parse::<u32>().unwrap();
    let last = device.name.rsplit_once('-').unwrap().1;
    match text(device, "type").unwrap() {
        "neuron" => 0..1000,
        "neuron-half" => number(last) * 500..(number(last) + 1) * 500,
        "neuron-core" => {
            let (lnc, cores) = (
                device.attributes.as_ref().unwrap()["lnc"].int.unwrap(),
                if device.name.contains("lnc2") { 8 } else { 2 },
            );
            let part = 1000 * u32::try_from(lnc).unwrap() / cores;
            number(last) * part..(number(last) + 1) * part
        }
        other => panic!("{other} is no part of a Neuron device"),
    }
}

fn text<'a>(device: &'a Device, name: &str) -> Option<&'a str> {
    device.attributes.as_ref()?.get(name)?.string.as_deref()
}

/// Returns the class of a device.
fn class(device: &Device) -> String {
    format!("{}.nearfab.dev", text(device, "type").unwrap())
}

/// Returns the only device of an allocation.
fn given(outcome: Outcome) -> Option<String> {
    match outcome {
        Outcome::Allocated(devices) => Some(devices[0].device.clone()),
        Outcome::Refused => None,
        Outcome::Error(error) => panic!("{error}"),
    }
}
