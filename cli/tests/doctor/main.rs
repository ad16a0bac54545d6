//! The findings of the doctor on hosts with one problem, without a problem and with many.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod defects;
#[path = "../support/mod.rs"]
mod support;
mod texts;
mod trees;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use defects::{DEFECTS, Defect, HARMLESS, Harmless, WITHOUT_DEFECT, without_efa, without_rdma};
use nearfab::instances::tables;
use serde_json::Value;
use support::{error, stdout};
use trees::{doctor_of_process, ids, limit, remove, set, tree, write};

/// The program, for a test that runs it as another user.
const NEARFAB: &str = env!("CARGO_BIN_EXE_nearfab");

#[test]
fn each_defect_is_found_and_a_healthy_host_has_none() {
    let healthy = tree("trn2.48xlarge");
    let report = doctor_of_process(healthy.path());
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
    assert_eq!(left.into_iter().collect::<Vec<_>>(), WITHOUT_DEFECT, "every other finding has a defect");
    for finding in ids(&report) {
        assert!(all.contains(finding));
    }
}

#[test]
fn hosts_that_just_do_not_have_a_problem_have_no_finding() {
    for Harmless { id, instance_type, make } in HARMLESS {
        let tree = tree(instance_type);
        make(tree.path());
        let report = doctor_of_process(tree.path());
        assert!(!ids(&report).contains(id), "{id} on {instance_type}");
    }
}

/// Notes say what is good to know, such as NUMA nodes that the firmware does not report.
#[test]
fn healthy_hosts_of_all_types_have_neither_problem_nor_warning() {
    let mut types = 0;
    for table in tables() {
        let tree = tree(table.instance_type);
        let report = doctor_of_process(tree.path());
        let is_worse = |finding: &&Value| finding["severity"] != "note";
        let found: Vec<&Value> = report["findings"].as_array().unwrap().iter().filter(is_worse).collect();
        // Some types have RDMA devices that are not EFA interfaces, and a container may refuse them.
        let expected: &[&str] = if table.foreign.is_empty() { &[] } else { &["rdma-foreign"] };
        let found: Vec<&str> = found.iter().map(|finding| finding["id"].as_str().unwrap()).collect();
        assert_eq!(found, expected, "{}", table.instance_type);
        types += 1;
    }
    assert!(types >= 20, "{types} instance types");
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
    // With FI_EFA_IFACE, libfabric opens no other device.
    set(tree.path(), &format!("FI_EFA_IFACE={}", efa_name(tree.path())));
    let report = doctor_of_process(tree.path());
    let foreign =
        report["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == "rdma-foreign").unwrap();
    assert_eq!(foreign["severity"], "note");
}

fn efa_name(root: &Path) -> String {
    nearfab::Host::from_root(root).unwrap().efa_interfaces()[0].rdma.clone().unwrap()
}

/// Returns the output of `nearfab doctor -o json` for a tree, run by a user who is not root.
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
fn findings_name_the_container_and_the_namespaces() {
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
        "no device in sys/class/infiniband; each RDMA device belongs to one network namespace"
    );
}

/// With and without findings.
#[test]
fn json_is_valid_by_its_schema() {
    let schema = schema(include_str!("../../../docs/reference/schema/doctor.json"));
    let bad = tree("trn2.48xlarge");
    without_efa(bad.path());
    limit(bad.path(), "65536");
    let table = support::nearfab(&["doctor", "-o", "json", "--instance", "p5.48xlarge"]);
    assert_eq!(table.status, 1);
    for report in [doctor_of_process(bad.path()), serde_json::from_str(&table.stdout).unwrap()] {
        assert_eq!(errors(&schema, &report), [""; 0]);
    }
    let mut odd = doctor_of_process(bad.path());
    odd["findings"][0]["severity"] = "fatal".into();
    assert!(!schema.is_valid(&odd));
}

