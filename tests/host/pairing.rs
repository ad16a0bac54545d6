//! Compares pairs, groups and nearness with AWS's publications.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use nearfab::instances::{GroupSize, InstanceTable, tables};
use nearfab::{Basis, Bdf, Evidence, Host, HostDevice, Near, Proximity};
use serde::Deserialize;

use crate::tree::tree_of;

#[derive(Deserialize)]
struct Published {
    instance_types: BTreeMap<String, String>,
    neuron_to_efa: BTreeMap<String, BTreeMap<u32, Bdf>>,
}

impl Published {
    fn read() -> Self {
        serde_json::from_str(include_str!("../captured/neuron-efa-pairs.json")).unwrap()
    }

    fn pairs(&self, instance_type: &str) -> Option<&BTreeMap<u32, Bdf>> {
        self.neuron_to_efa.get(self.instance_types.get(instance_type)?)
    }
}

/// Two hosts of each type: the host from the type's table, and the host scanned from an emulated tree.
static HOSTS: LazyLock<Vec<(&InstanceTable, [Host; 2])>> = LazyLock::new(|| {
    let both = |table: &'static InstanceTable| {
        let tree = tree_of(table, &[]);
        let scanned = Host::from_root(tree.path()).unwrap();
        assert_eq!(scanned.problems(), [""; 0]);
        (table, [Host::from_instance(table.instance_type).unwrap(), scanned])
    };
    tables().iter().map(both).collect()
});

#[test]
fn pairs_are_those_that_aws_publishes() {
    let published = Published::read();
    for (table, hosts) in HOSTS.iter() {
        let Some(pairs) = published.pairs(table.instance_type) else { continue };
        for host in hosts {
            assert_eq!(host.neuron_devices().len(), pairs.len());
            for device in host.neuron_devices() {
                let near = host.near_device(device.index, Basis::Pairing).unwrap();
                let nearest: Vec<_> = near.nearest_by_rank().collect();
                assert_eq!(nearest.len(), 1, "{} {}", table.instance_type, device.index);
                assert_eq!(nearest[0].target, pairs[&device.index.0]);
                assert_eq!(nearest[0].evidence.to_string(), format!("table {}", table.instance_type));
                assert_eq!(near.missing_pair, None);
            }
        }
    }
}

#[test]
fn every_published_type_has_a_table_and_no_other_a_pairing() {
    let published = Published::read();
    let paired = |table: &&InstanceTable| table.neuron.iter().any(|row| row.efa.is_some());
    let mut paired: BTreeSet<&str> = tables().iter().filter(paired).map(|table| table.instance_type).collect();
    // AWS does not name this type. Its pairing is an assumption.
    assert!(paired.remove("trn2n.48xlarge"));
    assert_eq!(paired, published.instance_types.keys().map(String::as_str).collect());
    for (table, hosts) in HOSTS.iter().filter(|(table, _)| table.neuron.iter().all(|row| row.efa.is_none())) {
        for device in hosts.iter().flat_map(Host::neuron_devices) {
            let near = hosts[0].near_device(device.index, Basis::Pairing).unwrap();
            assert!(near.entries.iter().all(|near| matches!(near.evidence, Evidence::Place { .. })));
            assert_eq!(near.missing_pair, None, "{}", table.instance_type);
        }
    }
}

#[test]
fn by_place_the_published_pair_is_among_the_nearest() {
    let published = Published::read();
    for (table, hosts) in HOSTS.iter().filter(|(table, _)| table.source("path").is_some()) {
        let Some(pairs) = published.pairs(table.instance_type) else { continue };
        for host in hosts {
            for device in host.neuron_devices() {
                let near = host.near_device(device.index, Basis::Place).unwrap();
                assert!(near.entries.iter().all(|near| matches!(near.evidence, Evidence::Place { .. })));
                assert!(near.entries.iter().all(|near| !near.evidence.to_string().contains("table")));
                let nearest: Vec<Bdf> = near.nearest_by_rank().map(|near| near.target).collect();
                // Each switch of trn2 and each root bus of trn1 has two interfaces. Each root bus of trn1n has four
                // interfaces.
                let ties = if table.instance_type == "trn1n.32xlarge" { 4 } else { 2 };
                assert_eq!(nearest.len(), ties, "{} {}", table.instance_type, device.index);
                assert!(nearest.contains(&pairs[&device.index.0]), "{} {}", table.instance_type, device.index);
            }
        }
    }
}

#[test]
fn each_interface_is_nearest_to_the_devices_paired_with_it() {
    let published = Published::read();
    for (table, hosts) in HOSTS.iter() {
        let Some(pairs) = published.pairs(table.instance_type) else { continue };
        for host in hosts {
            for efa in host.efa_interfaces() {
                let near = host.near_efa(efa.address(), Basis::Pairing).unwrap();
                let nearest: Vec<u32> = near.nearest_by_rank().map(|near| near.target.0).collect();
                let paired: Vec<u32> =
                    pairs.iter().filter(|(_, address)| **address == efa.address()).map(|(index, _)| *index).collect();
                assert_eq!(nearest, paired);
            }
        }
    }
}

