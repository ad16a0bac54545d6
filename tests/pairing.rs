//! Pairing, groups and nearness, against what AWS publishes.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use nearfab::instances::{GroupSize, InstanceTable, tables};
use nearfab::{Basis, Bdf, Evidence, Host, HostDevice, Proximity};
use serde::Deserialize;

#[derive(Deserialize)]
struct Published {
    instance_types: BTreeMap<String, String>,
    neuron_to_efa: BTreeMap<String, BTreeMap<u32, Bdf>>,
}

impl Published {
    fn read() -> Self {
        serde_json::from_str(include_str!("captured/neuron-efa-pairs.json")).unwrap()
    }

    fn pairs(&self, instance_type: &str) -> &BTreeMap<u32, Bdf> {
        &self.neuron_to_efa[&self.instance_types[instance_type]]
    }
}

/// The host of each type twice: straight from its table, and through an emulated tree and the scanners.
static HOSTS: LazyLock<Vec<(&InstanceTable, [Host; 2])>> = LazyLock::new(|| {
    let both = |table: &'static InstanceTable| {
        let tree = tempfile::tempdir().unwrap();
        nearfab_emu::write_tree(table, tree.path()).unwrap();
        let scanned = Host::from_root(tree.path()).unwrap();
        assert_eq!(scanned.problems(), [""; 0]);
        (table, [Host::from_instance(table.instance_type).unwrap(), scanned])
    };
    tables().iter().map(both).collect()
});

#[test]
fn pairing_is_the_published_one() {
    let published = Published::read();
    for (table, hosts) in HOSTS.iter() {
        let pairs = published.pairs(table.instance_type);
        for host in hosts {
            assert_eq!(host.neuron().len(), pairs.len());
            for device in host.neuron() {
                let near = host.near_device(device.index, Basis::Pairing).unwrap();
                let nearest: Vec<_> = near.nearest().collect();
                assert_eq!(nearest.len(), 1, "{} {}", table.instance_type, device.index);
                assert_eq!(nearest[0].target, pairs[&device.index.0]);
                assert_eq!(nearest[0].evidence.to_string(), format!("table {}", table.instance_type));
                assert_eq!(near.missing_pair, None);
            }
        }
    }
}

#[test]
fn place_alone_contains_the_published_pair_and_shows_ties() {
    let published = Published::read();
    for (table, hosts) in HOSTS.iter() {
        let pairs = published.pairs(table.instance_type);
        for host in hosts {
            for device in host.neuron() {
                let near = host.near_device(device.index, Basis::Place).unwrap();
                assert!(near.entries.iter().all(|near| matches!(near.evidence, Evidence::Place { .. })));
                assert!(near.entries.iter().all(|near| !near.evidence.to_string().contains("table")));
                let nearest: Vec<Bdf> = near.nearest().map(|near| near.target).collect();
                // Two interfaces stand behind each switch of trn2 and on each root bus of trn1.
                assert_eq!(nearest.len(), 2, "{} {}", table.instance_type, device.index);
                assert!(nearest.contains(&pairs[&device.index.0]), "{} {}", table.instance_type, device.index);
            }
        }
    }
}

#[test]
fn interfaces_know_their_devices() {
    let published = Published::read();
    for (table, hosts) in HOSTS.iter() {
        let pairs = published.pairs(table.instance_type);
        for host in hosts {
            for efa in host.efa() {
                let near = host.near_efa(efa.address(), Basis::Pairing).unwrap();
                let nearest: Vec<u32> = near.nearest().map(|near| near.target.0).collect();
                let paired: Vec<u32> =
                    pairs.iter().filter(|(_, address)| **address == efa.address()).map(|(index, _)| *index).collect();
                assert_eq!(nearest, paired);
            }
        }
    }
}

#[test]
fn ranks_are_dense_and_follow_proximity() {
    let host = Host::from_instance("trn2.48xlarge").unwrap();
    let near = host.near_core("neuron5:7".parse().unwrap(), Basis::Place).unwrap();
    let ranks: Vec<(u32, Proximity)> = near.entries.iter().map(|near| (near.rank, near.proximity)).collect();
    let mut expected = vec![(1, Proximity::SameSwitch { bridges: 2 }); 2];
    expected.extend([(2, Proximity::SameNuma); 6]);
    expected.extend([(3, Proximity::OtherNuma); 8]);
    assert_eq!(ranks, expected);
}

