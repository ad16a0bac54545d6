//! Hosts of a type that no table has: made from captures alone, and emulated ones without a product name. What is near
//! is known by switch and root all the same.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nearfab::instances::{InstanceTable, tables};
use nearfab::{Basis, Bdf, Host, HostDevice, LocationEvidence, Proximity};
use nearfab_emu::Defect;
use serde_json::Value;
use tree::tree_of;

#[path = "support/tree.rs"]
mod tree;

fn captures(kind: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_json::from_str(include_str!("captured/captures.json")).unwrap();
    all.into_iter().filter(|capture| capture["kind"] == kind).collect()
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A function below `above`, a root and bridges, as the kernel shows it; `class` and `id` are hexadecimal.
fn function(root: &Path, above: &str, address: &str, id: &str, class: &str, numa: Option<&Value>) {
    let folder = format!("devices/{above}/{address}");
    let text = format!("PCI_CLASS={class}\nPCI_ID={}\nDRIVER=some\n", id.to_uppercase());
    let text = if id == "1d0f:7164" { text.replace("some", "neuron-driver") } else { text };
    write(&root.join("sys").join(&folder).join("uevent"), &text);
    let numa = numa.map_or_else(|| "-1".to_owned(), Value::to_string);
    write(&root.join("sys").join(&folder).join("numa_node"), &numa);
    let link = root.join("sys/bus/pci/devices").join(address);
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    symlink(format!("../../../{folder}"), link).unwrap();
}

/// Root and bridges of a captured group; where only the root is captured, only that.
fn above(group: &Value, address: &str) -> String {
    let root = group["root"].as_str().unwrap();
    let bridges: Vec<&str> = group["bridge_chain"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some((_, upper)) = bridges.split_last() else { return root.to_owned() };
    // A port that was not captured has a number of its own.
    let port = group["downstream_port_of"][address]
        .as_str()
        .map_or_else(|| format!("46:1{}.0", &address[6..7]), str::to_owned);
    let chain: Vec<String> =
        upper.iter().map(|bridge| format!("0000:{bridge}")).chain([format!("0000:{port}")]).collect();
    format!("{root}/{}", chain.join("/"))
}

#[test]
fn interfaces_near_captured_gpus_are_those_of_their_switch_or_root() {
    let captures = captures("hwloc-xml");
    assert_eq!(captures.len(), 3);
    for capture in captures {
        let (tree, data) = (tempfile::tempdir().unwrap(), &capture["data"]);
        let groups = data["groups"].as_array().unwrap();
        for group in groups {
            for efa in group["efa"].as_array().unwrap() {
                let (address, id) = (efa["bdf"].as_str().unwrap(), data["efa_id"].as_str().unwrap());
                function(tree.path(), &above(group, address), address, id, "20000", Some(&group["numa"]));
            }
            for gpu in group["gpu"].as_array().unwrap() {
                let (address, id) = (gpu.as_str().unwrap(), data["gpu_id"].as_str().unwrap());
                function(tree.path(), &above(group, address), address, id, "30200", Some(&group["numa"]));
            }
        }
        let host = Host::from_root(tree.path()).unwrap();
        assert_eq!((host.instance_type(), host.table().is_some(), host.gpus().len()), (None, false, 8));
        for group in groups {
            let addresses = |kind: &str, of: fn(&Value) -> &Value| -> Vec<Bdf> {
                group[kind].as_array().unwrap().iter().map(|row| of(row).as_str().unwrap().parse().unwrap()).collect()
            };
            let efas = addresses("efa", |row| &row["bdf"]);
            for gpu in addresses("gpu", |row| row) {
                let near = host.near_function(gpu).unwrap();
                let nearest: Vec<Bdf> = near.nearest().map(|near| near.target).collect();
                assert_eq!(nearest, efas, "{} {gpu}", capture["instance"]);
                let switched = group["bridge_chain"].is_array();
                assert!(near.nearest().all(|near| switched == matches!(near.proximity, Proximity::SameSwitch { .. })));
            }
        }
    }
}

/// Four devices and two interfaces a root: the one of AWS's pairing is always among the two.
#[test]
fn interfaces_near_captured_trainium_are_the_two_of_their_root() {
    let captures = captures("lspci-tv");
    let data = &captures[0]["data"]["per_root_a0_90_20_10"];
    let tree = tempfile::tempdir().unwrap();
    for bus in ["10", "20", "90", "a0"] {
        for (kind, id, class) in [("EFA", "1d0f:efa1", "20000"), ("NeuronDevice", "1d0f:7164", "88000")] {
            for device in data[kind].as_array().unwrap() {
                let address = format!("0000:{bus}:{}.0", device.as_str().unwrap());
                function(tree.path(), &format!("pci0000:{bus}"), &address, id, class, None);
            }
        }
    }
    for index in 0..16 {
        let device = format!("sys/class/neuron_device/neuron{index}");
        write(&tree.path().join(device).join("info/architecture/device_name"), "Trainium1");
        write(&tree.path().join("dev").join(format!("neuron{index}")), "");
    }
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!((host.neuron().len(), host.unnumbered().len()), (16, 16));
    assert!(host.neuron().iter().all(|device| device.location.is_none()), "their numbers are the driver's secret");

    let published: Value = serde_json::from_str(include_str!("captured/neuron-efa-pairs.json")).unwrap();
    let pairs = tables().iter().find(|table| table.instance_type == "trn1.32xlarge").unwrap();
    for row in pairs.neuron {
        let near = host.near_function(row.address).unwrap();
        let nearest: BTreeSet<String> = near.nearest().map(|near| near.target.to_string()).collect();
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
fn without_a_product_name_the_pair_is_among_the_nearest() {
    for table in tables().iter().filter(|table| table.places_neuron()) {
        let tree = tree_of(table, &[Defect::NoProduct, Defect::NoCoreStatistics]);
        let host = Host::from_root(tree.path()).unwrap();
        assert_eq!(host.neuron().len(), table.neuron.len());
        for row in table.neuron {
            let Some(pair) = row.efa else { continue };
            let near = host.near_function(row.address).unwrap();
            assert!(near.nearest().any(|near| near.target == pair), "{} {}", table.instance_type, row.index);
            let back = host.functions_near_efa(pair).unwrap();
            assert!(back.nearest().any(|near| near.target == row.address));
        }
    }
}

/// One device and one function: it is that one, whatever the type.
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