/// No place of a trn3 device is published. The emulated tree has invented places. Invented places must not appear in an
/// answer.
#[test]
fn invented_places_appear_in_no_answer() {
    for (table, hosts) in HOSTS.iter().filter(|(table, _)| table.invented().next().is_some()) {
        for device in hosts.iter().flat_map(Host::neuron_devices).filter(|_| !table.places_neuron()) {
            assert_eq!(device.location, None, "{} {}", table.instance_type, device.index);
        }
        let problems = hosts[0].problems();
        assert!(table.invented().all(|source| problems.iter().any(|text| text.contains(source.text))), "{problems:?}");
        for (device, host) in
            hosts.iter().flat_map(|host| host.neuron_devices().iter().map(move |device| (device, host)))
        {
            let near = host.near_device(device.index, Basis::Place).unwrap();
            let nearer = |near: &&Near<Bdf>| near.proximity < Proximity::SameNuma;
            assert_eq!(near.entries.iter().find(nearer), None, "{} {}", table.instance_type, device.index);
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
fn an_unattached_pair_is_named_and_the_rest_is_ranked_by_place() {
    let tree = tree_of(InstanceTable::find("trn2.48xlarge").unwrap(), &[]);
    // The first network card of a real host may carry a plain ENA and no EFA function.
    std::fs::remove_file(tree.path().join("sys/bus/pci/devices/0000:c9:00.0")).unwrap();
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!(host.efa_interfaces().len(), 15);
    let near = host.near_device(HostDevice(0), Basis::Pairing).unwrap();
    assert_eq!(near.missing_pair, Some("0000:c9:00.0".parse().unwrap()));
    let nearest: Vec<&Near<Bdf>> = near.nearest_by_rank().collect();
    assert_eq!(nearest.len(), 1);
    assert_eq!((nearest[0].target.to_string().as_str(), nearest[0].rank), ("0000:ca:00.0", 1));
    assert_eq!(nearest[0].evidence.to_string(), "same PCIe switch");
    // The group ids still come from the table, so that the ids are the same on every host of a type.
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

/// Group ids by the name of AWS's map. The ids were computed with the algorithm of AWS's library. The ids of trn1 and
/// of groups of four on trn2 were also seen on real hosts.
const GROUPS: [(&str, GroupSize, &[&str]); 15] = [
    ("trn1", GroupSize::Four, &["88a3c6ad1661fe1d", "69b2225fd72a59dd", "e3c29faa0cd11323", "178a9e264a26793e"]),
    ("trn1", GroupSize::Eight, &["86c451036f622685", "aa86c05423d6e8cd"]),
    ("trn1", GroupSize::Sixteen, &["fb838249c99a6341"]),
    ("trn1n", GroupSize::Four, &["f9415ac86580cd2a", "81d377c56bbb18dd", "e367b751fc858d72", "6b9b077320083e11"]),
    ("trn1n", GroupSize::Eight, &["25ab6fa8d56db17d", "feac12f490fb3cba"]),
    ("trn1n", GroupSize::Sixteen, &["9ea13cbe1ff23763"]),
    ("trn2", GroupSize::Four, &["13713e551cd37c19", "671622785349fddf", "237e3ef7b968b4d3", "b3d6ce1919d29f8f"]),
    ("trn2", GroupSize::Eight, &["3593812b8066a078", "614e16dab9ba2f1f"]),
    ("trn2", GroupSize::Sixteen, &["821d14afaf11327d"]),
    ("trn3", GroupSize::Four, &["68ac040ea32655a7", "1c060eef5f3a4fe1", "68e7529909eadc38", "11626cfcde6dcac3"]),
    ("trn3", GroupSize::Eight, &["bafc439bf9664feb", "629b2570d9887aaf"]),
    ("trn3", GroupSize::Sixteen, &["31980acd145f7025"]),
    ("trn3pds", GroupSize::Four, &["68ac040ea32655a7", "11626cfcde6dcac3", "1c060eef5f3a4fe1", "68e7529909eadc38"]),
    ("trn3pds", GroupSize::Eight, &["e24e6d445a226240", "a6e1fae95cf7af58"]),
    ("trn3pds", GroupSize::Sixteen, &["31980acd145f7025"]),
];

#[test]
fn group_ids_are_those_of_aws() {
    let published = Published::read();
    let of_type = |(name, size, ids)| {
        let types = published.instance_types.iter().filter(move |(_, map)| *map == name);
        types.map(move |(instance_type, _)| (instance_type.as_str(), size, ids))
    };
    for (instance_type, size, ids) in GROUPS.into_iter().flat_map(of_type) {
        let host = Host::from_instance(instance_type).unwrap();
        for device in host.neuron_devices() {
            let expected = ids[(device.index.0 / size.devices()) as usize];
            assert_eq!(host.device_group(device.index, size).as_deref(), Some(expected));
            let efa = published.pairs(instance_type).unwrap()[&device.index.0];
            assert_eq!(host.efa_group(efa, size).as_deref(), Some(expected));
            assert_eq!(host.device_group(device.index, GroupSize::One), Some(efa.to_string()));
            assert_eq!(host.efa_group(efa, GroupSize::One), Some(efa.to_string()));
        }
    }
}

#[test]
fn groups_of_two_have_distinct_hashed_ids() {
    let published = Published::read();
    for table in tables().iter().filter(|table| published.pairs(table.instance_type).is_some()) {
        let ids: Vec<String> =
            table.neuron.iter().map(|row| table.group_id(row.index, GroupSize::Two).unwrap()).collect();
        assert!(ids.iter().all(|id| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit())));
        assert!(ids.chunks(2).all(|pair| pair[0] == pair[1]));
        let distinct: BTreeSet<&String> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len() / 2);
    }
}
