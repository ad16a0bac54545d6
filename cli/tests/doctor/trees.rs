//! Emulated hosts with a process, and the doctor's report about them.

use std::fs;
use std::path::Path;

use nearfab::instances::InstanceTable;
use nearfab_emu::Defect;
use serde_json::Value;

use crate::support::stdout;

pub(crate) const PID: &str = "4711";

pub(crate) fn tree(instance_type: &str) -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let table = InstanceTable::find(instance_type).unwrap();
    // Of the statistics of the cores, which are thousands of files, the doctor reads one file a core.
    let small = Some(Defect::NoCoreStatistics).filter(|small| small.applies(table));
    nearfab_emu::write_tree_with(table, small.as_slice(), dir.path()).unwrap();
    // A process without a problem.
    write(dir.path(), "proc/4711/comm", "python3\n");
    limit(dir.path(), "unlimited");
    write(dir.path(), "proc/4711/status", "CapEff:\t0000000000000000\n");
    write(dir.path(), "proc/4711/maps", "");
    variables(dir.path(), &["PATH=/opt/aws/neuron/bin:/usr/bin"]);
    dir
}

pub(crate) fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

pub(crate) fn remove(root: &Path, path: &str) {
    fs::remove_file(root.join(path)).unwrap();
}

pub(crate) fn limit(root: &Path, bytes: &str) {
    write(root, "proc/4711/limits", &format!("Max locked memory         {bytes:<20} {bytes:<20} bytes\n"));
}

pub(crate) fn variables(root: &Path, variables: &[&str]) {
    write(root, "proc/4711/environ", &variables.join("\0"));
}

pub(crate) fn set(root: &Path, variable: &str) {
    variables(root, &["PATH=/opt/aws/neuron/bin:/usr/bin", variable]);
}

/// Binds a function to another driver.
pub(crate) fn bind_elsewhere(root: &Path, address: &str) {
    let path = root.join(format!("sys/bus/pci/devices/{address}/uevent"));
    let text = fs::read_to_string(&path).unwrap();
    let bound = text.lines().find(|line| line.starts_with("DRIVER=")).unwrap();
    fs::write(&path, text.replace(bound, "DRIVER=vfio-pci")).unwrap();
}

/// Returns the report about a tree and the process in it.
pub(crate) fn doctor_of_process(root: &Path) -> Value {
    let text = stdout(&["doctor", "-o", "json", "--pid", PID, "--root", root.to_str().unwrap()]);
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn ids(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["id"].as_str().unwrap()).collect()
}
