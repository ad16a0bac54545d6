//! Refuses plans over cores that other processes hold.

use super::{Plan, Rank, Share};
use crate::error::{Error, Result};
use crate::types::probe::{CoreState, DeviceProbe, Probe};
use crate::types::{HostDevice, LogicalCore, PhysicalCore};

impl Plan {
    /// Refuses a plan over cores that are held. The driver does not report which process holds a core. The driver lists
    /// the processes that are attached to the device, if the probe asked for them
    /// ([`ProbeOptions::with_processes`](crate::probe::ProbeOptions::with_processes)).
    ///
    /// A core whose state the driver did not report counts as free.
    ///
    /// # Errors
    /// [`Error::NoPlan`] names the cores, the ranks, and the attached processes if these are known.
    pub fn refuse_held(&self, probe: &Probe) -> Result<()> {
        refuse(self.ranks.iter(), probe)
    }
}

impl Rank {
    /// Refuses a rank whose cores are held; see [`Plan::refuse_held`].
    ///
    /// # Errors
    /// [`Error::NoPlan`] names the cores, and the attached processes if these are known.
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
    let each: Vec<String> = held.iter().map(|held| held.describe(probe)).collect();
    let reason =
        format!("other processes hold cores: {}; end these processes, or plan over other cores", each.join("; "));
    Err(Error::NoPlan { reason })
}

fn of_device(probe: &Probe, device: HostDevice) -> Option<&DeviceProbe> {
    probe.devices.iter().find(|probed| probed.device == device)
}

fn is_held(probe: &Probe, device: HostDevice, core: PhysicalCore) -> bool {
    let Some(Ok(answers)) = of_device(probe, device).map(|probed| &probed.answers) else { return false };
    answers.cores.iter().any(|probed| probed.core == core && matches!(probed.state, Ok(CoreState::Held)))
}

/// Returns true if the probe itself is among the attached processes. In a PID namespace, a process cannot find its PID
/// in the list.
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
    /// Returns a text such as `nc4, nc5 of neuron1 (rank 2; process 41 is attached to neuron1)`.
    fn describe(&self, probe: &Probe) -> String {
        let cores: Vec<String> = self.cores.iter().map(|core| format!("nc{core}")).collect();
        let device = self.device;
        let probed = of_device(probe, device);
        let pids = probed.and_then(DeviceProbe::pids);
        let pids: Option<Vec<String>> = pids.map(|pids| pids.iter().map(ToString::to_string).collect());
        let attached = match pids.as_deref() {
            None => String::new(),
            Some([]) => format!("; no process is attached to {device}: the holder has ended or uses no other function"),
            Some([pid]) => format!("; process {pid} is attached to {device}"),
            Some(pids) => format!("; processes {} are attached to {device}", pids.join(", ")),
        };
        let probing = if probed.is_some_and(includes_probe) { ", including this probe" } else { "" };
        format!("{} of {device} (rank {}{attached}{probing})", cores.join(", "), self.rank)
    }
}
