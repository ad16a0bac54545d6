//! What people and programs read: the console blocks of README.md are real, JSON comes back as the same host, errors
//! say what to do.

use std::fs;

use nearfab::Host;

use crate::hosts::{nearfab, stdout, tree};

#[test]
fn readme_shows_real_output() {
    trycmd::TestCases::new().case("../README.md");
}

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
    assert!(text.contains("2 are equally near: a tie of rank 1."), "{text}");
    assert!(!text.contains("table"), "{text}");
}

#[test]
fn empty_host_is_no_failure_and_says_why() {
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
fn status_tells_what_happened() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().to_str().unwrap();
    let full = ["--instance", "inf2.xlarge"];
    let status = |arguments: &[&str], host: [&str; 2]| nearfab(&[arguments, &host].concat()).status.code();
    for command in [&["list"][..], &["topo"], &["topo", "matrix"], &["topo", "links"], &["list", "-o", "json"]] {
        assert_eq!(status(command, ["--root", empty]), Some(0), "{command:?}");
        assert_eq!(status(&[command, &["--require"]].concat(), ["--root", empty]), Some(3), "{command:?}");
        assert_eq!(status(&[command, &["--require"]].concat(), full), Some(0), "{command:?}");
    }
    assert_eq!(status(&["near", "neuron0"], ["--root", empty]), Some(1));
    assert_eq!(status(&["near", "neuron0", "--require"], ["--root", empty]), Some(3));
    assert_eq!(status(&["near", "neuron7", "--require"], full), Some(1), "it has something else");
    assert_eq!(status(&["list", "--processes"], full), Some(2), "without --probe");
    assert_eq!(status(&["list", "--probe"], full), Some(1), "a table has no driver");
}

/// What it prints of the devices is the same with and without, so that `--host` reads both.
#[test]
fn recorded_host_with_more_beside_it_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let recorded = stdout(&["list", "-o", "json", "--instance", "trn2.48xlarge"]);
    let mut record: serde_json::Value = serde_json::from_str(&recorded).unwrap();
    record["probe"] = serde_json::from_str(include_str!("../../../src/types/probe/example.json")).unwrap();
    let file = dir.path().join("host.json");
    fs::write(&file, record.to_string()).unwrap();
    assert_eq!(stdout(&["list", "-o", "json", "--host", file.to_str().unwrap()]), recorded);
}

/// An interface that the table pairs and that is not attached, one without a driver, one that others have the name of.
#[test]
fn missing_and_unusable_interfaces_are_said() {
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
    let by = "NEAR EFA by: table trn2.48xlarge, but same PCIe switch of neuron5";
    assert!(text.contains(by), "{text}");
}

#[test]
fn errors_say_what_was_expected() {
    let complaint = |arguments: &[&str]| {
        let output = nearfab(arguments);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(complaint(&["list", "--instance", "trn9"]).contains("there are tables for: c7gn.16xlarge, g5.48xlarge, "));
    let foreign = complaint(&["near", "0000:00:00.0", "--instance", "trn2.48xlarge"]);
    assert!(foreign.contains("no EFA interface, Neuron device or GPU at 0000:00:00.0; it has 0000:cc:00.0, "));
    assert!(
        complaint(&["near", "nc64", "--instance", "trn2.48xlarge"])
            .contains("no logical core nc64; it has nc0 to nc63")
    );
    assert!(complaint(&["near", "eth0", "--instance", "trn2.48xlarge"]).contains("a core (neuron5:0)"));
    assert!(complaint(&["list", "--root", "/nowhere"]).contains("cannot read /nowhere: "));
    assert!(complaint(&["list", "--host", "/etc/hostname"]).contains("/etc/hostname is not a recorded host"));
}
