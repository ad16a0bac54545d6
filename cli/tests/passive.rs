//! Reading a host opens no device node, on a tree and on this machine. Refused and missing nodes are listed all the same.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use nearfab::instances::InstanceTable;
use nearfab::{Host, NodeAccess};
use nearfab_emu::Defect;

const NEARFAB: &str = env!("CARGO_BIN_EXE_nearfab");
/// The id of a user who is not root.
const NOBODY: u32 = 65534;

fn tree() -> tempfile::TempDir {
    tree_with(&[Defect::NoCoreStatistics])
}

fn tree_with(defects: &[Defect]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    nearfab_emu::write_tree_with(InstanceTable::find("trn2.48xlarge").unwrap(), defects, dir.path()).unwrap();
    dir
}

/// The commands that read a host.
const READING: [&[&str]; 7] =
    [&["list"], &["topo"], &["near", "neuron5"], &["rails"], &["doctor"], &["record"], &["verify"]];
/// The command that plans ranks. A machine without devices has no plan.
const PLANNING: &[&str] = &["plan", "-n", "16"];

/// Returns the trace of the system calls that can open a file.
fn opened(arguments: &[&str]) -> Option<String> {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-s", "256", "-e", "trace=?open,openat,openat2,?creat,open_by_handle_at", "-o"]);
    strace.arg(trace.path()).arg(NEARFAB).args(arguments);
    match strace.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            nearfab_emu::skipped("passive", "strace is not installed");
            None
        }
        output => {
            let output = output.unwrap();
            let message = String::from_utf8_lossy(&output.stderr);
            // near and rails fail on a machine without devices.
            let is_missing =
                [&["near", "neuron5"][..], &["rails"]].contains(&arguments) && message.contains("no Neuron device");
            assert!(output.status.success() || is_missing, "{message}");
            Some(fs::read_to_string(trace.path()).unwrap())
        }
    }
}

fn names_a_node(line: &str) -> bool {
    let after = |prefix: &str| line.split(prefix).skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    after("dev/neuron") || after("infiniband/uverbs")
}

#[test]
fn reading_a_tree_opens_no_device_node() {
    let tree = tree();
    for &command in READING.iter().chain([&PLANNING]) {
        let Some(trace) = opened(&[command, &["--root", tree.path().to_str().unwrap()]].concat()) else { return };
        assert!(trace.contains("sys/bus/pci/devices"), "the trace has the reads of sysfs: {trace}");
        let nodes: Vec<&str> = trace.lines().filter(|line| names_a_node(line)).collect();
        assert_eq!(nodes, [""; 0]);
    }
}

/// The commands that do not show what only the devices know.
const FROM_THE_KERNEL: [&[&str]; 6] =
    [&["topo"], &["topo", "matrix"], &["near", "neuron5"], &["near", "rdmap87s0"], &["rails"], PLANNING];

/// The attributes that the kernel reads from the device when a process reads them.
const OF_THE_DEVICE: [&str; 6] =
    ["serial_number", "_link_speed", "_link_width", "/config\"", "/hw_counters", "/stats/hardware"];

#[test]
fn nearness_and_plans_read_no_register_of_a_device() {
    let tree = tree();
    // The driver makes the folders; only their files reach the device.
    let files = |trace: &str| trace.lines().filter(|line| !line.contains("O_DIRECTORY")).collect::<String>();
    let reaches = |trace: &str| OF_THE_DEVICE.iter().any(|name| files(trace).contains(name));
    for command in FROM_THE_KERNEL {
        let Some(trace) = opened(&[command, &["--root", tree.path().to_str().unwrap()]].concat()) else { return };
        assert!(trace.contains("sys/bus/pci/devices") && !reaches(&trace), "{command:?}: {trace}");
    }
    let Some(trace) = opened(&["list", "--root", tree.path().to_str().unwrap()]) else { return };
    assert!(reaches(&trace), "list shows serial numbers and links");
}

#[test]
fn reading_this_machine_opens_no_device_node() {
    for command in READING {
        let Some(trace) = opened(command) else { return };
        assert!(trace.contains("sys/bus/pci/devices"), "the trace has the reads of sysfs: {trace}");
        // The command opens no other file below /dev either. It lists folders, to find nodes without a device.
        let below = |line: &str| line.contains("\"/dev") || line.contains("\"dev/");
        let in_dev = |line: &&str| names_a_node(line) || (below(line) && !line.contains("O_DIRECTORY"));
        let nodes: Vec<&str> = trace.lines().filter(in_dev).collect();
        assert_eq!(nodes, [""; 0]);
    }
}

/// Runs `nearfab list -o json` on the tree as a user who is not root.
fn list_as_nobody(tree: &Path) -> Output {
    let mut command = if nix::unistd::geteuid().is_root() {
        // The user may not be able to enter the build folder: run a copy of the program.
        let program = tree.join("nearfab");
        fs::copy(NEARFAB, &program).unwrap();
        let mut command = Command::new(program);
        command.uid(NOBODY).gid(NOBODY);
        command
    } else {
        Command::new(NEARFAB)
    };
    command.args(["list", "-o", "json", "--root"]).arg(tree).output().unwrap()
}

#[test]
fn missing_and_refused_nodes_are_distinguished_without_opening() {
    let tree = tree_with(&[Defect::NeuronNodeMissing(3), Defect::NeuronNodeRefused(4), Defect::VerbsNodeMissing(2)]);
    let uverbs5 = tree.path().join("dev/infiniband/uverbs5");
    fs::set_permissions(uverbs5, PermissionsExt::from_mode(0o440)).unwrap();

    let output = list_as_nobody(tree.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let host = Host::from_json(&String::from_utf8(output.stdout).unwrap()).unwrap();
    assert_eq!((host.neuron_devices().len(), host.efa_interfaces().len()), (16, 16), "a missing node hides no device");
    for device in host.neuron_devices() {
        let expected = match device.index.0 {
            3 => NodeAccess::Missing,
            4 => NodeAccess::Refused,
            _ => NodeAccess::Granted,
        };
        assert_eq!(device.access, expected, "{}", device.index);
    }
    for efa in host.efa_interfaces() {
        let expected = match efa.uverbs {
            Some(2) => NodeAccess::Missing,
            Some(5) => NodeAccess::Refused,
            _ => NodeAccess::Granted,
        };
        assert_eq!(efa.access, expected, "{:?}", efa.uverbs);
    }
}
