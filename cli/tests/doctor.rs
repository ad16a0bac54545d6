//! What the doctor finds on hosts with one thing wrong, and says of hosts with none and with many.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nearfab::instances::{InstanceTable, tables};
use serde_json::{Value, json};
use snapbox::{assert_data_eq, file};

const NEARFAB: &str = env!("CARGO_BIN_EXE_nearfab");
const PID: &str = "4711";

fn tree(instance_type: &str) -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    nearfab_emu::write_tree(InstanceTable::find(instance_type).unwrap(), dir.path()).unwrap();
    // A process as it should be.
    write(dir.path(), "proc/4711/comm", "python3\n");
    limit(dir.path(), "unlimited");
    write(dir.path(), "proc/4711/status", "CapEff:\t0000000000000000\n");
    write(dir.path(), "proc/4711/maps", "");
    variables(dir.path(), &["PATH=/opt/aws/neuron/bin:/usr/bin"]);
    dir
}

fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn remove(root: &Path, path: &str) {
    fs::remove_file(root.join(path)).unwrap();
}

fn limit(root: &Path, bytes: &str) {
    write(root, "proc/4711/limits", &format!("Max locked memory         {bytes:<20} {bytes:<20} bytes\n"));
}

fn variables(root: &Path, variables: &[&str]) {
    write(root, "proc/4711/environ", &variables.join("\0"));
}

fn set(root: &Path, variable: &str) {
    variables(root, &["PATH=/opt/aws/neuron/bin:/usr/bin", variable]);
}

/// Binds a function to another driver.
fn bind_elsewhere(root: &Path, address: &str) {
    let path = root.join(format!("sys/bus/pci/devices/{address}/uevent"));
    let text = fs::read_to_string(&path).unwrap();
    let bound = text.lines().find(|line| line.starts_with("DRIVER=")).unwrap();
    fs::write(&path, text.replace(bound, "DRIVER=vfio-pci")).unwrap();
}

fn stdout(arguments: &[&str]) -> String {
    let output = Command::new(NEARFAB).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn doctor_of_process(root: &Path) -> Value {
    let text = stdout(&["doctor", "-o", "json", "--pid", PID, "--root", root.to_str().unwrap()]);
    serde_json::from_str(&text).unwrap()
}

fn ids(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["id"].as_str().unwrap()).collect()
}

/// A tree, what is done to it, and what is then found.
struct Defect {
    id: &'static str,
    severity: &'static str,
    instance_type: &'static str,
    make: fn(&Path),
}

const fn on_trn2(id: &'static str, severity: &'static str, make: fn(&Path)) -> Defect {
    Defect { id, severity, instance_type: "trn2.48xlarge", make }
}

const LIBFABRIC: &str = "7f00-7f01 r-xp 0 103:01 7  /opt/amazon/efa/lib64/libfabric.so.1.32.0\n";
const EFA_RDMA: &str = "sys/class/infiniband/rdmap201s0";

