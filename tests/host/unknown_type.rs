//! Tests of hosts of a type that no table has: hosts from captures only, and emulated hosts without a product name.
//! Nearness is known by switch and root.

use std::collections::BTreeSet;

use nearfab::instances::{InstanceTable, tables};
use nearfab::{Basis, Bdf, Host, HostDevice, LocationEvidence, Proximity};
use nearfab_emu::Defect;
use serde_json::Value;

use crate::captured_hosts::{captures, gpu_host, trn1_host};
use crate::tree::tree_of;

#[test]
fn interfaces_near_captured_gpus_are_those_of_their_switch_or_root() {
    let captures = captures("hwloc-xml");
    assert_eq!(captures.len(), 3);
    for capture in captures {
        let tree = gpu_host(&capture);
        let groups = capture["data"]["groups"].as_array().unwrap();
        let host = Host::from_root(tree.path()).unwrap();
        assert_eq!((host.instance_type(), host.table().is_some(), host.gpus().len()), (None, false, 8));
        for group in groups {
            let addresses = |kind: &str, of: fn(&Value) -> &Value| -> Vec<Bdf> {
                group[kind].as_array().unwrap().iter().map(|row| of(row).as_str().unwrap().parse().unwrap()).collect()
            };
            let efas = addresses("efa", |row| &row["bdf"]);
            for gpu in addresses("gpu", |row| row) {
                let near = host.near_function(gpu).unwrap();
                let nearest: Vec<Bdf> = near.nearest_by_rank().map(|near| near.target).collect();
                assert_eq!(nearest, efas, "{} {gpu}", capture["instance"]);
                let switched = group["bridge_chain"].is_array();
                assert!(
                    near.nearest_by_rank()
                        .all(|near| switched == matches!(near.proximity, Proximity::SameSwitch { .. }))
                );
            }
        }
    }
}

/// Each root has four devices and two interfaces. AWS pairs each device with one of the two interfaces of the device's
/// root.
#[test]
fn interfaces_near_captured_trainium_devices_are_the_two_on_their_root() {
    let captures = captures("lspci-tv");
    let tree = trn1_host(&captures[0]);
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!((host.neuron_devices().len(), host.unnumbered().len()), (16, 16));
    assert!(
        host.neuron_devices().iter().all(|device| device.location.is_none()),
        "only the driver knows their numbers"
    );

    let published: Value = serde_json::from_str(include_str!("../captured/neuron-efa-pairs.json")).unwrap();
    let pairs = tables().iter().find(|table| table.instance_type == "trn1.32xlarge").unwrap();
    for row in pairs.neuron {
        let near = host.near_function(row.address).unwrap();
        let nearest: BTreeSet<String> = near.nearest_by_rank().map(|near| near.target.to_string()).collect();
        let bus = &row.address.to_string()[..8];
        assert_eq!(nearest, BTreeSet::from([format!("{bus}19.0"), format!("{bus}1a.0")]));
        assert!(
            nearest.contains(published["neuron_to_efa"]["trn1"][row.index.0.to_string()].as_str().unwrap()),
            "{}",
            row.index
        );
    }
}

#[test]
fn on_a_host_without_a_product_name_the_pair_is_among_the_nearest() {
    for table in tables().iter().filter(|table| table.places_neuron()) {
        let tree = tree_of(table, &[Defect::NoProduct]);
        let host = Host::from_root(tree.path()).unwrap();
        assert_eq!(host.neuron_devices().len(), table.neuron.len());
        for row in table.neuron {
            let Some(pair) = row.efa else { continue };
            let near = host.near_function(row.address).unwrap();
            assert!(near.nearest_by_rank().any(|near| near.target == pair), "{} {}", table.instance_type, row.index);
            let back = host.functions_near_efa(pair).unwrap();
            assert!(back.nearest_by_rank().any(|near| near.target == row.address));
        }
    }
}

/// A host with one device and one function needs no table to place the device.
#[test]
fn the_only_device_is_the_only_function() {
    for (instance_type, only) in [("trn1.2xlarge", true), ("trn2.3xlarge", true), ("inf2.24xlarge", false)] {
        let tree = tree_of(InstanceTable::find(instance_type).unwrap(), &[Defect::UnknownProduct]);
        let host = Host::from_root(tree.path()).unwrap();
        let location = host.find_neuron(HostDevice(0)).unwrap().location.clone();
        assert_eq!(location.is_some(), only, "{instance_type}");
        assert_eq!(host.unnumbered().is_empty(), only);
        if let Some(location) = location {
            assert_eq!(location.evidence, LocationEvidence::OnlyOne);
            assert!(location.function.is_some());
            host.near_device(HostDevice(0), Basis::Pairing).unwrap();
        }
        assert_eq!(Host::from_json(&host.to_json()).unwrap(), host);
    }
}
