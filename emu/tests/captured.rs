//! Compares the emulated trees with captured trees of the real Neuron driver 2.24.7. The entries, permissions and
//! contents must be equal, except for the differences that this file lists with their reasons.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nearfab::instances::InstanceTable;
use nearfab_emu::{Defect, NeuronDriver, write_tree_with};

/// A file with its permissions and content, or a link with its target and no permissions.
#[derive(Debug, PartialEq)]
struct Entry {
    mode: Option<u32>,
    content: String,
}

/// The allowed differences: the end of a path, and the reason.
const DIFFERENCES: [(&str, &str); 9] = [
    ("/neuron0/dev", "the kernel assigns the node's number when the driver is loaded"),
    ("/neuron0/uevent", "this file contains the node's number"),
    ("dev/neuron0", "the captured host had no udev rule, and the emulated node is a null device or a file"),
    ("/info/serial_number", "the captured function had no serial number"),
    ("/neuron0/reset", "two of the captured functions could not end a reset"),
    ("/power/autosuspend_delay_ms", "reading this file fails on a real host, and no file of a tree can fail so"),
    ("/parameters/nmetric_log_posts", "two of the captures loaded the driver with another value"),
    ("/host_mem/driver_memory/*", "the value changes while the host runs"),
    ("/stats/memory_usage/host_mem/*", "the cores' value changes while the host runs"),
];

fn allowed_difference(path: &str) -> Option<&'static str> {
    let folder_pattern = path.rsplit_once('/').map(|(folder, _)| format!("{folder}/*")).unwrap_or_default();
    DIFFERENCES.iter().map(|(end, _)| *end).find(|end| path.ends_with(end) || folder_pattern.ends_with(end))
}

#[test]
fn emulated_tree_of_2_24_equals_captured_trees() {
    let mut differing = BTreeSet::new();
    for (family, instance_type) in [("trn1", "trn1.2xlarge"), ("inf2", "inf2.xlarge"), ("trn2", "trn2.3xlarge")] {
        let captured = captured(family);
        let tree = tempfile::tempdir().unwrap();
        let table = InstanceTable::find(instance_type).unwrap();
        write_tree_with(table, &[Defect::NeuronDriver(NeuronDriver::V2_24)], tree.path()).unwrap();
        let mut emulated = BTreeMap::new();
        for folder in ["sys/devices/virtual/neuron_device", "sys/class/neuron_device", "sys/module/neuron"] {
            collect(tree.path(), Path::new(folder), &mut emulated);
        }
        let node = entry(&tree.path().join("dev/neuron0"));
        emulated.insert("dev/neuron0".to_owned(), node);

        let paths = |entries: &BTreeMap<String, Entry>| entries.keys().cloned().collect::<BTreeSet<_>>();
        let (captured_paths, emulated_paths) = (paths(&captured), paths(&emulated));
        let missing: Vec<&String> = captured_paths.difference(&emulated_paths).collect();
        let surplus: Vec<&String> = emulated_paths.difference(&captured_paths).collect();
        assert!(missing.is_empty() && surplus.is_empty(), "{family}: missing {missing:?}, surplus {surplus:?}");
        for (path, captured) in &captured {
            let emulated = &emulated[path];
            if path != "dev/neuron0" {
                assert_eq!(emulated.mode, captured.mode, "{family}: {path}");
            }
            if emulated != captured {
                let named =
                    allowed_difference(path).unwrap_or_else(|| panic!("{family}: {path}: {emulated:?}, {captured:?}"));
                differing.insert(named);
            }
        }
    }
    let named: BTreeSet<&str> = DIFFERENCES.iter().map(|(end, _)| *end).collect();
    assert_eq!(differing, named, "a listed difference did not occur");
}

/// Reads a captured tree with lines such as `F mode path b'content'`, `L path -> target` and `D mode node major:minor`.
fn captured(family: &str) -> BTreeMap<String, Entry> {
    let file = format!("{}/../tests/captured/neuron-sysfs-{family}-driver-2.24.7.txt", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(file).unwrap();
    let cores = text.lines().find_map(|line| line.split_once("/core_count b'")).unwrap().1.trim_end_matches('\'');
    let mut entries = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (kind, rest) = line.split_once(' ').unwrap();
        let (path, entry) = match kind {
            "L" => {
                let (path, target) = rest.split_once(" -> ").unwrap();
                (path, Entry { mode: None, content: target.to_owned() })
            }
            _ => {
                let (mode, rest) = rest.split_once(' ').unwrap();
                let (path, content) = rest.split_once(' ').unwrap();
                let content = content.trim_start_matches("b'").trim_end_matches('\'').replace("\\n", "\n");
                (path, Entry { mode: Some(u32::from_str_radix(mode, 8).unwrap()), content })
            }
        };
        let path = path.trim_start_matches('/');
        // The capture lists only the first core. By the header of the capture, the other cores have the same files.
        for core in (1..cores.parse().unwrap()).filter(|_| path.contains("/neuron_core0/")) {
            let path = path.replace("/neuron_core0/", &format!("/neuron_core{core}/"));
            entries.insert(path, Entry { mode: entry.mode, content: entry.content.clone() });
        }
        entries.insert(path.to_owned(), entry);
    }
    entries
}

/// Adds every file and link below a folder to `entries`. Fails if a folder is empty.
fn collect(root: &Path, folder: &Path, entries: &mut BTreeMap<String, Entry>) {
    let listed: Vec<PathBuf> = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!listed.is_empty(), "{}", folder.display());
    for path in listed {
        let relative = path.strip_prefix(root).unwrap();
        if path.is_dir() && !path.is_symlink() {
            collect(root, relative, entries);
        } else {
            entries.insert(relative.to_str().unwrap().to_owned(), entry(&path));
        }
    }
}

fn entry(path: &Path) -> Entry {
    if let Ok(target) = fs::read_link(path) {
        return Entry { mode: None, content: target.to_str().unwrap().to_owned() };
    }
    let mode = fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    Entry { mode: Some(mode), content: fs::read_to_string(path).unwrap() }
}

/// The order is that of neuron-ls listings of both types, which print the driver's order.
#[test]
fn connected_devices_have_the_order_of_the_driver() {
    for (instance_type, device, connected) in [
        ("inf2.48xlarge", 0, "11, 1\n"),
        ("inf2.48xlarge", 5, "4, 6\n"),
        ("inf2.48xlarge", 11, "10, 0\n"),
        ("trn2.48xlarge", 13, "12, 1, 9, 14\n"),
    ] {
        let tree = tempfile::tempdir().unwrap();
        write_tree_with(InstanceTable::find(instance_type).unwrap(), &[Defect::NoCoreStatistics], tree.path()).unwrap();
        let file = format!("sys/class/neuron_device/neuron{device}/connected_devices");
        assert_eq!(fs::read_to_string(tree.path().join(file)).unwrap(), connected, "{instance_type} {device}");
    }
}
