//! Divides a host among processes: the cores, EFA interfaces and CPUs of each.
//!
//! A plan is a pure function of a [`Host`] and of [`PlanOptions`]. Planning opens no device and binds no process. The
//! environment of a plan is for processes that are started later. This process keeps its own environment.

mod cores;
mod cpus;
mod environment;
mod formats;
mod held;
mod share;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use crate::tables::variables::Variable;
pub use cores::CpuCores;
pub use cpus::{CpuReason, CpuShare, ThreadEvidence};
pub use formats::RailFormat;
use serde::{Deserialize, Serialize};
pub use share::{GpuUnit, NearOf, Share, visible_cores};

use crate::error::Result;
use crate::host::Host;
use crate::scan::neuron::Lnc;
use crate::tables::variables::Accelerators;
use crate::tables::version_rules::Version;
use crate::topology::RailOptions;
use crate::types::{Bdf, CpuList, LogicalCore};

/// The number of ranks, and the restrictions of a plan.
///
/// ```
/// use nearfab::plan::PlanOptions;
/// let options = PlanOptions::ranks(4).on_cpus("0-47".parse()?).narrowed();
/// # let _ = options;
/// # Ok::<(), nearfab::ParseCpuListError>(())
/// ```
#[derive(Debug, Clone)]
pub struct PlanOptions {
    ranks: u32,
    cores: Option<Vec<LogicalCore>>,
    gpus: Option<Vec<Bdf>>,
    cpus: Option<CpuList>,
    threads: Option<CpuCores>,
    kernel: Option<Version>,
    narrowed: bool,
}

impl PlanOptions {
    /// Plans for this number of processes on the whole host.
    #[must_use]
    pub fn ranks(ranks: u32) -> Self {
        Self { ranks, cores: None, gpus: None, cpus: None, threads: None, kernel: None, narrowed: false }
    }

    /// Uses only these logical cores, such as the cores of a `NEURON_RT_VISIBLE_CORES` that is already set.
    #[must_use]
    pub fn on_cores(self, cores: Vec<LogicalCore>) -> Self {
        Self { cores: Some(cores), ..self }
    }

    /// Uses only these GPUs, such as the GPUs of a `CUDA_VISIBLE_DEVICES` that is already set; see
    /// [`Host::cuda_gpus`]. The numbers of the plan are positions among all GPUs that the container can open, because
    /// the plan replaces `CUDA_VISIBLE_DEVICES`.
    #[must_use]
    pub fn on_gpus(self, gpus: Vec<Bdf>) -> Self {
        Self { gpus: Some(gpus), ..self }
    }

    /// Uses only these CPUs, such as the CPUs that a launcher or a container gives to all ranks together.
    #[must_use]
    pub fn on_cpus(self, cpus: CpuList) -> Self {
        Self { cpus: Some(cpus), ..self }
    }

    /// Uses these CPU cores, as the kernel reports them. Without these CPU cores, the plan assumes the threads of each
    /// core from EC2's numbering, and marks the threads as assumed.
    #[must_use]
    pub fn with_threads(self, threads: CpuCores) -> Self {
        Self { threads: Some(threads), ..self }
    }

    /// Plans for this kernel. Some environment variables are needed only on old kernels.
    #[must_use]
    pub fn for_kernel(self, kernel: Version) -> Self {
        Self { kernel: Some(kernel), ..self }
    }

    /// Restricts each rank to its near interfaces (`FI_EFA_IFACE`). Ranks are not restricted by default: a library may
    /// choose better among all interfaces, and libfabric reports no error if a restricted rank finds no interface.
    #[must_use]
    pub fn narrowed(self) -> Self {
        Self { narrowed: true, ..self }
    }
}

/// The cores or GPUs, EFA interfaces and CPUs of each rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RecordedPlan")]
#[non_exhaustive]
pub struct Plan {
    /// The logical core configuration (LNC) of the core numbers; `None` for GPUs.
    pub lnc: Option<Lnc>,
    /// The ranks, ascending from 0.
    pub ranks: Vec<Rank>,
    /// The variables in the ranks' environments: the library that reads each, its versions, and why the variable is
    /// set.
    pub variables: Vec<&'static Variable>,
}

/// The cores or GPUs, EFA interfaces and CPUs of one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rank {
    /// The number of the rank on the host, from 0.
    pub rank: u32,
    /// The cores or GPUs.
    pub share: Share,
    /// The EFA interfaces nearest to each device or GPU, with evidence.
    pub near: Vec<NearOf>,
    /// The CPUs, with the reason.
    pub cpus: CpuShare,
    /// The environment variables for the process.
    pub environment: BTreeMap<String, String>,
}

