//! Cores that somebody else has.

use super::{Plan, Rank, Share};
use crate::error::{Error, Result};
use crate::types::probe::{CoreState, DeviceProbe, Probe};
use crate::types::{HostDevice, LogicalCore, PhysicalCore};

impl Plan {
    /// Refuses a plan over cores that are held. By whom the driver tells nobody; who is attached to the device it does, where
    /// that was asked ([`ProbeOptions::with_processes`](crate::probe::ProbeOptions::with_processes)).
    ///
    /// What the driver did not answer stands against nothing.
    ///
    /// # Errors
    /// [`Error::NoPlan`], which names the cores, the ranks, and the processes as far as known.
    pub fn refuse_held(&self, probe: &Probe) -> Result<()> {
        refuse(self.ranks.iter(), probe)
    }
}

impl Rank {
    /// Refuses a rank whose cores are held; see [`Plan::refuse_held`].
    ///
    /// # Errors
    /// [`Error::NoPlan`].
    pub fn refuse_held(&self, probe: &Probe) -> Result<()> {
        refuse(std::iter::once(self), probe)
    }
}

fn refuse<'a>(ranks: impl Iterator<Item = &'a Rank>, probe: &Probe) -> Result<()> {
    let mut held: Vec<Held> = Vec::new();
    for rank in ranks {
        let Share::Cores { cores } = &rank.share else { continue };
        for row in cores.iter().filter(|row| row.physical.iter().any(|&core| is_held(probe, row.device, core))) {
            match held.last_mut() {
                Some(last) if last.rank == rank.rank && last.device == row.device => last.cores.push(row.logical),
                _ => held.push(Held { rank: rank.rank, device: row.device, cores: vec![row.logical] }),
            }
        }
    }
    if held.is_empty() {
        return Ok(());
    }
    let each: Vec<String> = held.iter().map(|held| held.told(probe)).collect();
    Err(Error::NoPlan { reason: format!("cores are held already: {}", each.join("; ")) })
}

fn of_device(probe: &Probe, device: HostDevice) -> Option<&DeviceProbe> {
    probe.devices.iter().find(|probed| probed.device == device)
}

fn is_held(probe: &Probe, device: HostDevice, core: PhysicalCore) -> bool {
    let Some(Ok(answers)) = of_device(probe, device).map(|probed| &probed.answers) else { return false };
    answers.cores.iter().any(|probed| probed.core == core && matches!(probed.state, Ok(CoreState::Held)))
}

/// Inside of a PID namespace a process cannot tell which of the numbers is its own.
fn includes_probe(probed: &DeviceProbe) -> bool {
    let users = probed.answers.as_ref().ok().and_then(|answers| answers.attachment.as_ref()?.as_ref().ok());
    users.is_some_and(|users| users.includes_probe)
}

struct Held {
    rank: u32,
    device: HostDevice,
    cores: Vec<LogicalCore>,
}

impl Held {
    /// `nc4, nc5 (neuron1, of rank 2), to which process 41 is attached`.
    fn told(&self, probe: &Probe) -> String {
        let cores: Vec<String> = self.cores.iter().map(|core| format!("nc{core}")).collect();
        let text = format!("{} ({}, of rank {})", cores.join(", "), self.device, self.rank);
        let probed = of_device(probe, self.device);
        let pids = probed.and_then(DeviceProbe::pids);
        let pids: Option<Vec<String>> = pids.map(|pids| pids.iter().map(ToString::to_string).collect());
        let attached = match pids.as_deref() {
            None => return text,
            Some([]) => ", to which no process is attached: its holder is gone, or does nothing but hold it".to_owned(),
            Some([pid]) => format!(", to which process {pid} is attached"),
            Some(pids) => format!(", to which processes {} are attached", pids.join(", ")),
        };
        text + &attached + if probed.is_some_and(includes_probe) { ", this probe among them" } else { "" }
    }
}
