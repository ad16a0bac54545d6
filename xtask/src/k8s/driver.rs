//! nearfab-dra on the bed's node, as a plain process, with the tree of a machine that nobody here has.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::bed::Bed;
use super::components::{BED, CDI, KUBELET};
use super::{NODE, config};
use crate::run::{binaries, output, visibly, workspace};

/// The machine that the node pretends to be.
pub(crate) const INSTANCE: &str = "trn2.48xlarge";

/// A running driver; dropping it asks it to end.
pub(crate) struct Driver(Child);

/// Builds the driver and what makes its machine.
///
/// # Errors
/// When cargo fails.
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
    /// Starts it in the bed, with the rights of its service account, which must be there.
    ///
    /// # Errors
    /// When the tree cannot be written or the driver not be started. That it is serving shows later, by what it publishes.
    pub(crate) fn start(bed: &Bed) -> Result<Self> {
        let built = binaries()?;
        let tree = tree(bed);
        if tree.exists() {
            fs::remove_dir_all(&tree).with_context(|| tree.display().to_string())?;
        }
        output(Command::new(built.join("nearfab-emu")).arg(INSTANCE).arg(&tree))?;
        // A copy: the target folder need not be visible in the bed, and may be built into meanwhile.
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

    /// Fails when the driver has ended.
    ///
    /// # Errors
    /// Says how it ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.0.try_wait().context("nearfab-dra")? {
            Some(status) => bail!("nearfab-dra ended with {status}"),
            None => Ok(()),
        }
    }
}

/// The driver's command line, as root without capabilities, which is all that it needs. Its parent is a process of
/// ours outside: when that ends, so shall the driver.
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

/// The machine's tree, from outside.
pub(crate) fn tree(bed: &Bed) -> PathBuf {
    bed.state().join("tree")
}

/// The driver's records, from outside.
pub(crate) fn records(bed: &Bed) -> PathBuf {
    bed.state().join("driver")
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
