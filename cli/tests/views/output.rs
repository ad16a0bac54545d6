//! Exit statuses, errors, and JSON that nearfab reads back.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

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
    assert!(text.contains("according to its table, m7i.large has no Neuron device and no EFA interface"), "{text}");

    let other = dir.path().join("sys/bus/pci/devices/0000:00:05.0");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("uevent"), "PCI_CLASS=20000\nPCI_ID=1D0F:EC20\n").unwrap();
    let text = stdout(&["list", "--root", root]);
    assert!(text.contains("none of the functions on PCI (1) is a Neuron device"), "{text}");

    fs::write(other.join("uevent"), "DRIVER=vfio-pci\nPCI_CLASS=120000\nPCI_ID=1D0F:7364\n").unwrap();
    let text = stdout(&["list", "--root", root]);
    assert!(text.contains("is bound to none of the Neuron functions on PCI (1): load the module neuron"), "{text}");
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
    assert_eq!(status(&["list", "--probe"], full), 2, "a table has no driver");
}

/// `--host` skips the members that do not belong to the host.
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

/// One interface that the table pairs is not attached, and another interface has no RDMA device.
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
    let refused = text.lines().find(|line| line.starts_with("0000:56:00.0")).unwrap();
    assert!(refused.ends_with("no RDMA device"), "{text}");
    let line = "NEAR EFA by: table trn2.48xlarge, except neuron5 (same PCIe switch)";
    assert!(text.contains(line), "{text}");
}

#[test]
fn errors_name_what_was_expected() {
    let failure = |arguments: &[&str]| error(1, arguments);
    assert!(
        failure(&["list", "--instance", "trn9"])
            .contains("there are tables for: c5n.18xlarge, c7gn.16xlarge, g5.48xlarge, ")
    );
    let foreign = failure(&["near", "0000:00:00.0", "--instance", "trn2.48xlarge"]);
    assert!(foreign.contains("no EFA interface, Neuron device or GPU at 0000:00:00.0; it has 0000:cc:00.0, "));
    assert!(
        failure(&["near", "nc64", "--instance", "trn2.48xlarge"]).contains("no logical core nc64; it has nc0 to nc63")
    );
    assert!(failure(&["near", "eth0", "--instance", "trn2.48xlarge"]).contains("a core (neuron5:0 or 5:0)"));
    assert!(failure(&["list", "--root", "/nowhere"]).contains("cannot read /nowhere: "));
    assert!(failure(&["list", "--host", "/etc/hostname"]).contains("/etc/hostname is not a recorded host"));
}

/// Each command that cannot print the form that `--output` asks for refuses the option.
#[test]
fn forms_that_a_command_does_not_have_are_refused() {
    for (arguments, words) in [
        (
            &["plan", "-n", "16", "--export", "3", "-o", "wide"][..],
            "nearfab plan --export prints shell commands or JSON",
        ),
        (
            &["run", "-n", "4", "--dry-run", "-o", "table", "--", "true"],
            "nearfab run --dry-run prints shell commands or JSON",
        ),
        (&["-o", "wide", "run", "-n", "4", "--", "true"], "give --output to that command, after --"),
        (&["-o", "json", "rails", "--for", "ucx"], "nearfab rails --for prints what one program reads"),
        (&["rails", "--for", "mooncake", "-o", "json"], "nearfab rails --for prints what one program reads"),
        (&["bind", "-o", "table", "--", "true"], "give --output to that command, after --"),
        (&["record", "-o", "table"], "nearfab record writes JSON only"),
        (&["record", "-o", "wide"], "nearfab record writes JSON only"),
        (&["completions", "bash", "-o", "json"], "a script for a shell only"),
    ] {
        let message = error(2, arguments);
        assert!(message.contains(words), "{arguments:?}: {message}");
    }
    assert!(stdout(&["record", "-o", "json", "--instance", "inf2.xlarge"]).starts_with('{'));
}

/// A record with a path that JSON cannot hold is complete, or is not written at all.
#[test]
fn record_of_a_root_that_is_not_utf8_is_complete_or_absent() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join(OsStr::from_bytes(b"tree\xff"));
    tree("inf2.xlarge", &root);
    let file = dir.path().join("host.json");
    for command in [&["record", file.to_str().unwrap()][..], &["record"], &["list", "-o", "json"]] {
        let mut arguments: Vec<&OsStr> = command.iter().map(OsStr::new).collect();
        arguments.extend([OsStr::new("--root"), root.as_os_str()]);
        let (mut written, mut errors) = (Vec::new(), Vec::new());
        let status = nearfab_cli::run(arguments, &mut written, &mut errors);
        let errors = String::from_utf8(errors).unwrap();
        let text = match fs::read(&file) {
            Ok(recorded) if command.len() == 2 => recorded,
            _ => written,
        };
        if status == 0 {
            assert_eq!(
                Host::from_json(&String::from_utf8(text).unwrap()).unwrap().neuron_devices().len(),
                1,
                "{command:?}"
            );
        } else {
            assert_eq!((text, file.exists()), (Vec::new(), false), "{command:?}");
            assert!(errors.contains("UTF-8"), "{errors}");
        }
    }
}

/// A GB200 has one NUMA node for each part of each GPU's memory: most have neither CPUs nor devices.
#[test]
fn topo_leaves_out_numa_nodes_without_cpus_and_devices() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("tree");
    tree("p5.48xlarge", &root);
    let nodes = root.join("sys/devices/system/node");
    for node in [2, 3] {
        fs::create_dir(nodes.join(format!("node{node}"))).unwrap();
        fs::write(nodes.join(format!("node{node}/cpulist")), "\n").unwrap();
    }
    for file in ["online", "possible", "has_memory"] {
        if nodes.join(file).exists() {
            fs::remove_file(nodes.join(file)).unwrap();
            fs::write(nodes.join(file), "0-3\n").unwrap();
        }
    }
    let root = root.to_str().unwrap();
    let text = stdout(&["topo", "--root", root]);
    assert!(text.contains("\nNUMA node 1 ") && !text.contains("\nNUMA node 2"), "{text}");
    assert!(text.contains("\nNot shown: 2 NUMA nodes without CPUs and devices.\n"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&stdout(&["topo", "-o", "json", "--root", root])).unwrap();
    assert_eq!(json["numa"].as_array().unwrap().len(), 4, "JSON has all nodes");
}

/// Programs other than `nearfab` cannot start ranks with this library.
#[test]
fn library_starts_no_process() {
    for arguments in [&["run", "-n", "1", "--", "true"][..], &["bind", "-n", "1", "--", "true"]] {
        let message = error(1, arguments);
        assert!(message.contains("call the program nearfab"), "{message}");
    }
}
