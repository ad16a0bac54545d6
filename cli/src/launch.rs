//! What `plan`, `run` and `bind` share: what this process was given, the machine that it is on, cores that others hold.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use nearfab::plan::{PlanOptions, Rank, visible_cores};
use nearfab::probe::{DeviceProbe, Probe};
use nearfab::system::aborting;
use nearfab::{CpuCores, CpuList, Error, Host, LogicalCore};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::failure::{Failure, complain};
use crate::source::{Seen, Source};

const VISIBLE_CORES: &str = "NEURON_RT_VISIBLE_CORES";
const CORE_SIZE: &str = "NEURON_LOGICAL_NC_CONFIG";
const VISIBLE_GPUS: &str = "CUDA_VISIBLE_DEVICES";

#[derive(clap::Args)]
pub(crate) struct Ask {
    /// Let each rank open its near EFA interfaces only (FI_EFA_IFACE, which libfabric 2.0 and newer reads).
    #[arg(long)]
    only_near_efa: bool,
}

impl Ask {
    /// What a plan is to be made of, by what is known of the host.
    pub(crate) fn options(&self, seen: &Seen, ranks: u32) -> Result<PlanOptions, Failure> {
        if let Some(reason) = seen.host.nothing_found().filter(|_| seen.host.gpus().is_empty()) {
            return Err(Failure::Nothing(reason));
        }
        let mut options = PlanOptions::ranks(ranks);
        if self.only_near_efa {
            options = options.narrowed();
        }
        match CpuCores::read(&seen.host) {
            Ok(threads) => options = options.with_threads(threads),
            Err(Error::NoTree { .. }) => {}
            Err(error) => complain(&error.chain()),
        }
        let kernel = seen.record()?.system.and_then(|around| around.kernel?.parse().ok());
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
    ///
    /// Refuses what was meant for another count of cores or GPUs than the host's: the ranks would get others than were given.
    pub(crate) fn cores_of(&self, host: &Host, options: PlanOptions) -> Result<PlanOptions, Failure> {
        let variable = |name| std::env::var(name).ok();
        if let (Some(given), Some(lnc)) = (variable(CORE_SIZE), host.lnc())
            && given.trim() != lnc.size.to_string()
        {
            return Err(Failure::launch(format!(
                "{CORE_SIZE}={given:?} is set, and the cores of this host are counted by {}: unset it, or look at the host \
                 itself without --root",
                lnc.size
            )));
        }
        if let (Some(given), true) = (variable(VISIBLE_GPUS), host.neuron().is_empty())
            && !are_all(&given, host.gpus().len())
        {
            return Err(Failure::launch(format!(
                "{VISIBLE_GPUS}={given:?} is set, and a plan divides all {} GPUs of a host: unset it to use them all",
                host.gpus().len()
            )));
        }
        Ok(match &self.cores {
            Some(cores) => options.on_cores(cores.clone()),
            None => options,
        })
    }
}

/// Whether a list of numbers has each below `count`.
fn are_all(list: &str, count: usize) -> bool {
    let numbers: Result<BTreeSet<usize>, _> = list.split(',').map(|number| number.trim().parse()).collect();
    numbers.is_ok_and(|numbers| numbers.into_iter().eq(0..count))
}

/// What the rank's process is told beside what this one was, in its environment.
pub(crate) fn told(rank: &Rank) -> Vec<(&'static str, String)> {
    let told = rank.variables_beside(|name| std::env::var_os(name).is_some());
    told.map(|(name, value)| (name, value.to_owned())).collect()
}

/// Says which variables libfabric's efa provider would end a rank for, by what is set here and what it is told.
pub(crate) fn warn_of_aborting(rank: &Rank) {
    let here =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let environment = here.chain(told(rank).into_iter().map(|(name, value)| (name.to_owned(), value))).collect();
    for (name, reason) in aborting(&environment) {
        complain(&format!("libfabric's efa provider ends every process with {name}: {reason}"));
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
    if let Some((device, error)) = asked.devices.iter().find_map(|probed| Some((probed.device, unanswered(probed)?))) {
        complain(&format!("whether others hold cores of {device} was not answered: {}", error.chain()));
    }
    let Err(held) = check(&asked) else { return Ok(()) };
    if let Ok(asked) = nearfab::probe(&seen.host, source.probing().with_processes()) {
        check(&asked)?;
    }
    Err(held.into())
}

/// Why it is not known of a core of the device whether it is held.
fn unanswered(probed: &DeviceProbe) -> Option<&Error> {
    match &probed.answers {
        Ok(answers) => answers.cores.iter().find_map(|core| core.state.as_ref().err()),
        Err(error) => Some(error),
    }
}

/// A word as a shell reads it back.
pub(crate) fn quoted(word: &OsStr) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"%+,-./:=@_^".contains(byte);
    let text = word.to_string_lossy();
    let is_plain = !word.is_empty() && word.as_bytes().iter().all(plain);
    if is_plain { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
