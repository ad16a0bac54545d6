//! `cargo xtask check`: the checks that do not run nearfab.

mod dependencies;
mod docs;
mod packages;
mod rooms;
mod words;

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::generate;
use crate::run::{say, visibly, workspace};

/// A check, by the name that selects it.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Check {
    /// The order of the rooms in src/
    Rooms,
    /// The phrases and names that nearfab's prose avoids
    Words,
    /// The book's list of pages, links and anchors
    Docs,
    /// Licences, bans and sources of dependencies, their oldest Rust, and what the library builds without `live`
    Dependencies,
    /// The files in each package
    Packages,
    /// Format
    Format,
    /// Clippy's lints on all targets
    Lints,
    /// Rustdoc's warnings
    Rustdoc,
    /// The committed files that a program writes
    Generated,
}

impl Check {
    /// Runs the check.
    fn run(self) -> Result<()> {
        match self {
            Self::Rooms => rooms::run(),
            Self::Words => words::run(),
            Self::Docs => docs::run(),
            Self::Dependencies => dependencies::run(),
            Self::Packages => packages::run(),
            Self::Format => format(),
            Self::Lints => cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"]),
            Self::Rustdoc => cargo(&["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]),
            Self::Generated => generate::check(),
        }
    }
}

/// Runs the named checks; all checks if no name is given.
///
/// # Errors
/// If a check fails, after all checks have run.
pub(crate) fn run(names: &[Check]) -> Result<()> {
    let mut failed = Vec::new();
    for check in Check::value_variants().iter().filter(|check| names.is_empty() || names.contains(check)) {
        let name = check.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let start = Instant::now();
        if let Err(error) = check.run() {
            eprintln!("{name}: {error:#}");
            failed.push(name);
            continue;
        }
        say(format_args!("checked {name} in {:.1} s", start.elapsed().as_secs_f32()));
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn format() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"])
}

fn cargo(arguments: &[&str]) -> Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    visibly(cargo.current_dir(workspace()).args(arguments).env("RUSTDOCFLAGS", "--deny warnings"))
}

/// Prints the faults that a check found, one a line.
///
/// # Errors
/// If there is a fault.
fn report(check: &str, faults: &[String]) -> Result<()> {
    for fault in faults {
        say(fault);
    }
    match faults.len() {
        0 => Ok(()),
        1 => bail!("one fault in {check}: the line above"),
        count => bail!("{count} faults in {check}: the lines above"),
    }
}
