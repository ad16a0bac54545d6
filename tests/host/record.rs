//! Recorded hosts: records of older versions are read, a written record is read back, and two hosts are compared.

use std::fs;

use nearfab::instances::InstanceTable;
use nearfab::{Host, HostDevice, LncEvidence, NodeAccess, Subject, WhatChanged};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::tree::tree_of;
use crate::write::write;

/// `nearfab list -o json` of version 0.1.0 wrote the file on a host without some nodes, before fields were added for
/// the second time.
#[test]
fn a_record_of_the_first_version_is_read() {
    let host = Host::from_file("tests/data/host-format-1.json").unwrap();
    assert_eq!((host.efa_interfaces().len(), host.neuron_devices().len()), (15, 16));
    assert_eq!(host.find_neuron(HostDevice(3)).unwrap().access, NodeAccess::Missing);
    let efa = &host.efa_interfaces()[0];
    assert_eq!((&efa.port, &efa.node_guid, &efa.p2p), (&None, &None, &None));
    assert_eq!((host.gpus().len(), host.other_rdma().len()), (0, 0));
    assert_eq!((host.efa_driver(), host.neuron_driver()), (None, None));
    // The fields of the record suffice to number cores. The cores of the device without a node have no number.
    assert_eq!(host.lnc().unwrap().evidence, LncEvidence::Assumed);
    assert_eq!(host.numbering().rows.len(), 60);
}

/// Every old field still has its name and its value.
#[test]
fn the_json_of_a_host_keeps_every_old_field() {
    let old: Value = serde_json::from_str(include_str!("../data/host-format-1.json")).unwrap();
    let new: Value =
        serde_json::from_str(&Host::from_file("tests/data/host-format-1.json").unwrap().to_json()).unwrap();
    assert_within(&old, &new, "");
}

fn assert_within(old: &Value, new: &Value, path: &str) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in old {
                assert_within(value, new.get(name).unwrap_or(&Value::Null), &format!("{path}/{name}"));
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            assert_eq!(old.len(), new.len(), "{path}");
            old.iter().zip(new).enumerate().for_each(|(i, (a, b))| assert_within(a, b, &format!("{path}/{i}")));
        }
        _ => assert_eq!(old, new, "{path}"),
    }
}

fn speed() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), Just(json!("unknown")), (1..64_u32).prop_map(|gt| json!(format!("{gt}.0 GT/s")))]
}

fn width() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), Just(json!("unknown")), (1..255_u32).prop_map(|lanes| json!(format!("x{lanes}")))]
}

prop_compose! {
    fn function()(
        bus in 0..=255_u8, device in 0..32_u8, id in any::<u16>(), numa in proptest::option::of(0..8_u32),
        speed in speed(), width in width(), driver in proptest::option::of("[a-z]{1,8}")
    ) -> Value {
        json!({
            "address": format!("0000:{bus:02x}:{device:02x}.0"), "id": format!("1d0f:{id:04x}"), "numa": numa,
            "cpus": "", "root": null, "bridges": [], "driver": driver,
            "link": {"speed": speed, "width": width, "max_speed": null, "max_width": null}
        })
    }
}

prop_compose! {
    fn efa()(
        function in function(), guid in proptest::option::of(any::<[u16; 4]>()), gid in any::<u128>(),
        state in any::<u32>(), rate in proptest::option::of(any::<u32>()), p2p in proptest::option::of("[A-Z]{0,6}")
    ) -> Value {
        let guid = guid.map(|groups| groups.map(|group| format!("{group:04x}")).join(":"));
        let mut efa = function;
        efa["rdma"] = json!("rdmap0s0");
        efa["uverbs"] = json!(0);
        efa["access"] = json!("granted");
        efa["firmware"] = Value::Null;
        efa["node_guid"] = json!(guid);
        efa["p2p"] = json!(p2p);
        efa["port"] = json!({"state": state, "rate_mbps": rate, "gid": std::net::Ipv6Addr::from(gid).to_string()});
        efa
    }
}

prop_compose! {
    fn gpu()(function in function(), minor in proptest::option::of(0..8_u32)) -> Value {
        let mut gpu = function;
        gpu["minor"] = json!(minor);
        gpu["uuid"] = json!(minor.map(|minor| format!("GPU-{minor:08x}")));
        gpu["access"] = json!(if minor.is_some() { "refused" } else { "unknown" });
        gpu
    }
}

