//! Emulated trees for the tests that read many of them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nearfab::instances::InstanceTable;
use nearfab_emu::Defect;
use tempfile::TempDir;

/// The tree of an instance type: tens of thousands of small files, so in memory where the system has a folder for that.
/// Everybody may read it, whoever the tests run as.
pub(crate) fn tree_of(table: &InstanceTable, defects: &[Defect]) -> TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let dir = dir.expect("a folder for a tree");
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).expect("its permissions");
    nearfab_emu::write_tree_with(table, defects, dir.path()).expect("the tree of a table");
    dir
}