const DEFECTS: &[Defect] = &[
    on_trn2("efa-no-driver", "problem", |root| {
        bind_elsewhere(root, "0000:c9:00.0");
        without_rdma(root);
    }),
    on_trn2("efa-no-rdma-device", "problem", without_rdma),
    on_trn2("efa-no-verbs-node", "problem", |root| {
        let verbs = root.join("sys/class/infiniband_verbs");
        fs::remove_dir_all(verbs).unwrap();
    }),
    on_trn2("efa-node-missing", "warning", |root| remove(root, "dev/infiniband/uverbs3")),
    on_trn2("efa-node-missing", "problem", |root| fs::remove_dir_all(root.join("dev/infiniband")).unwrap()),
    on_trn2("efa-port-not-active", "problem", |root| {
        write(root, "sys/class/infiniband/rdmap202s0/ports/1/state", "1: DOWN\n")
    }),
    on_trn2("efa-not-all-attached", "note", without_efa),
    on_trn2("neuron-pair-missing", "note", without_efa),
    Defect { id: "rdma-foreign", severity: "warning", instance_type: "p6-b200.48xlarge", make: |_| {} },
    on_trn2("rdma-namespaces-exclusive", "warning", |root| {
        write(root, "sys/module/ib_core/parameters/netns_mode", "N\n");
    }),
    on_trn2("memlock-low", "problem", |root| limit(root, "65536")),
    on_trn2("memlock-low", "problem", |root| limit(root, "8388608")),
    on_trn2("memlock-low", "warning", |root| limit(root, "8589934592")),
    on_trn2("memlock-low", "note", |root| {
        limit(root, "65536");
        write(root, "proc/4711/status", "CapEff:\t000001ffffffffff\n");
    }),
    on_trn2("huge-pages-none", "note", |root| huge_pages(root, 0, 0)),
    on_trn2("huge-pages-used-up", "warning", |root| huge_pages(root, 5128, 0)),
    on_trn2("fork-unsafe", "warning", |root| {
        write(root, "proc/sys/kernel/osrelease", "5.10.240-238.955.amzn2.x86_64\n")
    }),
    on_trn2("ptrace-protected", "note", |root| write(root, "proc/sys/kernel/yama/ptrace_scope", "1\n")),
    on_trn2("neuron-no-driver", "problem", |root| {
        bind_elsewhere(root, "0000:cc:00.0");
        remove(root, "sys/class/neuron_device/neuron0");
    }),
    on_trn2("neuron-fewer-than-type", "warning", |root| remove(root, "sys/class/neuron_device/neuron0")),
    on_trn2("neuron-node-missing", "warning", |root| remove(root, "dev/neuron15")),
    on_trn2("neuron-node-missing", "problem", |root| {
        (0..16).for_each(|number| remove(root, &format!("dev/neuron{number}")));
    }),
    Defect { id: "numa-unknown", severity: "note", instance_type: "g5.48xlarge", make: |_| {} },
    on_trn2("neuron-ids-not-contiguous", "problem", |root| remove(root, "dev/neuron5")),
    on_trn2("ids-sorted-as-text", "problem", |root| set(root, "NEURON_RT_VISIBLE_CORES=0,1,10,11,2,3")),
    on_trn2("ids-sorted-as-text", "problem", |root| set(root, "AWS_NEURON_VISIBLE_DEVICES=0,1,10,2")),
    on_trn2("visible-cores-malformed", "problem", |root| set(root, "NEURON_RT_VISIBLE_CORES=0-3,8-11")),
    on_trn2("visible-cores-beyond", "problem", |root| set(root, "NEURON_RT_VISIBLE_CORES=0-127")),
    on_trn2("lnc-disagrees", "warning", |root| {
        variables(root, &["NEURON_LOGICAL_NC_CONFIG=1", "NEURON_RT_VIRTUAL_CORE_SIZE=2"]);
    }),
    on_trn2("runtime-too-old-for-driver", "problem", |root| runtime(root, "2.32.31.0")),
    on_trn2("driver-too-old-for-runtime", "problem", |root| {
        write(root, "sys/module/neuron/version", "2.26.5.0\n");
        write(root, "usr/src/aws-neuronx-2.26.5.0/x", "");
    }),
    Defect { id: "driver-without-inferentia1", severity: "problem", instance_type: "inf1.24xlarge", make: |_| {} },
    on_trn2("driver-does-not-build-on-kernel", "problem", |root| {
        write(root, "proc/sys/kernel/osrelease", "6.18.2-1.amzn2027.x86_64\n");
        write(root, "sys/module/neuron/version", "2.28.0.0\n");
    }),
    on_trn2("driver-not-reloaded", "warning", |root| write(root, "sys/module/neuron/version", "2.30.1.0\n")),
    on_trn2("libfabric-missing", "note", |root| fs::remove_dir_all(root.join("opt/amazon")).unwrap()),
    on_trn2("libfabric-several", "note", |root| write(root, "usr/lib64/libfabric.so.1.20.0", "")),
    on_trn2("runtime-missing", "note", |root| fs::remove_dir_all(root.join("opt/aws/neuron/lib")).unwrap()),
    on_trn2("collectives-missing", "warning", |root| remove(root, "opt/aws/neuron/lib/libnccom.so.2.34.10.0")),
    on_trn2("runtime-not-on-loader-path", "warning", |root| remove(root, "etc/ld.so.conf.d/aws-neuron.conf")),
    on_trn2("tools-not-on-path", "note", |root| variables(root, &["PATH=/usr/bin"])),
    on_trn2("library-mapped-twice", "problem", |root| {
        let other = "7f02-7f03 r-xp 0 103:01 8  /venv/x.libs/libfabric-1a2b3c4d.so.1.25.0\n";
        write(root, "proc/4711/maps", &format!("{LIBFABRIC}{other}"));
    }),
    on_trn2("library-replaced", "warning", |root| {
        write(root, "proc/4711/maps", &LIBFABRIC.replace('\n', " (deleted)\n"));
    }),
    on_trn2("environment-aborts", "problem", |root| set(root, "FI_EFA_MTU_SIZE=8760")),
    on_trn2("environment-aborts", "problem", |root| set(root, "FI_EFA_IFACE=")),
    on_trn2("environment-aborts", "problem", |root| set(root, "FI_EFA_TX_MIN_CREDITS=0")),
    on_trn2("environment-aborts", "problem", |root| {
        variables(root, &["PATH=/opt/aws/neuron/bin", "RDMAV_FORK_SAFE=1", "FI_EFA_USE_HUGE_PAGE=1"]);
    }),
    on_trn2("fi-provider-without-efa", "problem", |root| set(root, "FI_PROVIDER=eaf")),
    on_trn2("fi-provider-without-efa", "warning", |root| set(root, "FI_PROVIDER=tcp;ofi_rxm")),
    on_trn2("fi-provider-without-efa", "warning", |root| set(root, "FI_PROVIDER=^efa")),
    on_trn2("fi-efa-iface-unknown", "problem", |root| set(root, "FI_EFA_IFACE=efa_0")),
    on_trn2("fi-efa-iface-unknown", "warning", |root| set(root, "FI_EFA_IFACE=rdmap201s0,efa_0")),
    on_trn2("fi-efa-variable-unknown", "warning", |root| set(root, "FI_EFA_USE_DEVICE_RMDA=1")),
    on_trn2("variable-removed", "warning", |root| set(root, "NEURONCORE_GROUP_SIZES=1,2")),
    on_trn2("device-rdma-off", "warning", |root| set(root, "FI_EFA_USE_DEVICE_RDMA=0")),
    on_trn2("device-rdma-off", "warning", |root| set(root, "FI_HMEM=cuda")),
    on_trn2("device-plugin-beside-dra", "problem", |root| {
        let checkpoint = r#"{"Data": {"RegisteredDevices": {"aws.amazon.com/neuron": ["0"]}}}"#;
        write(root, "var/lib/kubelet/device-plugins/kubelet_internal_checkpoint", checkpoint);
        write(root, "var/lib/kubelet/plugins_registry/neuron.aws.com-reg.sock", "");
    }),
    on_trn2("device-plugin-beside-dra", "problem", |root| {
        write(root, "var/lib/kubelet/device-plugins/aws-efa-device-plugin.sock", "");
        write(root, "var/lib/kubelet/plugins_registry/dra.net-reg.sock", "");
    }),
    on_trn2("dra-drivers-several", "problem", |root| {
        write(root, "var/lib/kubelet/plugins_registry/neuron.aws.com-reg.sock", "");
        write(root, "var/lib/kubelet/plugins_registry/nearfab.dev-reg.sock", "");
    }),
    on_trn2("host-incomplete", "warning", |root| {
        write(root, "sys/bus/pci/devices/0000:cc:00.0/numa_node", "first\n");
    }),
];

