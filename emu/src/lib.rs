//! Synthetic hosts: file trees with the `sys`, `proc` and `dev` of an instance type, as its kernel would show them.
//!
//! They are written for three kinds of readers, which do not know of each other: nearfab with `--root`, `lstopo -i
//! TREE --if fsroot`, and libibverbs with `SYSFS_PATH=TREE/sys`.
//!
//! ```
//! let dir = std::env::temp_dir().join(format!("nearfab-emu-doc-{}", std::process::id()));
//! let table = nearfab::instances::InstanceTable::find("trn2.48xlarge")?;
//! nearfab_emu::write_tree(table, &dir)?;
//! let host = nearfab::Host::from_root(&dir)?;
//! assert_eq!(host.efa().len(), 16);
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod bed;
mod efa;
mod machine;
mod neuron;
mod pci;
mod surroundings;
mod telemetry;
mod tree;

use std::path::Path;

pub use bed::skipped;
use nearfab::instances::InstanceTable;
pub use tree::Error;
use tree::Tree;

/// Writes the tree of an instance type, with every EFA interface attached and every driver loaded, into a new folder.
///
/// Device nodes are null-like character devices (they open, and answer nothing) where the system lets this process
/// make some, as it lets root, and else empty files.
///
/// # Errors
/// [`Error`], with the path, where the folder has something in it already or cannot be written.
pub fn write_tree(table: &InstanceTable, dir: &Path) -> Result<(), Error> {
    let tree = Tree::create(dir)?;
    machine::write(&tree, table)?;
    pci::write(&tree, table)?;
    efa::write(&tree, table)?;
    neuron::write(&tree, table)?;
    telemetry::write(&tree, table)?;
    surroundings::write(&tree, table)
}
