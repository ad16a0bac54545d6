//! Emulated trees for the tests that read many of them.

use std::path::Path;

use nearfab::instances::InstanceTable;
use tempfile::TempDir;

/// The tree of an instance type: thousands of small files, so in memory where the system has a folder for that.
pub(crate) fn tree_of(table: &InstanceTable) -> TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let dir = dir.expect("a folder for a tree");
    nearfab_emu::write_tree(table, dir.path()).expect("the tree of a table");
    dir
}
