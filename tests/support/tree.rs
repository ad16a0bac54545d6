//! Emulated trees for the tests that read many trees.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nearfab::instances::InstanceTable;
use nearfab_emu::Defect;
use tempfile::TempDir;

/// Writes the tree of an instance type into a new [`folder`], without the statistics of Neuron cores. Up to four of
/// five files are statistics, and discovery does not read statistics.
pub(crate) fn tree_of(table: &InstanceTable, defects: &[Defect]) -> TempDir {
    let small = [Defect::NoCoreStatistics].into_iter().filter(|small| small.applies(table) && !defects.contains(small));
    let defects: Vec<Defect> = small.chain(defects.iter().cloned()).collect();
    let dir = folder();
    nearfab_emu::write_tree_with(table, &defects, dir.path()).expect("the tree of a table");
    dir
}

/// Makes a folder that every user may read. The folder is in memory if the system has a folder in memory: a tree has
/// thousands of small files, and writing them to a disk takes seconds.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let dir = dir.expect("a folder for a tree");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("its permissions");
    dir
}
