//! `cargo xtask check`: what can be judged without running the product.

use std::process::Command;

use anyhow::Result;

use crate::generate;
use crate::run::{say, visibly, workspace};
use crate::tools;

/// Format, lints, documentation, dependencies, generated files.
///
/// # Errors
/// At the first check that fails, after its own output.
pub(crate) fn run() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"])?;
    cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"])?;
    cargo(&["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"])?;
    let deny = tools::from_crates(&tools::CARGO_DENY)?;
    visibly(Command::new(deny).current_dir(workspace()).args(["--workspace", "check", "bans", "licenses", "sources"]))?;
    generate::run(true)?;
    say("checked: format, lints, documentation, dependencies, generated files");
    Ok(())
}

fn cargo(arguments: &[&str]) -> Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    visibly(cargo.current_dir(workspace()).args(arguments).env("RUSTDOCFLAGS", "--deny warnings"))
}
