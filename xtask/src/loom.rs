//! `cargo xtask loom`: the models of the registry of open devices and of the generations of processes.

use std::process::Command;

use anyhow::Result;

use crate::run::{visibly, workspace};

/// The models, by a part of the names of their tests.
const MODELS: [&str; 2] = ["process::model", "registry::model"];

/// Builds the library with loom's atomics and locks in place of the standard library's, and runs the models.
///
/// # Errors
/// If the library does not build, or a model fails in some order of its threads' steps.
pub(crate) fn run() -> Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace()).env("RUSTFLAGS", "--cfg loom");
    // The target folder is separate: with other flags, cargo builds everything again.
    cargo.args(["test", "--release", "--target-dir", "target/loom", "--package", "nearfab", "--lib", "--"]);
    visibly(cargo.args(MODELS))
}