/// Those that a tree of root cannot show: what is asked, which has unit tests, and what takes another user.
const NOT_OF_TREES: [&str; 11] = [
    "cores-held",
    "cores-held-by-nobody",
    "efa-node-refused",
    "fi-info-failed",
    "fi-info-missing",
    "libfabric-finds-fewer",
    "libfabric-finds-none",
    "neuron-no-answer",
    "neuron-node-refused",
    "processes-attached",
    "rdma-foreign-refused",
];

fn without_rdma(root: &Path) {
    remove(root, EFA_RDMA);
    remove(root, "sys/class/infiniband_verbs/uverbs10");
}

fn without_efa(root: &Path) {
    remove(root, "sys/bus/pci/devices/0000:c9:00.0");
    without_rdma(root);
}

fn huge_pages(root: &Path, total: u32, free: u32) {
    for (file, pages) in [("nr_hugepages", total), ("free_hugepages", free)] {
        write(root, &format!("sys/kernel/mm/hugepages/hugepages-2048kB/{file}"), &format!("{pages}\n"));
    }
}

fn runtime(root: &Path, version: &str) {
    let folder = "opt/aws/neuron/lib";
    remove(root, &format!("{folder}/libnrt.so.2.34.10.0"));
    write(root, &format!("{folder}/libnrt.so.{version}"), "");
}

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

