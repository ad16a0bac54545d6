//! Changes of hosts that contradict their tables.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::captured_hosts::function;
use crate::write::write;

/// Returns the path of an attribute of a PCI function.
pub(crate) fn attribute(tree: &Path, address: &str, name: &str) -> PathBuf {
    tree.join("sys/bus/pci/devices").join(address).join(name)
}

/// Moves a function below these bridges, to this address.
fn move_to(tree: &Path, from: &str, above: &str, address: &str) {
    let link = tree.join("sys/bus/pci/devices").join(from);
    let folder = format!("sys/devices/{above}/{address}");
    fs::create_dir_all(tree.join(&folder).parent().unwrap()).unwrap();
    fs::rename(fs::canonicalize(&link).unwrap(), tree.join(&folder)).unwrap();
    fs::remove_file(link).unwrap();
    symlink(format!("../../../../{folder}"), tree.join("sys/bus/pci/devices").join(address)).unwrap();
}

pub(crate) fn set_id(tree: &Path, address: &str, from: &str, to: &str) {
    let path = attribute(tree, address, "uevent");
    let text = fs::read_to_string(&path).unwrap();
    let id = format!("PCI_ID={}", from.to_uppercase());
    assert!(text.contains(&id), "{text}");
    fs::write(path, text.replace(&id, &format!("PCI_ID={}", to.to_uppercase()))).unwrap();
}

/// Moves a function to another NUMA node, with the CPUs of that node.
pub(crate) fn set_node(tree: &Path, address: &str, node: u32) {
    let cpus = fs::read_to_string(tree.join(format!("sys/devices/system/node/node{node}/cpulist"))).unwrap();
    fs::write(attribute(tree, address, "numa_node"), node.to_string()).unwrap();
    fs::write(attribute(tree, address, "local_cpulist"), cpus).unwrap();
}

pub(crate) fn set_cpus(tree: &Path, node: u32, cpus: &str) {
    fs::write(tree.join(format!("sys/devices/system/node/node{node}/cpulist")), cpus).unwrap();
}

pub(crate) fn set_links(tree: &Path, device: u32, links: &str) {
    fs::write(tree.join(format!("sys/class/neuron_device/neuron{device}/connected_devices")), links).unwrap();
}

/// A change of a host that contradicts its table.
pub(crate) struct Mutation {
    pub(crate) instance_type: &'static str,
    pub(crate) change: fn(&Path),
    /// The assumptions that the change refutes.
    pub(crate) refuted: &'static [&'static str],
    /// The kinds of facts that the change contradicts.
    pub(crate) facts: &'static [&'static str],
    /// A difference that must be reported: path, expected, found.
    pub(crate) difference: (&'static str, &'static str, &'static str),
}

