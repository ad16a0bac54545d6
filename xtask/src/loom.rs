//! `cargo xtask loom`: the registry of open devices in every order in which threads can meet in it.

use std::process::Command;

use anyhow::Result;

use crate::run::{visibly, workspace};

/// Builds the library with loom's primitives in place of the standard library's, and checks the models.
///
/// # Errors
/// When it does not build, or in some order a model fails.
pub(crate) fn run() -> Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace()).env("RUSTFLAGS", "--cfg loom");
    // With a target folder of its own: other flags would build everything anew.
    cargo.args([
        "test",
        "--release",
        "--target-dir",
        "target/loom",
        "--package",
        "nearfab",
        "--lib",
        "registry::model",
    ]);
    visibly(&mut cargo)
}
