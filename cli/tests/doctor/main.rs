//! What the doctor finds on hosts with one thing wrong, and says of hosts with none and with many.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod defects;
mod texts;
mod trees;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use defects::{DEFECTS, Defect, NOT_OF_TREES, without_efa, without_rdma};
use nearfab::instances::tables;
use serde_json::Value;
use trees::{NEARFAB, doctor_of_process, ids, limit, remove, set, stdout, tree, write};

#[test]
fn each_defect_is_found_and_a_sound_host_has_none() {
    let sound = tree("trn2.48xlarge");
    let report = doctor_of_process(sound.path());
    assert_eq!(ids(&report), [""; 0]);
    let mut left: BTreeSet<&str> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|check| check["finds"].as_array().unwrap())
        .map(|id| id.as_str().unwrap())
        .collect();
    let all = left.clone();
    for Defect { id, severity, instance_type, make } in DEFECTS {
        let tree = tree(instance_type);
        make(tree.path());
        let report = doctor_of_process(tree.path());
        let finding = report["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == *id);
        let finding = finding.unwrap_or_else(|| panic!("{id} is not among {:?}", ids(&report)));
        assert_eq!(finding["severity"], *severity, "{finding}");
        left.remove(id);
    }
    assert_eq!(left.into_iter().collect::<Vec<_>>(), NOT_OF_TREES, "each other one has a defect here");
    for finding in ids(&report) {
        assert!(all.contains(finding));
    }
}

