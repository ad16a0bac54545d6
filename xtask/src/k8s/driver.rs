//! nearfab-dra on the bed's node, as a plain process, with the tree of an emulated machine.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::bed::Bed;
use super::components::{BED, CDI, KUBELET};
use super::{NODE, config};
use crate::run::{binaries, output, visibly, workspace};

/// The instance type of the emulated machine.
pub(crate) const INSTANCE: &str = "trn2.48xlarge";

/// A running driver. Dropping it ends the driver.
pub(crate) struct Driver(Child);

/// Builds the driver and the program that writes the emulated machine.
///
/// # Errors
/// If cargo fails.
pub(crate) fn build() -> Result<()> {
    visibly(Command::new(env!("CARGO")).current_dir(workspace()).args([
        "build",
        "--quiet",
        "--package",
        "nearfab-dra",
        "--package",
        "nearfab-emu",
    ]))
}

impl Driver {
    /// Starts the driver in the bed with the rights of its service account, which must exist.
    ///
    /// # Errors
    /// If the tree cannot be written, or the driver cannot be started. Whether the driver serves shows in its ResourceSlices.
    pub(crate) fn start(bed: &Bed) -> Result<Self> {
        let built = binaries()?;
        let tree = tree(bed);
        if tree.exists() {
            fs::remove_dir_all(&tree).with_context(|| tree.display().to_string())?;
        }
        output(Command::new(built.join("nearfab-emu")).arg(INSTANCE).arg(&tree))?;
        // The bed runs a copy of the program, because the target folder may not be visible in the bed, and cargo may
        // build into that folder meanwhile.
        let program = bed.state().join("bin/nearfab-dra");
        fs::copy(built.join("nearfab-dra"), &program).with_context(|| program.display().to_string())?;
        let token = output(bed.kubectl()?.args(["create", "token", "nearfab-dra", "--namespace", "nearfab"]))?;
        config::kubeconfig(bed.state(), "nearfab-dra", token.trim())?;
        let log = File::create(log(bed))?;
        let process = bed
            .inside(&command())?
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start nsenter")?;
        Ok(Self(process))
    }

    /// Checks that the driver is running.
    ///
    /// # Errors
    /// If the driver ended; the error has its exit status.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.0.try_wait().context("nearfab-dra")? {
            Some(status) => bail!("nearfab-dra ended with {status}"),
            None => Ok(()),
        }
    }
}

/// Returns the driver's command line. The driver runs as root without capabilities. The driver's parent is a process
/// outside of the bed. When the parent ends, the driver ends.
fn command() -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set", "-all", "--inh-caps", "-all", "--ambient-caps", "-all"])
        .args(["--pdeathsig", "TERM", "nearfab-dra"])
        .args(["--kubeconfig", &format!("{BED}/nearfab-dra.kubeconfig")])
        .args(["--node-name", NODE])
        .args(["--root", &format!("{BED}/tree")])
        .args(["--runtime-root", &format!("{BED}/tree")])
        .args(["--kubelet-dir", KUBELET])
        .args(["--cdi-dir", CDI])
        .args(["--state-dir", &format!("{BED}/driver")]);
    command
}

fn log(bed: &Bed) -> PathBuf {
    bed.state().join("log/nearfab-dra.log")
}

/// Returns the path outside of the bed of the emulated machine's tree.
pub(crate) fn tree(bed: &Bed) -> PathBuf {
    bed.state().join("tree")
}

/// Returns the path outside of the bed of the driver's checkpoints.
pub(crate) fn checkpoints(bed: &Bed) -> PathBuf {
    bed.state().join("driver")
}

impl Drop for Driver {
    fn drop(&mut self) {
        // `kill` and `wait` fail only if the driver has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