pub(crate) const MUTATIONS: &[Mutation] = &[
    Mutation {
        instance_type: "trn1n.32xlarge",
        change: |tree| set_node(tree, "0000:20:1b.0", 1),
        refuted: &["trn1n-like-trn1"],
        facts: &["numa"],
        difference: ("/sys/bus/pci/devices/0000:20:1b.0/numa_node", "0", "1"),
    },
    Mutation {
        instance_type: "trn2n.48xlarge",
        change: |tree| set_links(tree, 5, "4, 9, 1, 7"),
        refuted: &["trn2n-like-trn2"],
        facts: &["links"],
        difference: (
            "/sys/class/neuron_device/neuron5/connected_devices",
            "neuron1, neuron4, neuron6, neuron9",
            "neuron1, neuron4, neuron7, neuron9",
        ),
    },
    Mutation {
        instance_type: "trn2e.48xlarge",
        change: |tree| set_links(tree, 5, "4, 9, 1, 7"),
        refuted: &["trn2e-like-trn2"],
        facts: &["links"],
        difference: (
            "/sys/class/neuron_device/neuron5/connected_devices",
            "neuron1, neuron4, neuron6, neuron9",
            "neuron1, neuron4, neuron7, neuron9",
        ),
    },
    Mutation {
        instance_type: "trn2.3xlarge",
        change: |tree| set_id(tree, "0000:32:00.0", "1d0f:efa2", "1d0f:efa3"),
        refuted: &["trn2-efa-device-id"],
        facts: &["efa_device_id"],
        difference: ("/sys/bus/pci/devices/0000:32:00.0/device", "1d0f:efa2", "1d0f:efa3"),
    },
    Mutation {
        instance_type: "trn2.48xlarge",
        change: |tree| set_id(tree, "0000:57:00.0", "1d0f:efa2", "1d0f:efa3"),
        refuted: &[],
        facts: &["efa_device_id"],
        difference: ("/sys/bus/pci/devices/0000:57:00.0/device", "1d0f:efa2", "1d0f:efa3"),
    },
    Mutation {
        instance_type: "trn2.48xlarge",
        change: |tree| {
            move_to(tree, "0000:cc:00.0", "pci0000:b7/0000:b7:00.0/0000:b8:00.0/0000:b9:02.3", "0000:cc:00.0");
        },
        refuted: &[],
        facts: &["path"],
        difference: (
            "/sys/bus/pci/devices/0000:cc:00.0",
            "pci0000:b7/0000:b7:00.0/0000:b8:00.0/0000:b9:02.2",
            "pci0000:b7/0000:b7:00.0/0000:b8:00.0/0000:b9:02.3",
        ),
    },
    Mutation {
        // The device moves behind the switch of devices 1 and 2, so that the device's pair is not near.
        instance_type: "trn2.48xlarge",
        change: |tree| {
            move_to(tree, "0000:cc:00.0", "pci0000:a1/0000:a1:00.0/0000:a2:00.0/0000:a3:02.3", "0000:cc:00.0");
        },
        refuted: &[],
        facts: &["pairing", "path"],
        difference: (
            "/sys/bus/pci/devices/0000:cc:00.0",
            "0000:c9:00.0 among the interfaces nearest to neuron0",
            "0000:b3:00.0 or 0000:b4:00.0",
        ),
    },
    Mutation {
        instance_type: "trn2.48xlarge",
        change: |tree| set_node(tree, "0000:58:00.0", 1),
        refuted: &[],
        facts: &["numa"],
        difference: ("/sys/bus/pci/devices/0000:58:00.0/numa_node", "0", "1"),
    },
    Mutation {
        instance_type: "trn2.48xlarge",
        change: |tree| {
            set_cpus(tree, 0, "0-95");
            set_cpus(tree, 1, "96-191");
        },
        refuted: &["local-cpulist"],
        facts: &["cpus"],
        difference: ("/sys/devices/system/node/node1/cpulist", "48-95,144-191", "96-191"),
    },
    Mutation {
        instance_type: "trn2.48xlarge",
        change: |tree| fs::write(attribute(tree, "0000:58:00.0", "local_cpulist"), "0-191\n").unwrap(),
        refuted: &["local-cpulist"],
        facts: &[],
        difference: ("/sys/bus/pci/devices/0000:58:00.0/local_cpulist", "0-47,96-143", "0-191"),
    },
    Mutation {
        instance_type: "p5.48xlarge",
        change: |tree| {
            move_to(tree, "0000:50:00.0", "pci0000:44/0000:44:00.0/0000:45:00.0/0000:46:07.0", "0000:50:00.0");
        },
        refuted: &["ec2-switch-numbering"],
        facts: &["path"],
        difference: (
            "/sys/bus/pci/devices/0000:50:00.0",
            "pci0000:44/0000:44:00.0/0000:45:00.0/0000:46:01.1",
            "pci0000:44/0000:44:00.0/0000:45:00.0/0000:46:07.0",
        ),
    },
    Mutation {
        instance_type: "trn3.48xlarge",
        change: |tree| set_links(tree, 0, "4, 12, 1"),
        refuted: &["trn3-alike"],
        facts: &["links"],
        difference: (
            "/sys/class/neuron_device/neuron0/connected_devices",
            "neuron1, neuron3, neuron4, neuron12",
            "neuron1, neuron4, neuron12",
        ),
    },
    Mutation {
        instance_type: "trn3p.48xlarge",
        change: |tree| move_to(tree, "0000:c0:00.0", "pci0000:c2", "0000:c2:00.0"),
        refuted: &["trn3-places"],
        facts: &["neuron"],
        difference: ("/sys/bus/pci/devices", "0000:c0:00.0", "0000:c2:00.0"),
    },
    Mutation {
        instance_type: "inf1.24xlarge",
        change: |tree| move_to(tree, "0000:00:06.0", "pci0000:00", "0000:00:07.0"),
        refuted: &["inf1-addresses"],
        facts: &["efa"],
        difference: ("/sys/bus/pci/devices", "0000:00:06.0", "0000:00:07.0"),
    },
    Mutation {
        instance_type: "inf2.24xlarge",
        change: |tree| move_to(tree, "0000:10:1e.0", "pci0000:00/0000:00:02.0", "0000:10:1e.0"),
        refuted: &["inf2-flat"],
        facts: &["path"],
        difference: ("/sys/bus/pci/devices/0000:10:1e.0", "pci0000:10", "pci0000:00/0000:00:02.0"),
    },
    Mutation {
        instance_type: "g5.48xlarge",
        change: |tree| set_id(tree, "0000:00:15.0", "1d0f:efa0", "1d0f:efa1"),
        refuted: &["efa-generation-by-year"],
        facts: &["efa_device_id"],
        difference: ("/sys/bus/pci/devices/0000:00:15.0/device", "1d0f:efa0", "1d0f:efa1"),
    },
    Mutation {
        instance_type: "trn2.3xlarge",
        change: |tree| move_to(tree, "0000:32:00.0", "pci0000:00", "0000:00:06.0"),
        refuted: &["efa-address-unpublished"],
        facts: &["efa"],
        difference: ("/sys/bus/pci/devices", "0000:32:00.0", "0000:00:06.0"),
    },
    Mutation {
        instance_type: "m7i.large",
        change: |tree| set_cpus(tree, 0, "0,2"),
        refuted: &["cpus-by-number"],
        facts: &["cpus"],
        difference: ("/sys/devices/system/node/node0/cpulist", "0-1", "0,2"),
    },
    // Facts that rest on no assumption.
    Mutation {
        instance_type: "trn2.48xlarge",
        change: |tree| set_links(tree, 13, "12, 1, 9, 15"),
        refuted: &[],
        facts: &["links"],
        difference: (
            "/sys/class/neuron_device/neuron13/connected_devices",
            "neuron1, neuron9, neuron12, neuron14",
            "neuron1, neuron9, neuron12, neuron15",
        ),
    },
    Mutation {
        instance_type: "trn2.3xlarge",
        change: |tree| move_to(tree, "0000:33:00.0", "pci0000:34", "0000:34:00.0"),
        refuted: &[],
        facts: &["neuron"],
        difference: ("/sys/bus/pci/devices", "0000:33:00.0", "0000:34:00.0"),
    },
    Mutation {
        // The host has one device and one function, and the function belongs to another device.
        instance_type: "inf2.24xlarge",
        change: |tree| {
            for index in 1..6 {
                fs::remove_file(tree.join(format!("sys/class/neuron_device/neuron{index}"))).unwrap();
            }
            for address in ["20:1e", "10:1e", "10:1f", "10:1d", "20:1d"] {
                fs::remove_file(tree.join(format!("sys/bus/pci/devices/0000:{address}.0"))).unwrap();
            }
        },
        refuted: &[],
        facts: &["neuron"],
        difference: ("/sys/bus/pci/devices", "0000:20:1e.0", "0000:20:1f.0"),
    },
    Mutation {
        instance_type: "trn2.48xlarge",
        change: |tree| {
            let more = Value::from(1);
            function(tree, "pci0000:12", "0000:12:00.0", "1d0f:efa2", Some(&more));
        },
        refuted: &[],
        facts: &["efa"],
        difference: ("/sys/bus/pci/devices", "only 16 EFA interfaces", "0000:12:00.0"),
    },
    Mutation {
        instance_type: "trn2.48xlarge",
        change: |tree| write(tree, "sys/class/neuron_device/neuron16/connected_devices", "\n"),
        refuted: &[],
        facts: &["neuron"],
        difference: ("/sys/class/neuron_device", "16 devices", "neuron16"),
    },
    Mutation {
        instance_type: "trn2.48xlarge",
        change: |tree| set_id(tree, "0000:58:00.0", "1d0f:7364", "1d0f:7564"),
        refuted: &[],
        facts: &["neuron"],
        difference: ("/sys/bus/pci/devices/0000:58:00.0/device", "Trainium2", "1d0f:7564"),
    },
    Mutation {
        instance_type: "p5en.48xlarge",
        change: |tree| set_id(tree, "0000:59:00.0", "10de:2335", "10de:2330"),
        refuted: &[],
        facts: &["gpu"],
        difference: ("/sys/bus/pci/devices/0000:59:00.0/device", "10de:2335", "10de:2330"),
    },
    Mutation {
        instance_type: "p6-b200.48xlarge",
        change: |tree| set_id(tree, "0000:73:00.0", "15b3:1021", "15b3:1023"),
        refuted: &[],
        facts: &["foreign"],
        difference: ("/sys/bus/pci/devices/0000:73:00.0/device", "15b3:1021", "15b3:1023"),
    },
];
