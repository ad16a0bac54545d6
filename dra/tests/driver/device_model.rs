//! The published devices of two instance types. Claims rely on the published devices, so a change here is a change of
//! an interface.

use std::collections::BTreeSet;
use std::fs;

use nearfab::instances::InstanceTable;
use nearfab::{Host, HostDevice};
use nearfab_dra::device::{Device, Inventory, Value};
use nearfab_dra::slices::slice_spec;
use serde_json::json;

use crate::{HOST, write_tree};

/// Returns one line per device, in the published order.
fn listing(instance_type: &str) -> String {
    let inventory = inventory(instance_type);
    let line = |device: &Device| {
        let attributes = device.attributes.iter().map(|(name, value)| match value {
            Value::Int(int) => format!(" {name}={int}"),
            Value::Text(text) => format!(" {name}={text:?}"),
        });
        format!("{}{}\n", device.name, attributes.collect::<String>())
    };
    inventory.devices.iter().map(line).collect()
}

fn inventory(instance_type: &str) -> Inventory {
    Inventory::from_host(&Host::from_instance(instance_type).unwrap())
}

fn assert_published(instance_type: &str, golden: &str) {
    let listing = listing(instance_type);
    for (published, agreed) in listing.lines().zip(golden.lines()) {
        assert_eq!(published, agreed);
    }
    assert_eq!(listing.lines().count(), golden.lines().count());
}

#[test]
fn trn2_48xlarge_is_published_as_agreed() {
    assert_published("trn2.48xlarge", include_str!("golden/trn2.48xlarge.txt"));
}

#[test]
fn trn1_32xlarge_is_published_as_agreed() {
    assert_published("trn1.32xlarge", include_str!("golden/trn1.32xlarge.txt"));
}

/// Compares the group ids with the ids that AWS's drivers publish. AWS's own program computed the expected ids.
#[test]
fn group_ids_equal_those_of_aws() {
    let trn1 = [
        (4, &["88a3c6ad1661fe1d", "69b2225fd72a59dd", "e3c29faa0cd11323", "178a9e264a26793e"][..]),
        (8, &["86c451036f622685", "aa86c05423d6e8cd"]),
        (16, &["fb838249c99a6341"]),
    ];
    let trn2 = [
        (4, &["13713e551cd37c19", "671622785349fddf", "237e3ef7b968b4d3", "b3d6ce1919d29f8f"][..]),
        (8, &["3593812b8066a078", "614e16dab9ba2f1f"]),
        (16, &["821d14afaf11327d"]),
    ];
    for (instance_type, groups) in [("trn1.32xlarge", trn1), ("trn2.48xlarge", trn2)] {
        let table = InstanceTable::find(instance_type).unwrap();
        for device in &inventory(instance_type).devices {
            // An EFA interface is in the groups of its paired Neuron devices.
            let index = match &device.attributes.get("index") {
                Some(Value::Int(index)) => u32::try_from(*index).unwrap(),
                _ => {
                    let address = text(device, "resource.kubernetes.io/pciBusID");
                    table.neuron.iter().find(|row| row.efa.unwrap().to_string() == address).unwrap().index.0
                }
            };
            let efa = table.neuron(HostDevice(index)).unwrap().efa.unwrap();
            assert_eq!(text(device, "resource.aws.com/devicegroup1_id"), efa.to_string(), "{}", device.name);
            for (size, ids) in groups {
                let id = text(device, &format!("resource.aws.com/devicegroup{size}_id"));
                assert_eq!(id, ids[index as usize / size], "{}, group of {size}", device.name);
            }
        }
    }
}

fn text<'a>(device: &'a Device, name: &str) -> &'a str {
    match &device.attributes[name] {
        Value::Text(text) => text,
        other => panic!("{name} of {} is {other:?}", device.name),
    }
}

