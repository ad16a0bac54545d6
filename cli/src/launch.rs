//! Shared by `plan`, `run` and `bind`: the CPUs and cores of this process, the CPUs of this machine, and the cores that other
//! processes hold.

use std::collections::BTreeSet;
use std::io::Write;

use nearfab::plan::{PlanOptions, Rank, visible_cores};
use nearfab::probe::{DeviceProbe, Probe};
use nearfab::system::aborting;
use nearfab::{Bdf, CpuCores, CpuList, Error, Host, LogicalCore, Origin};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::failure::{Failure, print_message};
use crate::source::{Input, Source};

const VISIBLE_CORES: &str = "NEURON_RT_VISIBLE_CORES";
const CORE_SIZE: &str = "NEURON_LOGICAL_NC_CONFIG";
const VISIBLE_GPUS: &str = "CUDA_VISIBLE_DEVICES";
const DEVICE_ORDER: &str = "CUDA_DEVICE_ORDER";

#[derive(clap::Args, Default)]
pub(crate) struct PlanFlags {
    /// Limit each rank to the EFA interfaces near the cores or GPUs of the rank. This option sets FI_EFA_IFACE, which libfabric
    /// 2.0 or newer reads.
    #[arg(long)]
    only_near_efa: bool,
}

impl PlanFlags {
    /// Returns the options of a plan for this host: the threads of each CPU core, and the kernel of the host.
    pub(crate) fn options(&self, input: &Input, ranks: u32, err: &mut dyn Write) -> Result<PlanOptions, Failure> {
        if let Some(reason) = input.host.nothing_found().filter(|_| input.host.gpus().is_empty()) {
            return Err(Failure::Nothing(reason));
        }
        let mut options = PlanOptions::ranks(ranks);
        if self.only_near_efa {
            options = options.narrowed();
        }
        match CpuCores::read(&input.host) {
            Ok(threads) => options = options.with_threads(threads),
            Err(Error::NoTree { .. }) => {}
            Err(error) => print_message(err, &error.to_string()),
        }
        let kernel = input.kernel()?.and_then(|kernel| kernel.parse().ok());
        Ok(match kernel {
            Some(kernel) => options.for_kernel(kernel),
            None => options,
        })
    }
}

/// The CPUs and Neuron cores that the parent process left to this process.
pub(crate) struct Allotment {
    pub(crate) cpus: CpuList,
    cores: Option<Vec<LogicalCore>>,
}

impl Allotment {
    pub(crate) fn of_this_process() -> Result<Self, Failure> {
        let set = sched_getaffinity(Pid::from_raw(0)).map_err(|errno| {
            Failure::launch(format!("cannot read the CPUs of this process (sched_getaffinity): {errno}"))
        })?;
        let cpus =
            (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true)).filter_map(|cpu| cpu.try_into().ok());
        let cores = std::env::var(VISIBLE_CORES).ok().map(|text| visible_cores(&text)).transpose()?;
        Ok(Self { cpus: cpus.collect(), cores })
    }

    /// Limits a plan to the cores in NEURON_RT_VISIBLE_CORES.
    ///
    /// Fails if NEURON_LOGICAL_NC_CONFIG or CUDA_VISIBLE_DEVICES numbers cores or GPUs in another way than the host does: the
    /// ranks would get cores or GPUs of another process.
    pub(crate) fn limit(&self, host: &Host, options: PlanOptions) -> Result<PlanOptions, Failure> {
        let variable = |name| std::env::var(name).ok();
        if let (Some(value), Some(lnc)) = (variable(CORE_SIZE), host.lnc())
            && value.trim() != lnc.size.to_string()
        {
            return Err(Failure::launch(format!(
                "{CORE_SIZE}={value:?} is set, but the logical cores of this host are numbered with LNC {}: unset the variable, or \
                 leave --root out",
                lnc.size
            )));
        }
        if let (Some(value), true) = (variable(VISIBLE_GPUS), host.neuron_devices().is_empty())
            && !are_all(&value, host.gpus().len())
        {
            return Err(Failure::launch(format!(
                "{VISIBLE_GPUS}={value:?} is set, but a plan divides all {} GPUs of the host: unset the variable to use all GPUs",
                host.gpus().len()
            )));
        }
        Ok(match &self.cores {
            Some(cores) => options.on_cores(cores.clone()),
            None => options,
        })
    }
}

