//! Emulated trees for the tests that read many of them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nearfab::instances::InstanceTable;
use nearfab_emu::Defect;
use tempfile::TempDir;

/// Writes the tree of an instance type into a new [`folder`], without the statistics of Neuron cores: these are up to four of
/// five files, and discovery does not read them.
pub(crate) fn tree_of(table: &InstanceTable, defects: &[Defect]) -> TempDir {
    let small = [Defect::NoCoreStatistics].into_iter().filter(|small| small.applies(table) && !defects.contains(small));
    let defects: Vec<Defect> = small.chain(defects.iter().cloned()).collect();
    let dir = folder();
    nearfab_emu::write_tree_with(table, &defects, dir.path()).expect("the tree of a table");
    dir
}

/// Makes a folder that every user may read. It is in memory if the system has a folder for that: a tree is
/// thousands of small files, which take a disk seconds.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let dir = dir.expect("a folder for a tree");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("its permissions");
    dir
}
