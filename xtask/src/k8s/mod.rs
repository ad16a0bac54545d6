//! `cargo xtask k8s`: the Kubernetes bed. What it is for people: docs/testing/kubernetes.md.
//!
//! From the bottom up: [`versions`] (what is pinned) and [`build`] (it, from Go modules), [`image`] (container images from
//! our own files), [`cgroup`] (what the bed's processes are found by), [`config`] (files the components read), [`components`]
//! (their command lines), [`init`] (process 1 of the bed), [`bed`] (up, down and access from outside), [`driver`]
//! (nearfab-dra in the bed) and [`scenarios`] (what is tested).

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

/// The one node's name, in every object and file.
const NODE: &str = "node1";

/// The Kubernetes bed.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Bring the cluster up; the first time, build it (about 15 minutes on two cores)
    Up,
    /// Run the scenarios, on a cluster of their own unless one is up
    Test,
    /// Take the cluster down, or clean up after one that crashed
    Down,
    /// Run the cluster's own kubectl, as its administrator
    Kubectl {
        /// Passed on as they are
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Process 1 of the bed; started by `up`
    #[command(hide = true)]
    Init {
        /// The bed's state folder
        state: PathBuf,
    },
}

impl Command {
    /// Does it.
    ///
    /// # Errors
    /// What went wrong, for the person who gave the command.
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Up => {
                let bed = Bed::here()?;
                if let Some(reason) = bed::impossible() {
                    bail!("a bed cannot be brought up here: {reason}");
                }
                if bed.is_up()? {
                    say("already up");
                    return Ok(());
                }
                bed.up()
            }
            Self::Test => scenarios::test(),
            Self::Down => Bed::here()?.down(),
            Self::Kubectl { arguments } => {
                let bed = Bed::here()?;
                if !bed.is_up()? {
                    bail!("no cluster is up: cargo xtask k8s up");
                }
                Err(bed.kubectl()?.args(arguments).exec().into())
            }
            Self::Init { state } => init::main(&state),
        }
    }
}
