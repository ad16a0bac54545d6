//! `cargo xtask setup`: what the tests need and a machine may lack.

use std::process::Command;

use anyhow::{Result, bail};
use nix::unistd::geteuid;

use crate::run::{say, visibly};
use crate::tools;

/// Installs the Debian packages that are missing.
///
/// # Errors
/// When packages are missing and this is not root on Debian; the error is the command that a person can give.
pub(crate) fn run() -> Result<()> {
    let packages = tools::missing_packages(&[tools::TESTS, tools::CLUSTER]);
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if !geteuid().is_root() || !tools::is_installed("apt-get") {
        bail!("missing for some tests; on Debian, as root: apt-get install {list}");
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