#[test]
fn health_is_valid_by_its_schema_and_fails_on_request() {
    let schema = schema(include_str!("../../../docs/reference/schema/health.json"));
    let tree = tree("trn2.48xlarge");
    let root = tree.path().to_str().unwrap();
    let health = |arguments: &[&str]| {
        let output = support::nearfab(&[&["health", "--root", root], arguments].concat());
        (output.status, output.stdout)
    };
    let json = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
    let (status, text) = health(&["--fail", "-o", "json"]);
    assert_eq!((status, errors(&schema, &json(&text))), (0, Vec::new()));
    write(tree.path(), "sys/class/neuron_device/neuron3/stats/hardware/mem_ecc_uncorrected", "1\n");
    let (status, text) = health(&["--fail", "-o", "json"]);
    assert_eq!((status, errors(&schema, &json(&text))), (4, Vec::new()));
    assert_eq!(json(&text)["findings"][0]["id"], "neuron-unhealthy");
    assert_eq!(health(&[]).0, 0);
    // A record has the health and no counters of EFA interfaces.
    let file = tree.path().join("record.json");
    let file = file.to_str().unwrap();
    stdout(&["record", file, "--root", root]);
    let recorded = support::nearfab(&["health", "--fail", "-o", "json", "--host", file]);
    assert_eq!((recorded.status, errors(&schema, &json(&recorded.stdout))), (4, Vec::new()));
    let text = error(2, &["health", "--instance", "trn2.48xlarge"]);
    assert!(text.contains("reads the state of devices on this machine, and --instance names another host"), "{text}");
}

#[test]
fn records_are_valid_by_their_schema() {
    let text = include_str!("../../../docs/reference/schema/record.json");
    let schema = schema(text);
    let tree = tree("trn2.48xlarge");
    for arguments in [&["record"][..], &["record", "--redact"], &["record", "--root", tree.path().to_str().unwrap()]] {
        let mut record: Value = serde_json::from_str(&stdout(arguments)).unwrap();
        assert_eq!(errors(&schema, &record), [""; 0]);
        // Each member has a description.
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

/// For every instance type and every defect.
#[test]
fn record_gives_the_same_report_as_its_tree() {
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
fn report_about_a_host_without_its_system_names_the_checks_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("host.json");
    let root = tree("trn2.48xlarge");
    fs::write(&file, stdout(&["list", "-o", "json", "--root", root.path().to_str().unwrap()])).unwrap();
    let text = stdout(&["doctor", "--host", file.to_str().unwrap()]);
    assert!(
        text.contains("Not possible (this file has the host without its system: make one with nearfab record): "),
        "{text}"
    );
    let text = error(2, &["doctor", "--pid", "1", "--host", file.to_str().unwrap()]);
    assert!(text.contains("reads a process on this machine, and --host names another host"), "{text}");
}

#[test]
fn redacted_record_has_the_same_findings() {
    let tree = tree("p6-b200.48xlarge");
    let root = tree.path().to_str().unwrap();
    let file = tree.path().join("redacted.json");
    let file = file.to_str().unwrap();
    stdout(&["record", file, "--redact", "--root", root]);
    let of = |arguments: &[&str]| -> Value { serde_json::from_str(&stdout(arguments)).unwrap() };
    let (redacted, plain) =
        (of(&["doctor", "-o", "json", "--host", file]), of(&["doctor", "-o", "json", "--root", root]));
    assert_eq!(redacted, plain);
    // A record can also be redacted later, to standard output.
    let again = stdout(&["record", "--redact", "--host", file]);
    assert!(!again.contains(root) && again.contains("\"redacted\": true"));
}

#[test]
fn existing_record_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("record.json");
    fs::write(&file, "dear").unwrap();
    let text = error(1, &["record", "--instance", "trn2.48xlarge", file.to_str().unwrap()]);
    assert!(text.contains("record.json: File exists"), "{text}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "dear");
}

/// A real process with two libfabrics, on the live machine.
#[test]
fn two_libfabrics_in_a_process_are_found() {
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
