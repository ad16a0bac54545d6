//! `cargo xtask setup`: the Debian packages that the commands need and that a machine may lack.

use std::process::Command;

use anyhow::{Result, bail};
use nix::unistd::geteuid;

use crate::run::{say, visibly};
use crate::tools::{self, Tool};

/// Installs the missing packages of `cargo xtask test`.
///
/// # Errors
/// If packages are missing and cannot be installed here; the error has the command that installs them.
pub(crate) fn for_tests() -> Result<()> {
    install(&[tools::TESTS])
}

/// Installs the missing packages of `cargo xtask check`.
///
/// # Errors
/// As [`for_tests`].
pub(crate) fn for_checks() -> Result<()> {
    install(&[tools::GENERATE])
}

/// Installs the missing packages of `cargo xtask beds`.
///
/// # Errors
/// As [`for_tests`].
pub(crate) fn for_beds() -> Result<()> {
    install(&[tools::TESTS, tools::BARE, tools::CLUSTER, tools::VALGRIND])
}

/// Installs the missing packages of all commands.
///
/// # Errors
/// As [`for_tests`].
pub(crate) fn for_all() -> Result<()> {
    install(&[tools::TESTS, tools::GENERATE, tools::BARE, tools::CLUSTER, tools::VALGRIND])
}

fn install(lists: &[&[Tool]]) -> Result<()> {
    let packages = tools::missing_packages(lists);
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !geteuid().is_root() || !tools::is_installed("apt-get") {
        bail!("packages are missing for some tests; on Debian, run as root: apt-get install {list}");
    }
    say(format_args!("Installing {list}"));
    visibly(Command::new("apt-get").args(["-qq", "update"]))?;
    visibly(
        Command::new("apt-get")
            .args(["-qq", "install", "--yes", "--no-install-recommends"])
            .args(&packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}