impl Rank {
    /// Returns the EFA interfaces that are nearest to any of the rank's devices or GPUs, each once.
    #[must_use]
    pub fn interfaces(&self) -> Vec<Bdf> {
        share::interfaces(&self.near)
    }

    /// Returns the variables to set in a process that already has an environment. A variable that only makes a default
    /// explicit is left out if `is_set` returns true for the name of the variable.
    pub fn variables_beside<'a>(
        &'a self,
        is_set: impl Fn(&str) -> bool + 'a,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let keeps = move |name: &str| environment::is_default(name) && is_set(name);
        self.environment
            .iter()
            .filter(move |(name, _)| !keeps(name))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Divides a host among ranks.
///
/// Each rank gets the same number of consecutive logical cores, or of GPUs on a host without Neuron devices. Each rank
/// gets the [rails](Host::rails) of its cores or GPUs, and a part of the CPUs of their NUMA nodes. On a host without
/// accelerators, as of MPI programs, the ranks get equal parts of the CPU cores and the interfaces near them. CPUs are
/// divided by whole cores.
///
/// ```
/// use nearfab::Host;
/// use nearfab::plan::{PlanOptions, plan};
///
/// let host = Host::from_instance("trn2.48xlarge")?; // on the instance itself: Host::discover()?
/// let plan = plan(&host, &PlanOptions::ranks(16))?;
/// let rank = &plan.ranks[5];
/// assert_eq!(rank.environment["NEURON_RT_VISIBLE_CORES"], "20-23");
/// assert_eq!(rank.interfaces(), ["0000:57:00.0".parse()?]);
/// let nearest = rank.near[0].list.nearest().next().expect("the table pairs each device of this type");
/// assert_eq!(nearest.evidence.to_string(), "table trn2.48xlarge");
/// assert_eq!(rank.cpus.cpus.to_string(), "6-11,102-107");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::NoPlan`](crate::Error::NoPlan) if
/// - none of the host's Neuron devices or GPUs can be used, or their number is not a multiple of the number of ranks (the error
///   names the numbers that fit);
/// - a rank would get logical cores that are not consecutive;
/// - none of the given CPUs is on the NUMA nodes of a rank;
/// - ranks are restricted to interfaces whose RDMA names are unknown.
pub fn plan(host: &Host, options: &PlanOptions) -> Result<Plan> {
    let lnc = host.lnc();
    let shares = share::divide(host, options)?;
    let nodes: Vec<Vec<Option<u32>>> = shares.iter().map(|share| share.nodes(host)).collect();
    let cpus = match shares.first() {
        Some(Share::Cpus) | None => cpus::divide_evenly(host, options)?,
        Some(_) => cpus::divide(host, options, &nodes)?,
    };
    let mut variables = environment::variables(host, options);
    let rails = host.all_rails(RailOptions::default());
    let mut ranks = Vec::with_capacity(shares.len());
    for ((rank, share), cpus) in (0..).zip(shares).zip(cpus) {
        let near = share.near(host, &rails, &cpus.numa);
        let resources =
            environment::Resources { host, share: &share, lnc: lnc.as_ref(), interfaces: &share::interfaces(&near) };
        let environment = resources.environment(rank, &variables)?;
        ranks.push(Rank { rank, share, near, cpus, environment });
    }
    variables.retain(|variable| ranks.iter().any(|rank| rank.environment.contains_key(variable.name)));
    Ok(Plan { lnc, ranks, variables })
}

/// The JSON form of a [`Plan`]. The variables of the plan are looked up again in the table of variables.
#[derive(Deserialize)]
struct RecordedPlan {
    lnc: Option<Lnc>,
    ranks: Vec<Rank>,
    variables: Vec<RecordedVariable>,
}

#[derive(Deserialize)]
struct RecordedVariable {
    name: String,
}

impl TryFrom<RecordedPlan> for Plan {
    type Error = String;

    fn try_from(RecordedPlan { lnc, ranks, variables }: RecordedPlan) -> std::result::Result<Self, String> {
        let accelerators = if lnc.is_some() { Accelerators::Neuron } else { Accelerators::Gpu };
        let known = |RecordedVariable { name }: RecordedVariable| {
            environment::find(&name, accelerators)
                .ok_or_else(|| format!("the environment variable {name} is not of this version of nearfab"))
        };
        let variables = variables.into_iter().map(known).collect::<std::result::Result<_, _>>()?;
        Ok(Self { lnc, ranks, variables })
    }
}