/// What programs read is as the reference says, with and without findings.
#[test]
fn json_is_of_the_schema() {
    let schema = include_str!("../../docs/reference/schema/doctor.json");
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    let bad = tree("trn2.48xlarge");
    without_efa(bad.path());
    limit(bad.path(), "65536");
    let table = stdout(&["doctor", "-o", "json", "--instance", "p5.48xlarge"]);
    for report in [doctor_of_process(bad.path()), serde_json::from_str(&table).unwrap()] {
        let errors: Vec<String> = schema.iter_errors(&report).map(|error| error.to_string()).collect();
        assert_eq!(errors, [""; 0]);
    }
    let mut odd = doctor_of_process(bad.path());
    odd["findings"][0]["severity"] = "fatal".into();
    assert!(!schema.is_valid(&odd));
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

/// The text of a record, whose tree has a name that does not change.
fn text(tree: &Path) -> String {
    let mut record: Value = serde_json::from_str(&stdout(&["record", "--root", tree.to_str().unwrap()])).unwrap();
    record["origin"] = json!({"from": "tree", "root": "/host"});
    let text = record.to_string().replace(tree.to_str().unwrap(), "/host");
    let file = tree.join("record.json");
    fs::write(&file, text).unwrap();
    stdout(&["doctor", "--host", file.to_str().unwrap()])
}

#[test]
fn a_healthy_host() {
    assert_data_eq!(text(tree("trn2.48xlarge").path()), file!["doctor/healthy.txt"].raw());
}

#[test]
fn a_host_with_much_wrong() {
    let tree = tree("trn2.48xlarge");
    for id in [
        "efa-node-missing",
        "efa-port-not-active",
        "huge-pages-used-up",
        "rdma-namespaces-exclusive",
        "fork-unsafe",
        "ptrace-protected",
        "neuron-ids-not-contiguous",
        "runtime-too-old-for-driver",
        "libfabric-several",
        "collectives-missing",
        "runtime-not-on-loader-path",
        "device-plugin-beside-dra",
        "host-incomplete",
    ] {
        let defect = DEFECTS.iter().find(|defect| defect.id == id).unwrap();
        (defect.make)(tree.path());
    }
    without_efa(tree.path());
    assert_data_eq!(text(tree.path()), file!["doctor/bad.txt"].raw());
}

#[test]
fn a_process_with_much_wrong() {
    let tree = tree("trn2.48xlarge");
    limit(tree.path(), "65536");
    (DEFECTS.iter().find(|defect| defect.id == "library-mapped-twice").unwrap().make)(tree.path());
    let bad = [
        "PATH=/usr/bin",
        "FI_PROVIDER=eaf",
        "FI_EFA_IFACE=efa_0",
        "FI_EFA_MTU_SIZE=8760",
        "FI_EFA_USE_DEVICE_RMDA=1",
        "NEURON_RT_VISIBLE_CORES=0,1,10,11,2,3",
    ];
    variables(tree.path(), &bad);
    let root = tree.path().to_str().unwrap();
    let text = stdout(&["doctor", "--pid", PID, "--root", root]);
    assert_data_eq!(text.replace(root, "/host"), file!["doctor/process.txt"].raw());
}

#[test]
fn a_host_with_other_rdma_devices() {
    assert_data_eq!(text(tree("p6-b200.48xlarge").path()), file!["doctor/p6-b200.txt"].raw());
}

#[test]
fn an_empty_host() {
    assert_data_eq!(text(tempfile::tempdir().unwrap().path()), file!["doctor/empty.txt"].raw());
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
