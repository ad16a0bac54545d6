//! Shared by `plan`, `run` and `bind`: the CPUs and cores of this process, the CPUs of this machine, and the cores that other
//! processes hold.

use std::io::Write;

use nearfab::plan::{PlanOptions, Rank, visible_cores};
use nearfab::probe::{DeviceProbe, Probe};
use nearfab::system::aborting;
use nearfab::{Bdf, CpuCores, CpuList, Error, Host};
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
    /// Returns the options of a plan under the environment of this process: `plan`, `run --dry-run`, `run` and `bind` judge the
    /// environment alike. The environment does not apply to a table or to a recorded host.
    pub(crate) fn options(&self, input: &Input, ranks: u32, err: &mut dyn Write) -> Result<PlanOptions, Failure> {
        let options = self.options_of_host(input, ranks, err)?;
        if input.has_this_environment() { limit(&input.host, options) } else { Ok(options) }
    }

    /// Returns the options of a plan for this host: the threads of each CPU core, and the kernel of the host.
    fn options_of_host(&self, input: &Input, ranks: u32, err: &mut dyn Write) -> Result<PlanOptions, Failure> {
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

/// What the parent process left to this process: its CPUs, and the devices that its environment names.
pub(crate) struct Allotment {
    pub(crate) cpus: CpuList,
}

impl Allotment {
    pub(crate) fn of_this_process() -> Result<Self, Failure> {
        let set = sched_getaffinity(Pid::from_raw(0)).map_err(|errno| {
            Failure::launch(format!("cannot read the CPUs of this process (sched_getaffinity): {errno}"))
        })?;
        let cpus =
            (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true)).filter_map(|cpu| cpu.try_into().ok());
        Ok(Self { cpus: cpus.collect() })
    }
}

/// Limits a plan to the cores in NEURON_RT_VISIBLE_CORES and the GPUs in CUDA_VISIBLE_DEVICES.
///
/// Fails if NEURON_LOGICAL_NC_CONFIG numbers cores in another way than the host does: the ranks would get cores of another
/// process.
fn limit(host: &Host, options: PlanOptions) -> Result<PlanOptions, Failure> {
    let variable = |name: &str| std::env::var(name).ok();
    if let (Some(value), Some(lnc)) = (variable(CORE_SIZE), host.lnc())
        && value.trim() != lnc.size.to_string()
    {
        return Err(Failure::launch(format!(
            "{CORE_SIZE}={value:?} is set, but the logical cores of this host are numbered with LNC {}: unset the variable, or \
             leave --root out",
            lnc.size
        )));
    }
    let options = match variable(VISIBLE_CORES) {
        Some(text) => options.on_cores(visible_cores(&text)?),
        None => options,
    };
    Ok(match variable(VISIBLE_GPUS) {
        Some(_) => options.on_gpus(cuda_gpus(host, variable)?),
        None => options,
    })
}

/// Returns the GPUs that CUDA shows processes of this environment; all GPUs of a host that this environment says nothing
/// about.
pub(crate) fn visible_gpus(input: &Input) -> nearfab::Result<Vec<Bdf>> {
    cuda_gpus(&input.host, |name: &str| std::env::var(name).ok().filter(|_| input.has_this_environment()))
}

fn cuda_gpus(host: &Host, variable: impl Fn(&str) -> Option<String>) -> nearfab::Result<Vec<Bdf>> {
    host.cuda_gpus(variable(VISIBLE_GPUS).as_deref(), variable(DEVICE_ORDER).as_deref())
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
