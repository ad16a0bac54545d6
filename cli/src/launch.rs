//! What `plan`, `run` and `bind` share: what this process was given, the machine that it is on, cores that others hold.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use nearfab::plan::{PlanOptions, Rank, visible_cores};
use nearfab::probe::Probe;
use nearfab::{CpuCores, CpuList, Error, Host, LogicalCore};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::source::{Seen, Source};
use crate::{Failure, complain};

/// How torchrun numbers the processes of a host. What `run` starts is told so, and `bind` understands it.
pub(crate) const RANK: &str = "LOCAL_RANK";
pub(crate) const RANKS: &str = "LOCAL_WORLD_SIZE";
const VISIBLE_CORES: &str = "NEURON_RT_VISIBLE_CORES";

#[derive(clap::Args)]
pub(crate) struct Ask {
    /// Let each rank open its near EFA interfaces only (FI_EFA_IFACE, which libfabric 2.0 and newer reads).
    #[arg(long)]
    only_near_efa: bool,
}

impl Ask {
    /// What a plan is to be made of, by what is known of the host.
    pub(crate) fn options(&self, seen: &Seen, ranks: u32) -> nearfab::Result<PlanOptions> {
        let mut options = PlanOptions::ranks(ranks);
        if self.only_near_efa {
            options = options.narrowed();
        }
        match CpuCores::read(&seen.host) {
            Ok(threads) => options = options.with_threads(threads),
            Err(Error::NoTree { .. }) => {}
            Err(error) => complain(&error.chain()),
        }
        let kernel = seen.record()?.surroundings.and_then(|around| around.kernel?.parse().ok());
        Ok(match kernel {
            Some(kernel) => options.for_kernel(kernel),
            None => options,
        })
    }
}

/// The CPUs and cores that whoever started this process left to it.
pub(crate) struct Given {
    pub(crate) cpus: CpuList,
    cores: Option<Vec<LogicalCore>>,
}

impl Given {
    pub(crate) fn to_this_process() -> Result<Self, Failure> {
        let set = sched_getaffinity(Pid::from_raw(0))
            .map_err(|errno| Failure::launch(format!("the kernel does not tell this process's CPUs: {errno}")))?;
        let cpus =
            (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true)).filter_map(|cpu| cpu.try_into().ok());
        let cores = std::env::var(VISIBLE_CORES).ok().map(|text| visible_cores(&text)).transpose()?;
        Ok(Self { cpus: cpus.collect(), cores })
    }

    /// Plans on the given cores only.
    pub(crate) fn cores_of(&self, options: PlanOptions) -> PlanOptions {
        match &self.cores {
            Some(cores) => options.on_cores(cores.clone()),
            None => options,
        }
    }
}

/// Binds this process.
pub(crate) fn bind_to(cpus: &CpuList) -> Result<(), Failure> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    let added = cpus.iter().try_for_each(|cpu| set.set(cpu as usize));
    added
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|errno| Failure::launch(format!("this process cannot be bound to the CPUs {cpus}: {errno}")))
}

/// Refuses CPUs that this machine does not have: the kernel would bind to the others without a word.
pub(crate) fn refuse_absent<'a>(host: &Host, ranks: impl IntoIterator<Item = &'a Rank>) -> Result<(), Failure> {
    let machine = if host.is_live() { host.clone() } else { Host::discover()? };
    let online = CpuCores::read(&machine)?.cpus();
    for rank in ranks {
        let absent = rank.cpus.cpus.without(&online);
        if !absent.is_empty() {
            let reason = format!(
                "rank {} is to have CPUs that this machine does not have: {absent}; it has {online}",
                rank.rank
            );
            return Err(Failure::launch(reason));
        }
    }
    Ok(())
}

/// Refuses what `check` finds held by others, where this machine's driver may be asked. Who it is by is asked only then,
/// since that takes a place for processes.
pub(crate) fn refuse_held(
    seen: &Seen,
    source: &Source,
    check: impl Fn(&Probe) -> nearfab::Result<()>,
) -> Result<(), Failure> {
    if !seen.host.is_live() || seen.host.neuron().is_empty() {
        return Ok(());
    }
    let asked = match nearfab::probe(&seen.host, source.probing()) {
        Err(Error::ProbeRefused { reason }) => {
            complain(&format!("whether others hold cores was not asked: {reason}"));
            return Ok(());
        }
        asked => asked?,
    };
    let Err(held) = check(&asked) else { return Ok(()) };
    if let Ok(asked) = nearfab::probe(&seen.host, source.probing().with_processes()) {
        check(&asked)?;
    }
    Err(held.into())
}

/// A word as a shell reads it back.
pub(crate) fn quoted(word: &OsStr) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"%+,-./:=@_^".contains(byte);
    let text = word.to_string_lossy();
    let is_plain = !word.is_empty() && word.as_bytes().iter().all(plain);
    if is_plain { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