prop_compose! {
    fn neuron()(
        index in 0..64_u32, cores in 0..=8_u32, serial in proptest::option::of("[0-9a-f]{16}"),
        state in proptest::option::of(0..9_u32), memory in proptest::option::of(any::<u64>()), links in proptest::option::of(proptest::collection::vec(0..64_u32, 0..5))
    ) -> Value {
        json!({
            "index": index, "product": "Trainium2", "architecture": "NDv3", "serial": serial, "state": state,
            "cores": cores, "memory": memory, "links": links, "location": null, "access": "missing"
        })
    }
}

/// Returns the devices without duplicates: no host has a device twice.
fn distinct(devices: Vec<Value>, identity: &str) -> Vec<Value> {
    let mut kept: Vec<Value> = Vec::new();
    for device in devices {
        if kept.iter().all(|other| other[identity] != device[identity]) {
            kept.push(device);
        }
    }
    kept
}

prop_compose! {
    fn host()(
        efa in proptest::collection::vec(efa(), 0..4), neuron in proptest::collection::vec(neuron(), 0..4),
        gpus in proptest::collection::vec(gpu(), 0..3), unnumbered in proptest::collection::vec(function(), 0..3),
        other in proptest::collection::vec(function(), 0..3),
        layout in proptest::sample::select(vec!["up_to226", "from227", "from230", "unknown"]), size in 1..=2_u32,
        by in proptest::sample::select(vec!["node_file", "product", "assumed"])
    ) -> Value {
        let other: Vec<Value> = other
            .into_iter()
            .map(|function| json!({"name": "mlx5_0", "function": function, "uverbs": null, "access": "unknown"}))
            .collect();
        json!({
            "schema": "host", "format": 1, "origin": {"from": "machine"}, "instance_type": null, "numa": [],
            "efa": distinct(efa, "address"), "neuron": distinct(neuron, "index"), "driverless": [], "problems": [], "efa_driver": {"version": null},
            "neuron_driver": {"version": "2.30.2.0", "layout": {"kind": layout}, "class_attributes": []},
            "lnc": {"size": size, "evidence": {"by": by}}, "gpus": gpus, "other_rdma": other, "rdma_namespaces": null,
            "unnumbered": unnumbered, "pci_functions": 44
        })
    }
}

proptest! {
    #[test]
    fn a_recorded_host_is_read_back(recorded in host()) {
        let host = Host::from_json(&recorded.to_string()).unwrap();
        let written = host.to_json();
        prop_assert_eq!(&Host::from_json(&written).unwrap(), &host);
        prop_assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), recorded);
        prop_assert_eq!(host.diff(&host), []);
    }
}

#[test]
fn changes_of_a_host_are_listed_one_by_one() {
    let tree = tree_of(InstanceTable::find("trn2.48xlarge").unwrap(), &[]);
    let before = Host::from_root(tree.path()).unwrap();
    assert_eq!(before.diff(&Host::from_root(tree.path()).unwrap()), []);

    let path = |path: &str| tree.path().join(path);
    write(tree.path(), "sys/class/infiniband/rdmap201s0/ports/1/state", "1: DOWN\n");
    write(tree.path(), "sys/module/neuron/version", "2.30.3.0\n");
    fs::remove_file(path("sys/bus/pci/devices/0000:56:00.0")).unwrap();
    fs::remove_file(path("sys/class/infiniband/rdmap86s0")).unwrap();
    fs::remove_file(path("sys/class/infiniband_verbs/uverbs0")).unwrap();
    fs::remove_file(path("dev/neuron7")).unwrap();
    let after = Host::from_root(tree.path()).unwrap();
    let news: Vec<String> = before.diff(&after).iter().map(ToString::to_string).collect();
    assert_eq!(
        news,
        [
            "the host: neuron_driver.version was 2.30.2.0, is 2.30.3.0",
            "EFA interface 0000:56:00.0 vanished",
            "EFA interface 0000:c9:00.0: port.state was 4, is 1",
            "neuron7: access was granted, is missing",
        ]
    );
    let back = after.diff(&before);
    assert_eq!(back.len(), news.len());
    let subject = Subject::Efa { address: "0000:56:00.0".parse().unwrap() };
    let appeared = back.iter().find(|change| change.subject == subject).unwrap();
    assert_eq!(appeared.what, WhatChanged::Appeared);
    let form = serde_json::to_value(appeared).unwrap();
    assert_eq!(form, json!({"subject": {"kind": "efa", "address": "0000:56:00.0"}, "what": "appeared"}));
}
