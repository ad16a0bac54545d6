//! What is examined, and what of it there is.

use std::collections::BTreeMap;

use nearfab::probe::Probe;
use nearfab::system::{Kubelet, Process};
use nearfab::{EfaInterface, Host, NeuronDevice, Origin, SystemInfo};

use super::fabric::Fabric;

/// A host and all that is known beside it.
pub(super) struct Case<'a> {
    pub(super) host: &'a Host,
    pub(super) surroundings: Option<&'a SystemInfo>,
    /// What the Neuron driver said, where it was asked.
    pub(super) probe: Option<&'a Probe>,
    /// What libfabric said, where it was asked.
    pub(super) fabric: Option<&'a Fabric>,
}

/// Why a check was not made.
#[derive(Debug)]
pub(super) enum Skip {
    /// There is nothing of the kind here.
    NotHere(&'static str),
    /// What it takes is not known of this host.
    NotKnown(String),
}

impl<'a> Case<'a> {
    /// The host, where it is one: a table has no drivers and no nodes.
    pub(super) fn machine(&self) -> Result<&'a Host, Skip> {
        match self.host.origin() {
            Origin::Table { .. } => Err(Skip::NotKnown("an instance table is no machine".to_owned())),
            _ => Ok(self.host),
        }
    }

    pub(super) fn efa(&self) -> Result<&'a [EfaInterface], Skip> {
        match self.machine()?.efa() {
            [] => Err(Skip::NotHere("no EFA interface")),
            efa => Ok(efa),
        }
    }

    pub(super) fn neuron(&self) -> Result<&'a [NeuronDevice], Skip> {
        match self.machine()?.neuron() {
            [] => Err(Skip::NotHere("no Neuron device")),
            neuron => Ok(neuron),
        }
    }

    pub(super) fn around(&self) -> Result<&'a SystemInfo, Skip> {
        self.machine()?;
        self.surroundings
            .ok_or_else(|| Skip::NotKnown("this record has the host alone: make one with nearfab record".into()))
    }

    pub(super) fn kubelet(&self) -> Result<&'a Kubelet, Skip> {
        self.around()?.kubelet.as_ref().ok_or(Skip::NotHere("no kubelet"))
    }

    pub(super) fn process(&self) -> Result<&'a Process, Skip> {
        let process = self.around()?.process.as_ref();
        process.ok_or_else(|| Skip::NotKnown("no process was looked at: name one of this tree with --pid".into()))
    }

    pub(super) fn environment(&self) -> Result<&'a BTreeMap<String, String>, Skip> {
        let environment = self.process()?.environment.as_ref();
        environment.ok_or_else(|| {
            Skip::NotKnown("the environment of the process may be read by its user and root only".into())
        })
    }

    /// How a finding about nodes ends inside of a container.
    pub(super) fn container(&self) -> String {
        let mark = self.surroundings.and_then(|around| around.container.as_ref());
        mark.map(|mark| format!("; this is a container ({mark})")).unwrap_or_default()
    }

    /// The value of an environment variable of the process, where both are known.
    pub(super) fn variable(&self, name: &str) -> Option<&'a str> {
        self.surroundings?.process.as_ref()?.variable(name)
    }
}

/// How a finding names a process.
pub(super) fn name_of(process: &Process) -> Vec<String> {
    let name = process.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    match process.pid {
        Some(pid) => vec![format!("process {pid}{name}")],
        None => vec!["processes started from here".to_owned()],
    }
}