#[test]
fn unattached_pair_is_named_and_the_place_decides() {
    let tree = tempfile::tempdir().unwrap();
    nearfab_emu::write_tree(InstanceTable::find("trn2.48xlarge").unwrap(), tree.path()).unwrap();
    // The first network card of a real host may carry a plain ENA: its EFA function is not there at all.
    std::fs::remove_file(tree.path().join("sys/bus/pci/devices/0000:c9:00.0")).unwrap();
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!(host.efa().len(), 15);
    let near = host.near_device(HostDevice(0), Basis::Pairing).unwrap();
    assert_eq!(near.missing_pair, Some("0000:c9:00.0".parse().unwrap()));
    assert_eq!(near.entries[0].target, "0000:ca:00.0".parse().unwrap());
    assert_eq!(near.entries[0].evidence.to_string(), "same PCIe switch");
    // Group ids stay those of the table: they are the same on every host of a type.
    assert_eq!(host.device_group(HostDevice(0), GroupSize::One).as_deref(), Some("0000:c9:00.0"));
}

#[test]
fn absent_devices_and_cores_are_refused_by_name() {
    let host = Host::from_instance("trn1.32xlarge").unwrap();
    let refusal = |core: &str| host.near_core(core.parse().unwrap(), Basis::Pairing).unwrap_err().to_string();
    assert_eq!(refusal("neuron3:2"), "this host has no core neuron3:2; it has 2 cores on neuron3");
    assert!(refusal("neuron16:0").starts_with("this host has no Neuron device neuron16; it has neuron0, "));
    let error = host.near_efa("0000:cc:00.0".parse().unwrap(), Basis::Pairing).unwrap_err().to_string();
    assert!(error.starts_with("this host has no EFA interface 0000:cc:00.0; it has 0000:10:19.0, "), "{error}");
}

/// Computed with the algorithm of AWS's library from its published map; those of trn1 and the fours of trn2 were also
/// seen on real hosts.
const GROUPS: [(&str, GroupSize, &[&str]); 6] = [
    (
        "trn1.32xlarge",
        GroupSize::Four,
        &["88a3c6ad1661fe1d", "69b2225fd72a59dd", "e3c29faa0cd11323", "178a9e264a26793e"],
    ),
    ("trn1.32xlarge", GroupSize::Eight, &["86c451036f622685", "aa86c05423d6e8cd"]),
    ("trn1.32xlarge", GroupSize::Sixteen, &["fb838249c99a6341"]),
    (
        "trn2.48xlarge",
        GroupSize::Four,
        &["13713e551cd37c19", "671622785349fddf", "237e3ef7b968b4d3", "b3d6ce1919d29f8f"],
    ),
    ("trn2.48xlarge", GroupSize::Eight, &["3593812b8066a078", "614e16dab9ba2f1f"]),
    ("trn2.48xlarge", GroupSize::Sixteen, &["821d14afaf11327d"]),
];

#[test]
fn group_ids_are_those_of_aws() {
    let published = Published::read();
    for (instance_type, size, ids) in GROUPS {
        let host = Host::from_instance(instance_type).unwrap();
        for device in host.neuron() {
            let expected = ids[(device.index.0 / size.devices()) as usize];
            assert_eq!(host.device_group(device.index, size).as_deref(), Some(expected));
            let efa = published.pairs(instance_type)[&device.index.0];
            assert_eq!(host.efa_group(efa, size).as_deref(), Some(expected));
            assert_eq!(host.device_group(device.index, GroupSize::One), Some(efa.to_string()));
            assert_eq!(host.efa_group(efa, GroupSize::One), Some(efa.to_string()));
        }
    }
}

#[test]
fn groups_of_two_differ_from_address_and_from_each_other() {
    for table in tables() {
        let ids: Vec<String> =
            table.neuron.iter().map(|row| table.group_id(row.index, GroupSize::Two).unwrap()).collect();
        assert!(ids.iter().all(|id| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit())));
        assert!(ids.chunks(2).all(|pair| pair[0] == pair[1]));
        let distinct: std::collections::BTreeSet<&String> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len() / 2);
    }
}
