//! Writes synthetic hosts: file trees with the `sys`, `proc` and `dev` of an instance type, as the kernel shows these
//! folders.
//!
//! Three independent programs read these trees: nearfab with `--root`, `lstopo -i TREE --if fsroot`, and libibverbs
//! with `SYSFS_PATH=TREE/sys`. The trees have each attribute that the drivers create, with the same permissions.
//!
//! ```
//! let dir = std::env::temp_dir().join(format!("nearfab-emu-doc-{}", std::process::id()));
//! let table = nearfab::instances::InstanceTable::find("trn2.48xlarge")?;
//! nearfab_emu::write_tree(table, &dir)?;
//! let host = nearfab::Host::from_root(&dir)?;
//! assert_eq!(host.efa_interfaces().len(), 16);
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod bed;
mod class;
mod defect;
mod driver;
mod efa;
mod elf;
mod function;
mod gpu;
mod machine;
mod neuron;
mod pci;
mod plan;
mod system;
mod telemetry;
mod tree;

use std::path::Path;

pub use bed::skipped;
pub use defect::{Defect, ParseDefectError};
pub use driver::NeuronDriver;
pub use elf::library_file;
use nearfab::instances::InstanceTable;
use plan::Plan;
pub use tree::Error;
use tree::Tree;

/// Writes the tree of an instance type into a new or empty folder. Every EFA interface is attached and every driver is
/// loaded.
///
/// Device nodes are character devices like `/dev/null`: opening succeeds, and every ioctl fails. If this process may
/// not make devices, which usually needs root, the nodes are empty files.
///
/// # Errors
/// [`Error::Write`], with the path, if the folder is not empty or cannot be written.
pub fn write_tree(table: &InstanceTable, dir: &Path) -> Result<(), Error> {
    write_tree_with(table, &[], dir)
}

/// Writes the tree of a host that has defects.
///
/// ```
/// use nearfab_emu::{Defect, write_tree_with};
/// let dir = std::env::temp_dir().join(format!("nearfab-emu-defect-{}", std::process::id()));
/// let table = nearfab::instances::InstanceTable::find("trn1.32xlarge")?;
/// write_tree_with(table, &[Defect::EfaAttached(1), Defect::NoNuma], &dir)?;
/// let host = nearfab::Host::from_root(&dir)?;
/// assert_eq!((host.efa_interfaces().len(), host.efa_interfaces()[0].function.numa), (1, None));
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::DoesNotApply`] if no host of the type can have a defect. [`Error::Write`] as for [`write_tree`], and if a
/// defect removes a file that another defect changes.
pub fn write_tree_with(table: &InstanceTable, defects: &[Defect], dir: &Path) -> Result<(), Error> {
    let mut plan = Plan::new(table);
    for defect in defects {
        defect.apply(table, &mut plan)?;
    }
    let tree = Tree::create(dir)?;
    machine::write(&tree, &plan)?;
    pci::write(&tree, &plan)?;
    efa::write(&tree, &plan)?;
    gpu::write(&tree, &plan)?;
    neuron::write(&tree, &plan)?;
    telemetry::write(&tree, &plan)?;
    system::write(&tree, &plan)?;
    plan.edits.iter().try_for_each(|edit| tree.edit(edit))
}