/// An API server refuses a whole slice that breaks one of these limits.
#[test]
fn slices_stay_within_the_limits_of_kubernetes() {
    let trn1 = tempfile::tempdir().unwrap();
    write_tree("trn1.32xlarge", trn1.path());
    for (root, count) in [(trn1.path(), 16 + 8), (&HOST, 16 + 16)] {
        let spec = slice_spec("node1", &Inventory::discover(root).unwrap()).unwrap();
        let devices = spec.devices.unwrap();
        assert_eq!(devices.len(), count);
        let names: BTreeSet<_> = devices.iter().map(|device| &device.name).collect();
        assert_eq!(names.len(), devices.len(), "names are unique");
        for device in &devices {
            assert!(is_dns_label(&device.name), "{}", device.name);
            let attributes = device.attributes.as_ref().unwrap();
            assert!(attributes.len() <= 32);
            for (name, value) in attributes {
                let (domain, id) = name.split_once('/').unwrap_or(("nearfab.dev", name));
                assert!(domain.len() <= 63 && domain.split('.').all(is_dns_label), "{name}");
                assert!(id.len() <= 32 && is_c_identifier(id), "{name}");
                let value = serde_json::to_value(value).unwrap();
                assert_eq!(value.as_object().unwrap().len(), 1, "{name} has one type: {value}");
                assert!(value.get("string").is_none_or(|text| text.as_str().unwrap().len() <= 64), "{name}: {value}");
            }
        }
    }
}

fn is_dns_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_c_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[test]
fn the_name_of_the_rdma_device_is_published() {
    let inventory = Inventory::discover(&HOST).unwrap();
    let efa = inventory.devices.iter().find(|device| device.name == "efa-0000-57-00-0").unwrap();
    assert_eq!(text(efa, "rdmaDevice"), "rdmap87s0");
}

#[test]
fn a_device_without_a_usable_node_is_not_published() {
    let dir = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    for index in [2, 3, 10] {
        put(&format!("sys/class/neuron_device/neuron{index}/neuron_core0/info/architecture/arch_type"), "NCv3");
    }
    put("dev/neuron2", "");
    put("dev/neuron10", "");
    put("sys/class/neuron_device/neuron2/info/architecture/arch_type", "NDv3");
    put("sys/module/neuron/version", "2.26.5.0");
    // An interface without the efa driver, such as an interface that is bound to vfio-pci.
    put("sys/bus/pci/devices/0000:57:00.0/uevent", "PCI_ID=1D0F:EFA2\n");

    let inventory = Inventory::discover(dir.path()).unwrap();
    let [two, three, ten, efa] = &inventory.devices[..] else { panic!("{inventory:?}") };
    assert_eq!(two.node, Ok("/dev/neuron2".into()));
    assert_eq!(three.node, Err("/dev/neuron3 is missing".to_owned()));
    assert_eq!(ten.node, Ok("/dev/neuron10".into()));
    assert_eq!(efa.name, "efa-0000-57-00-0");
    assert!(efa.node.as_ref().unwrap_err().contains("no verbs node"));

    assert_eq!(
        inventory.problems,
        [
            "neuron-3 is not published: /dev/neuron3 is missing".to_owned(),
            format!("efa-0000-57-00-0 is not published: {}", efa.node.as_ref().unwrap_err()),
        ]
    );

    let published = slice_spec("node1", &inventory).unwrap().devices.unwrap();
    assert_eq!(published.iter().map(|device| device.name.as_str()).collect::<Vec<_>>(), ["neuron-2", "neuron-10"]);
}

#[test]
fn a_host_without_devices_has_an_empty_slice() {
    let dir = tempfile::tempdir().unwrap();
    let spec = slice_spec("node1", &Inventory::discover(dir.path()).unwrap()).unwrap();
    let expected = json!({
        "driver": "nearfab.dev",
        "nodeName": "node1",
        "pool": {"name": "node1", "generation": 1, "resourceSliceCount": 1},
    });
    assert_eq!(serde_json::to_value(spec).unwrap(), expected);
}
