//! Exit statuses, errors, and JSON that nearfab reads back.

use std::fs;

use nearfab::Host;

use crate::hosts::tree;
use crate::support::{error, nearfab, stdout};

#[test]
fn recorded_host_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("host.json");
    let recorded = stdout(&["list", "-o", "json", "--instance", "trn1.32xlarge"]);
    std::fs::write(&file, &recorded).unwrap();
    assert_eq!(Host::from_file(&file).unwrap(), Host::from_instance("trn1.32xlarge").unwrap());
    assert_eq!(stdout(&["list", "-o", "json", "--host", file.to_str().unwrap()]), recorded);
}

#[test]
fn near_in_json_names_rank_target_and_evidence() {
    let text = stdout(&["near", "neuron5:0", "-o", "json", "--instance", "trn2.48xlarge"]);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["of"], "neuron5:0");
    assert_eq!(answer["entries"][0]["rank"], 1);
    assert_eq!(answer["entries"][0]["target"], "0000:57:00.0");
    assert_eq!(answer["entries"][0]["evidence"]["by"], "table");
    assert_eq!(answer["entries"][1]["evidence"]["proximity"]["kind"], "same_switch");
    assert_eq!(answer["entries"].as_array().unwrap().len(), 16);
}

#[test]
fn tie_is_printed_as_a_tie() {
    let text = stdout(&["near", "neuron5", "--by-place", "--instance", "trn2.48xlarge"]);
    assert!(text.contains("2 interfaces are equally near: a tie at rank 1."), "{text}");
    assert!(!text.contains("table"), "{text}");
}

#[test]
fn host_without_devices_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().to_str().unwrap();
    let text = stdout(&["list", "--root", root]);
    assert!(text.contains("no Neuron device, no EFA interface"), "{text}");
    assert!(text.contains("sys/bus/pci/devices is missing or empty"), "{text}");

    let text = stdout(&["topo", "--instance", "m7i.large"]);
    assert!(text.contains("by its table, m7i.large has none"), "{text}");

    let other = dir.path().join("sys/bus/pci/devices/0000:00:05.0");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("uevent"), "PCI_CLASS=20000\nPCI_ID=1D0F:EC20\n").unwrap();
    let text = stdout(&["list", "--root", root]);
    assert!(text.contains("of the functions on PCI (1) none is a Neuron device"), "{text}");

    fs::write(other.join("uevent"), "DRIVER=vfio-pci\nPCI_CLASS=120000\nPCI_ID=1D0F:7364\n").unwrap();
    let text = stdout(&["list", "--root", root]);
    assert!(text.contains("has none of the Neuron functions on PCI (1): is the module neuron loaded?"), "{text}");
    assert!(text.contains("Bound to: vfio-pci"), "{text}");
}

#[test]
fn exit_status_tells_failure_wrong_usage_and_nothing_found() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().to_str().unwrap();
    let full = ["--instance", "inf2.xlarge"];
    let status = |arguments: &[&str], host: [&str; 2]| nearfab(&[arguments, &host].concat()).status;
    for command in [&["list"][..], &["topo"], &["topo", "matrix"], &["topo", "links"], &["list", "-o", "json"]] {
        assert_eq!(status(command, ["--root", empty]), 0, "{command:?}");
        assert_eq!(status(&[command, &["--require"]].concat(), ["--root", empty]), 3, "{command:?}");
        assert_eq!(status(&[command, &["--require"]].concat(), full), 0, "{command:?}");
    }
    assert_eq!(status(&["near", "neuron0"], ["--root", empty]), 1);
    assert_eq!(status(&["near", "neuron0", "--require"], ["--root", empty]), 3);
    assert_eq!(status(&["near", "neuron7", "--require"], full), 1, "the host has other devices");
    assert_eq!(status(&["list", "--processes"], full), 2, "without --probe");
    assert_eq!(status(&["list", "--probe"], full), 1, "a table has no driver");
}

/// `--host` skips the members that are not of the host.
#[test]
fn recorded_host_with_a_probe_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let recorded = stdout(&["list", "-o", "json", "--instance", "trn2.48xlarge"]);
    let mut record: serde_json::Value = serde_json::from_str(&recorded).unwrap();
    record["probe"] = serde_json::from_str(include_str!("../../../src/types/probe/example.json")).unwrap();
    let file = dir.path().join("host.json");
    fs::write(&file, record.to_string()).unwrap();
    assert_eq!(stdout(&["list", "-o", "json", "--host", file.to_str().unwrap()]), recorded);
}

/// One interface that the table pairs is not attached, and one has no RDMA device.
#[test]
fn missing_and_unusable_interfaces_are_named() {
    let dir = tempfile::tempdir().unwrap();
    tree("trn2.48xlarge", dir.path());
    let root = dir.path().to_str().unwrap();
    for gone in ["bus/pci/devices/0000:57:00.0", "class/infiniband/rdmap87s0", "class/infiniband_verbs/uverbs1"] {
        fs::remove_file(dir.path().join("sys").join(gone)).unwrap();
    }
    for gone in ["class/infiniband/rdmap86s0", "class/infiniband_verbs/uverbs0"] {
        fs::remove_file(dir.path().join("sys").join(gone)).unwrap();
    }
    let text = stdout(&["near", "neuron5", "--root", root]);
    assert!(text.contains("The table pairs neuron5 with 0000:57:00.0, which this host does not have"), "{text}");
    let text = stdout(&["list", "--root", root]);
    assert!(text.contains("0000:56:00.0 has no RDMA device: it is bound to efa"), "{text}");
    let line = "NEAR EFA by: table trn2.48xlarge, except neuron5 (same PCIe switch)";
    assert!(text.contains(line), "{text}");
}

#[test]
fn errors_name_what_was_expected() {
    let failure = |arguments: &[&str]| error(1, arguments);
    assert!(failure(&["list", "--instance", "trn9"]).contains("there are tables for: c7gn.16xlarge, g5.48xlarge, "));
    let foreign = failure(&["near", "0000:00:00.0", "--instance", "trn2.48xlarge"]);
    assert!(foreign.contains("no EFA interface, Neuron device or GPU at 0000:00:00.0; it has 0000:cc:00.0, "));
    assert!(
        failure(&["near", "nc64", "--instance", "trn2.48xlarge"])
            .contains("no logical core nc64; it has nc0 to nc63")
    );
    assert!(failure(&["near", "eth0", "--instance", "trn2.48xlarge"]).contains("a core (neuron5:0)"));
    assert!(failure(&["list", "--root", "/nowhere"]).contains("cannot read /nowhere: "));
    assert!(failure(&["list", "--host", "/etc/hostname"]).contains("/etc/hostname is not a recorded host"));
}
