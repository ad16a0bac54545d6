//! Emulated hosts, and the commands that show them.

use std::fs;
use std::path::Path;

use nearfab::instances::InstanceTable;
use nearfab::{Host, Member, MemberKind};
use nearfab_emu::Defect;

/// Makes a folder for trees: in memory if the system has such a folder.
pub(crate) fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

/// Writes an emulated host of the type into a new folder.
pub(crate) fn tree(instance_type: &str, dir: &Path) {
    tree_with(InstanceTable::find(instance_type).unwrap(), &[], dir);
}

/// Writes an emulated host with these defects into a new folder. The statistics of the cores are left out: no view shows these
/// thousands of files.
pub(crate) fn tree_with(table: &InstanceTable, defects: &[Defect], dir: &Path) {
    let small = Defect::NoCoreStatistics;
    let small = Some(small).filter(|small| small.applies(table) && !defects.contains(small));
    let defects: Vec<Defect> = small.into_iter().chain(defects.iter().cloned()).collect();
    nearfab_emu::write_tree_with(table, &defects, dir).unwrap();
}

/// Changes the tree to the tree of a container: only `devices` have a node, and the container's LNC file has `lnc`.
pub(crate) fn contain(dir: &Path, devices: &[u32], lnc: u32) {
    for device in (0..16).filter(|device| !devices.contains(device)) {
        fs::remove_file(dir.join(format!("dev/neuron{device}"))).unwrap();
    }
    fs::create_dir_all(dir.join("opt/aws/neuron")).unwrap();
    fs::write(dir.join("opt/aws/neuron/logical_nc_config"), format!("NEURON_LOGICAL_NC_CONFIG={lnc}\n")).unwrap();
}

/// Removes the name of the instance type, so that the host has no table.
pub(crate) fn remove_type_name(dir: &Path) {
    fs::remove_file(dir.join("sys/devices/virtual/dmi/id/product_name")).unwrap();
}

/// Returns every command that shows a host, without the options for the host and the form.
pub(crate) fn views(host: &Host) -> Vec<Vec<String>> {
    let mut views: Vec<Vec<String>> =
        ["list", "topo tree", "topo matrix", "topo links", "doctor", "verify"].map(words).into();
    if host.nothing_found().is_none() {
        views.push(words("rails"));
    }
    let mut near = |name: String| views.push(vec!["near".to_owned(), name]);
    if let Some(device) = host.visible_neuron().last() {
        near(device.index.to_string());
        near(format!("{}:0", device.index));
        near("nc0".to_owned());
    }
    let kinds = [MemberKind::Unnumbered, MemberKind::Gpu, MemberKind::Efa];
    let last_of = |kind: MemberKind| host.members().filter(|member| member.kind() == kind).last();
    kinds.into_iter().filter_map(last_of).filter_map(Member::address).for_each(|address| near(address.to_string()));
    if let Some(rdma) = host.efa_interfaces().iter().find_map(|efa| efa.rdma.clone()) {
        near(rdma);
    }
    if let Some(device) = host.neuron_devices().first() {
        views.push(vec!["near".to_owned(), device.index.to_string(), "--by-place".to_owned()]);
    }
    views
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}
