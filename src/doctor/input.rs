//! The input of the doctor's checks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitStatus;

use crate::host::{Host, Origin};
use crate::scan::efa::EfaInterface;
use crate::scan::neuron::NeuronDevice;
use crate::system::{Kubelet, Process, SystemInfo};
use crate::types::probe::Probe;

/// What the doctor judges: a host, its system, and the answers of the Neuron driver and of libfabric.
///
/// Checks whose data are `None` are not made, and the report gives the reason.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Input<'a> {
    /// The host.
    pub host: &'a Host,
    /// The system of the host, with the process to examine.
    pub system: Option<&'a SystemInfo>,
    /// The answers of the Neuron driver to a probe.
    pub probe: Option<&'a Probe>,
    /// The answer of libfabric's program `fi_info`.
    pub fi_info: Option<&'a FiInfo>,
}

/// The answer of libfabric's program `fi_info -p efa -t FI_EP_RDM` on the machine. The doctor does not run the program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FiInfo {
    /// The machine has no such program.
    NotInstalled,
    /// The program could not be started, or did not end before a deadline.
    NotRun {
        /// The path of the program.
        program: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The program ended.
    Ended {
        /// The path of the program.
        program: PathBuf,
        /// Its exit status.
        status: ExitStatus,
        /// Its standard output.
        stdout: String,
        /// Its standard error.
        stderr: String,
    },
}

/// Why a check was not made.
#[derive(Debug)]
pub(super) enum Skip {
    /// The host has no device or software of the kind.
    NotApplicable(&'static str),
    /// The data for the check are missing.
    NotPossible(String),
}

impl Skip {
    /// Returns the reason.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::NotApplicable(reason) => reason,
            Self::NotPossible(reason) => reason,
        }
    }
}

impl<'a> Input<'a> {
    /// Returns an input that has only a host. Set the other fields if they are known.
    #[must_use]
    pub fn new(host: &'a Host) -> Self {
        Self { host, system: None, probe: None, fi_info: None }
    }

    /// Returns the host; skips a table, which has no drivers and no nodes.
    pub(super) fn machine(&self) -> Result<&'a Host, Skip> {
        match self.host.origin() {
            Origin::Table { .. } => {
                Err(Skip::NotPossible("an instance table has no drivers and no settings".to_owned()))
            }
            _ => Ok(self.host),
        }
    }

    pub(super) fn efa(&self) -> Result<&'a [EfaInterface], Skip> {
        match self.machine()?.efa_interfaces() {
            [] => Err(Skip::NotApplicable("no EFA interface")),
            efa => Ok(efa),
        }
    }

    pub(super) fn neuron(&self) -> Result<&'a [NeuronDevice], Skip> {
        match self.machine()?.neuron_devices() {
            [] => Err(Skip::NotApplicable("no Neuron device")),
            neuron => Ok(neuron),
        }
    }

    pub(super) fn system(&self) -> Result<&'a SystemInfo, Skip> {
        self.machine()?;
        self.system.ok_or_else(|| {
            Skip::NotPossible("this file has the host without its system: make one with nearfab record".into())
        })
    }

    pub(super) fn kubelet(&self) -> Result<&'a Kubelet, Skip> {
        self.system()?.kubelet.as_ref().ok_or(Skip::NotApplicable("no kubelet"))
    }

    pub(super) fn process(&self) -> Result<&'a Process, Skip> {
        let process = self.system()?.process.as_ref();
        process.ok_or_else(|| Skip::NotPossible("no process given: name a process of this tree with --pid".into()))
    }

    pub(super) fn environment(&self) -> Result<&'a BTreeMap<String, String>, Skip> {
        let environment = self.process()?.environment.as_ref();
        environment
            .ok_or_else(|| Skip::NotPossible("only root and the user of the process may read its environment".into()))
    }

    /// Returns the end of a finding about nodes: a note that the host is seen from a container. Returns an empty string
    /// outside of a container.
    pub(super) fn container_note(&self) -> String {
        let mark = self.system.and_then(|system| system.container.as_ref());
        mark.map(|mark| format!("; this is a container ({mark})")).unwrap_or_default()
    }

    /// Returns the value of an environment variable of the process, if the process and the variable are known.
    pub(super) fn variable(&self, name: &str) -> Option<&'a str> {
        self.system?.process.as_ref()?.variable(name)
    }
}

/// Returns the name of a process in findings.
pub(super) fn name_of(process: &Process) -> Vec<String> {
    let name = process.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    match process.pid {
        Some(pid) => vec![format!("process {pid}{name}")],
        None => vec!["processes started from here".to_owned()],
    }
}
