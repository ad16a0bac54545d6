//! `cargo xtask man`: the manual pages of `nearfab`.

use std::process::Command;

use anyhow::Result;

use crate::run::{say, visibly, workspace};

/// Writes a page for each command into `target/man`.
///
/// # Errors
/// If `nearfab` does not build or cannot write the pages.
pub(crate) fn run() -> Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace()).args(["run", "--quiet", "--package", "nearfab-cli", "--", "man", "target/man"]);
    visibly(&mut cargo)?;
    say("wrote target/man; to read: man --local-file target/man/nearfab.1");
    Ok(())
}
