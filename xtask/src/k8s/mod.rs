//! `cargo xtask k8s`: the Kubernetes bed, described in docs/testing/kubernetes.md.
//!
//! From the bottom up: [`versions`] (the pinned versions), [`build`] (builds them from Go modules), [`image`] (container images
//! of files of this machine), [`cgroup`] (finds the bed's processes), [`config`] (the files that the components read),
//! [`components`] (the components' command lines), [`init`] (process 1 of the bed), [`bed`] (up, down and access from outside),
//! [`driver`] (nearfab-dra in the bed) and [`scenarios`] (the tests).

mod bed;
mod build;
mod cgroup;
mod components;
mod config;
mod driver;
mod image;
mod init;
mod scenarios;
mod versions;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Subcommand;

use crate::run::say;
use bed::Bed;

/// The name of the only node, in every object and file.
const NODE: &str = "node1";

/// The Kubernetes bed.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start the cluster; the first time, build it (about 15 minutes on two cores)
    Up,
    /// Run the scenarios on the running cluster, or on one that is started for them
    Test,
    /// Stop the cluster, or clean up after one that crashed
    Down,
    /// Run the cluster's kubectl as the cluster's administrator
    Kubectl {
        /// The arguments of kubectl
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run process 1 of the bed; `up` starts it
    #[command(hide = true)]
    Init {
        /// The bed's state folder
        state: PathBuf,
    },
}

impl Command {
    /// Runs the subcommand.
    ///
    /// # Errors
    /// If the subcommand fails.
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Up => {
                let bed = Bed::of_checkout()?;
                if let Some(reason) = bed::impossible() {
                    bail!("the cluster cannot be started on this machine: {reason}");
                }
                if bed.is_up()? {
                    say("the cluster is up already");
                    return Ok(());
                }
                bed.up()
            }
            Self::Test => scenarios::test(),
            Self::Down => Bed::of_checkout()?.down(),
            Self::Kubectl { arguments } => {
                let bed = Bed::of_checkout()?;
                if !bed.is_up()? {
                    bail!("no cluster is up: run `cargo xtask k8s up`");
                }
                Err(bed.kubectl()?.args(arguments).exec().into())
            }
            Self::Init { state } => init::main(&state),
        }
    }
}