/// Returns the GPUs that CUDA shows processes of this environment. The environment of this process says nothing about a host
/// from a table or a file.
pub(crate) fn visible_gpus(host: &Host) -> nearfab::Result<Vec<Bdf>> {
    let is_here = matches!(host.origin(), Origin::Machine | Origin::Tree { .. });
    let variable = |name| std::env::var(name).ok().filter(|_| is_here);
    host.cuda_gpus(variable(VISIBLE_GPUS).as_deref(), variable(DEVICE_ORDER).as_deref())
}

/// Whether a list has each number below `count`, and no other.
fn are_all(list: &str, count: usize) -> bool {
    let numbers: Result<BTreeSet<usize>, _> = list.split(',').map(|number| number.trim().parse()).collect();
    numbers.is_ok_and(|numbers| numbers.into_iter().eq(0..count))
}

/// Returns the variables to add to the environment of this process for the rank's process.
pub(crate) fn variables_of(rank: &Rank) -> Vec<(String, String)> {
    let variables = rank.variables_beside(|name| std::env::var_os(name).is_some());
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Writes a message for each environment variable that makes libfabric's efa provider abort the rank's process.
pub(crate) fn warn_of_aborting(rank: &Rank, err: &mut dyn Write) {
    let inherited =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let environment = inherited.chain(variables_of(rank)).collect();
    for (name, reason) in aborting(&environment) {
        print_message(err, &format!("{name} makes libfabric's efa provider abort the process: {reason}"));
    }
}

/// Binds this process to the CPUs.
pub(crate) fn bind_to(cpus: &CpuList) -> Result<(), Failure> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    let added = cpus.iter().try_for_each(|cpu| set.set(cpu as usize));
    added.and_then(|()| sched_setaffinity(Pid::from_raw(0), &set)).map_err(|errno| {
        Failure::launch(format!("cannot bind this process to the CPUs {cpus} (sched_setaffinity): {errno}"))
    })
}

/// Fails if a rank is assigned CPUs that are not online: the kernel would ignore these CPUs and report no error.
pub(crate) fn refuse_absent<'a>(host: &Host, ranks: impl IntoIterator<Item = &'a Rank>) -> Result<(), Failure> {
    let machine = if host.is_live() { host.clone() } else { Host::discover()? };
    let online = CpuCores::read(&machine)?.cpus();
    for rank in ranks {
        let absent = rank.cpus.cpus.without(&online);
        if !absent.is_empty() {
            let reason =
                format!("rank {} is assigned CPUs that are not online: {absent}; online CPUs: {online}", rank.rank);
            return Err(Failure::launch(reason));
        }
    }
    Ok(())
}

/// Fails if `check` finds cores held by other processes. Does nothing on a host that is not this machine.
///
/// If a core is held, a second query asks the driver for the attached processes. The first query does not ask for the
/// processes, because this question takes one of the device's places.
pub(crate) fn refuse_held(
    input: &Input,
    source: &Source,
    err: &mut dyn Write,
    check: impl Fn(&Probe) -> nearfab::Result<()>,
) -> Result<(), Failure> {
    if !input.host.is_live() || input.host.neuron_devices().is_empty() {
        return Ok(());
    }
    let probe = match nearfab::probe(&input.host, source.probe_options()) {
        Err(Error::ProbeRefused { reason, .. }) => {
            print_message(err, &format!("did not check whether other processes hold cores: {reason}"));
            return Ok(());
        }
        probe => probe?,
    };
    if let Some((device, error)) = probe.devices.iter().find_map(|probed| Some((probed.device, unanswered(probed)?))) {
        let message = format!("cannot check whether other processes hold cores of {device}: {error}");
        print_message(err, &message);
    }
    let Err(held) = check(&probe) else { return Ok(()) };
    if let Ok(probe) = nearfab::probe(&input.host, source.probe_options().with_processes()) {
        check(&probe)?;
    }
    Err(held.into())
}

/// Returns the error of the first core whose state the driver did not report.
fn unanswered(probed: &DeviceProbe) -> Option<&Error> {
    match &probed.answers {
        Ok(answers) => answers.cores.iter().find_map(|core| core.state.as_ref().err()),
        Err(error) => Some(error),
    }
}