#[test]
fn refused_nodes_are_found() {
    let tree = tree("p6-b200.48xlarge");
    let neuron = self::tree("trn2.48xlarge");
    let close = |root: &Path, node: &str| fs::set_permissions(root.join(node), Permissions::from_mode(0o000)).unwrap();
    for root in [tree.path(), neuron.path()] {
        fs::set_permissions(root, Permissions::from_mode(0o755)).unwrap();
    }
    close(tree.path(), "dev/infiniband/uverbs0"); // ibp115s0f0
    close(tree.path(), "dev/infiniband/uverbs2"); // the first EFA interface
    close(neuron.path(), "dev/neuron3");
    for (root, expected) in [
        (tree.path(), &[("efa-node-refused", "warning"), ("rdma-foreign-refused", "problem")][..]),
        (neuron.path(), &[("neuron-node-refused", "warning")]),
    ] {
        let report: Value = serde_json::from_str(&as_nobody(root)).unwrap();
        for (id, severity) in expected {
            let finding = report["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == *id);
            assert_eq!(finding.unwrap()["severity"], *severity);
        }
    }
    // Told to leave the others alone, libfabric does.
    set(tree.path(), &format!("FI_EFA_IFACE={}", efa_name(tree.path())));
    let report = doctor_of_process(tree.path());
    let foreign =
        report["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == "rdma-foreign").unwrap();
    assert_eq!(foreign["severity"], "note");
}

fn efa_name(root: &Path) -> String {
    nearfab::Host::from_root(root).unwrap().efa()[0].rdma.clone().unwrap()
}

/// `nearfab doctor -o json` on a tree, as a user who is not root.
fn as_nobody(root: &Path) -> String {
    let mut command = if nix::unistd::geteuid().is_root() {
        let program = root.join("nearfab");
        fs::copy(NEARFAB, &program).unwrap();
        let mut command = Command::new(program);
        command.uid(65534).gid(65534);
        command
    } else {
        Command::new(NEARFAB)
    };
    let output = command.args(["doctor", "-o", "json", "--root"]).arg(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_explains_a_finding_is_told_with_it() {
    let tree = tree("trn2.48xlarge");
    write(tree.path(), ".dockerenv", "");
    write(tree.path(), "sys/module/ib_core/parameters/netns_mode", "N\n");
    without_rdma(tree.path());
    for node in ["dev/neuron15", "dev/infiniband/uverbs3"] {
        remove(tree.path(), node);
    }
    let report = doctor_of_process(tree.path());
    let seen = |id: &str| {
        let finding = report["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == id);
        finding.unwrap()["seen"].as_str().unwrap().to_owned()
    };
    assert_eq!(seen("neuron-node-missing"), "1 of 16: no node in /dev; this is a container (/.dockerenv)");
    assert_eq!(seen("efa-node-missing"), "1 of 16: no node in /dev/infiniband; this is a container (/.dockerenv)");
    assert_eq!(
        seen("efa-no-rdma-device"),
        "nothing in sys/class/infiniband, and RDMA devices belong to one network namespace each"
    );
}

/// What programs read is as the reference says, with and without findings.
#[test]
fn json_is_of_the_schema() {
    let schema = schema(include_str!("../../../docs/reference/schema/doctor.json"));
    let bad = tree("trn2.48xlarge");
    without_efa(bad.path());
    limit(bad.path(), "65536");
    let table = stdout(&["doctor", "-o", "json", "--instance", "p5.48xlarge"]);
    for report in [doctor_of_process(bad.path()), serde_json::from_str(&table).unwrap()] {
        assert_eq!(errors(&schema, &report), [""; 0]);
    }
    let mut odd = doctor_of_process(bad.path());
    odd["findings"][0]["severity"] = "fatal".into();
    assert!(!schema.is_valid(&odd));
}

#[test]
fn records_are_of_the_schema() {
    let text = include_str!("../../../docs/reference/schema/record.json");
    let schema = schema(text);
    let tree = tree("trn2.48xlarge");
    for arguments in [&["record"][..], &["record", "--redact"], &["record", "--root", tree.path().to_str().unwrap()]] {
        let mut record: Value = serde_json::from_str(&stdout(arguments)).unwrap();
        assert_eq!(errors(&schema, &record), [""; 0]);
        // Each member is described.
        for name in record["system"].as_object().unwrap().keys() {
            assert!(text.contains(&format!("\"{name}\": {{")), "{name}");
        }
        record["system"].as_object_mut().unwrap().remove("kernel");
        assert_eq!(errors(&schema, &record).len(), 1);
    }
}

fn schema(text: &str) -> jsonschema::Validator {
    jsonschema::validator_for(&serde_json::from_str(text).unwrap()).unwrap()
}

fn errors(schema: &jsonschema::Validator, document: &Value) -> Vec<String> {
    schema.iter_errors(document).map(|error| error.to_string()).collect()
}

/// The same text from a tree and from its record, for every instance and defect.
#[test]
fn a_record_gives_the_same_text_as_its_tree() {
    let mut trees: Vec<tempfile::TempDir> = tables().iter().map(|table| tree(table.instance_type)).collect();
    for Defect { instance_type, make, .. } in DEFECTS {
        let tree = tree(instance_type);
        make(tree.path());
        trees.push(tree);
    }
    for tree in trees {
        let root = tree.path().to_str().unwrap();
        let file = tree.path().join("record.json");
        let file = file.to_str().unwrap();
        stdout(&["record", file, "--root", root]);
        for output in ["table", "json"] {
            let of_tree = stdout(&["doctor", "-o", output, "--root", root]);
            assert_eq!(stdout(&["doctor", "-o", output, "--host", file]), of_tree);
        }
    }
}

#[test]
fn a_record_of_the_host_alone_says_what_was_not_checked() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("host.json");
    let root = tree("trn2.48xlarge");
    fs::write(&file, stdout(&["list", "-o", "json", "--root", root.path().to_str().unwrap()])).unwrap();
    let text = stdout(&["doctor", "--host", file.to_str().unwrap()]);
    assert!(text.contains("Not checked (this record has the host alone: make one with nearfab record): "), "{text}");
    let output =
        Command::new(NEARFAB).args(["doctor", "--pid", "1", "--host", file.to_str().unwrap()]).output().unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("processes are read from a machine or a tree"), "{text}");
}

#[test]
fn a_redacted_record_has_the_same_findings() {
    let tree = tree("p6-b200.48xlarge");
    let root = tree.path().to_str().unwrap();
    let file = tree.path().join("redacted.json");
    let file = file.to_str().unwrap();
    stdout(&["record", file, "--redact", "--root", root]);
    let of = |arguments: &[&str]| -> Value { serde_json::from_str(&stdout(arguments)).unwrap() };
    let (redacted, plain) =
        (of(&["doctor", "-o", "json", "--host", file]), of(&["doctor", "-o", "json", "--root", root]));
    assert_eq!(redacted, plain);
    // A record is redacted later as well, and standard output will do.
    let again = stdout(&["record", "--redact", "--host", file]);
    assert!(!again.contains(root) && again.contains("\"redacted\": true"));
}

#[test]
fn a_record_of_the_past_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("record.json");
    fs::write(&file, "dear").unwrap();
    let output = Command::new(NEARFAB).args(["record", "--instance", "trn2.48xlarge"]).arg(&file).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("record.json: File exists"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "dear");
}

/// A real process with two libfabrics, on the live machine.
#[test]
fn two_libfabrics_in_a_process_are_told() {
    let Some(installed) = libfabric() else {
        return nearfab_emu::skipped("two libfabrics", "libfabric1 is not installed");
    };
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("libfabric-1a2b3c4d.so.1.25.0");
    fs::copy(&installed, &copy).unwrap();
    let script = "import ctypes, sys\nfor path in sys.argv[1:]: ctypes.CDLL(path)\nprint(flush=True)\nsys.stdin.read()";
    let mut python = Command::new("python3");
    python.args(["-c", script]).args([&installed, &copy]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut process) = python.spawn() else {
        return nearfab_emu::skipped("two libfabrics", "python3 is not installed");
    };
    process.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
    let report: Value =
        serde_json::from_str(&stdout(&["doctor", "-o", "json", "--pid", &process.id().to_string()])).unwrap();
    process.stdin.take().unwrap().flush().unwrap();
    process.wait().unwrap();
    let findings = report["findings"].as_array().unwrap();
    let twice = findings.iter().find(|finding| finding["id"] == "library-mapped-twice").unwrap();
    let seen = twice["seen"].as_str().unwrap();
    assert!(seen.contains(installed.to_str().unwrap()) && seen.contains(copy.to_str().unwrap()), "{seen}");
}

fn libfabric() -> Option<PathBuf> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"];
    folders.iter().find_map(|folder| fs::canonicalize(format!("{folder}/libfabric.so.1")).ok())
}
