//! `cargo xtask bench`: the cost of discovery beside lstopo and beside the least possible number of system calls, of sharing
//! an open interface, and of sending messages over an interface.

use std::process::Command;

use anyhow::Result;
use nix::unistd::geteuid;

use crate::run::{visibly, workspace};
use crate::tools;

/// Builds for release, and measures on trees in memory. The trees are on a mount with `nodev`, like the sysfs of a
/// host.
///
/// # Errors
/// If a package does not build, a program is missing, or the system does not let this user mount.
pub(crate) fn run() -> Result<()> {
    tools::require(tools::BENCH)?;
    let cargo = |arguments: &str| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(workspace()).args(arguments.split(' '));
        cargo
    };
    visibly(&mut cargo("build --quiet --release --package nearfab-cli"))?;
    visibly(&mut cargo("bench --quiet --bench discovery --no-run"))?;
    let script = r#"
        place=$(mktemp -d)
        trap 'umount "$place"; rmdir "$place"' EXIT
        mount -t tmpfs -o nodev,mode=755 bench "$place"
        TMPDIR=$place "$0" bench --quiet --bench discovery -- "$1"
    "#;
    let mut unshare = Command::new("unshare");
    unshare.current_dir(workspace()).args(["--mount", "--propagation", "private"]);
    if !geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.args(["sh", "-euc", script, env!("CARGO")]).arg(workspace().join("target/release/nearfab"));
    visibly(&mut unshare)?;
    visibly(&mut cargo("bench --quiet --bench contexts"))?;
    visibly(&mut cargo("bench --quiet --bench ping"))
}
