//! Hosts that contain only captured facts. These hosts test the tables, not only the comparison.

use std::fs;
use std::path::Path;

use nearfab::instances::Grade;
use serde_json::Value;
use tempfile::TempDir;

use super::{differences, verified};
use crate::captured_hosts::{captures, gpu_host, trn1_host};
use crate::recorded_trees::recorded;
use crate::write::write;

/// Gives a captured tree its instance type, and returns the facts with the number of values that agree. Fails if a
/// value differs.
fn captured(tree: &Path, instance_type: &str) -> Vec<(&'static str, Grade, usize)> {
    write(tree, "sys/devices/virtual/dmi/id/product_name", &format!("{instance_type}\n"));
    let verification = verified(tree);
    assert_eq!(differences(&verification), [], "{instance_type}");
    let agreed = verification.facts.iter().filter(|fact| fact.agreed > 0);
    agreed.map(|fact| (fact.fact, fact.grade, fact.agreed)).collect()
}

/// If the CPUs, bridges or ports of a type were not captured, the expected facts lack the CPUs, bridges or ports.
#[test]
fn captured_hosts_agree_with_their_tables() {
    use Grade::{Captured, Published};
    for capture in captures("hwloc-xml") {
        let tree = gpu_host(&capture);
        let instance_type = capture["instance"].as_str().unwrap();
        if instance_type != "p4d.24xlarge" {
            // Only some ports of the switches were captured, so the test removes all ports.
            for entry in fs::read_dir(tree.path().join("sys/bus/pci/devices")).unwrap() {
                let link = entry.unwrap().path();
                let folder = fs::canonicalize(&link).unwrap();
                fs::remove_file(&link).unwrap();
                fs::rename(folder, link).unwrap();
            }
        }
        let agreed = captured(tree.path(), instance_type);
        let expected = match instance_type {
            "p4d.24xlarge" => vec![("efa", 4), ("efa_device_id", 4), ("gpu", 16), ("numa", 12), ("path", 12)],
            "p5en.48xlarge" => vec![("cpus", 2), ("efa", 16), ("efa_device_id", 16), ("gpu", 16), ("numa", 24)],
            _ => vec![("efa", 8), ("efa_device_id", 8), ("gpu", 16), ("numa", 16)],
        };
        assert_eq!(agreed, expected.into_iter().map(|(fact, count)| (fact, Captured, count)).collect::<Vec<_>>());
    }

    let tree = trn1_host(&captures("lspci-tv")[0]);
    let expected = [
        ("efa", Captured, 8),
        ("efa_device_id", Captured, 8),
        ("neuron", Published, 16),
        ("pairing", Published, 16),
        ("path", Captured, 24),
    ];
    assert_eq!(captured(tree.path(), "trn1.32xlarge"), expected);

    let tree = neuron_ls_host(captures("neuron-ls-table")[0]["data"]["rows"].as_array().unwrap());
    let expected = [("cpus", Captured, 2), ("links", Captured, 6), ("neuron", Captured, 6), ("numa", Captured, 6)];
    assert_eq!(captured(tree.path(), "inf2.24xlarge"), expected);
}

/// Writes the devices of an inf2 host as neuron-ls prints them: number, address, node, CPUs, neighbours. neuron-ls
/// prints no place in the PCI tree.
fn neuron_ls_host(rows: &[Value]) -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    for row in rows {
        let (address, cpus) = (row["bdf"].as_str().unwrap(), row["cpu_affinity"].as_str().unwrap());
        let folder = format!("sys/bus/pci/devices/{address}");
        write(tree.path(), &format!("{folder}/uevent"), "PCI_ID=1D0F:7264\nDRIVER=neuron-driver\n");
        write(tree.path(), &format!("{folder}/numa_node"), &row["numa_node"].to_string());
        write(tree.path(), &format!("{folder}/local_cpulist"), cpus);
        write(tree.path(), &format!("sys/devices/system/node/node{}/cpulist", row["numa_node"]), cpus);
        let links: Vec<String> = row["connected"].as_array().unwrap().iter().map(Value::to_string).collect();
        let device = format!("sys/class/neuron_device/neuron{}", row["neuron_device"]);
        write(tree.path(), &format!("{device}/connected_devices"), &links.join(", "));
        write(tree.path(), &format!("{device}/info/architecture/device_name"), "Inferentia2");
    }
    tree
}

/// The real driver made the recorded trees. A recorded tree of any type has no PCI functions and one device.
#[test]
fn recorded_trees_contradict_nothing() {
    for (name, instance_type) in [("trn2", "trn2.3xlarge"), ("trn2", "trn2.48xlarge"), ("trn1", "trn1.2xlarge")] {
        assert_eq!(captured(recorded(name).path(), instance_type), []);
    }
}
