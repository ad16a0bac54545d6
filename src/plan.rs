//! Which cores, interfaces and CPUs each of several processes on a host should use.
//!
//! A plan is made from what a [`Host`] shows and from what it is told; making one looks at nothing else, opens nothing and
//! binds nobody. What it says goes into the environment of processes yet to be started, never into that of this one.

mod cores;
mod cpus;
mod environment;
mod held;
mod share;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use crate::tables::variables::Variable;
pub use cores::CpuCores;
pub use cpus::{CpuReason, CpuShare, ThreadEvidence};
use serde::Serialize;
pub use share::{GpuUnit, NearOf, Share, visible_cores};

use crate::error::Result;
use crate::host::Host;
use crate::scan::neuron::Lnc;
use crate::tables::version_rules::Version;
use crate::types::{Bdf, CpuList, LogicalCore};

/// What a plan is made for.
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
    cpus: Option<CpuList>,
    threads: Option<CpuCores>,
    kernel: Option<Version>,
    narrowed: bool,
}

impl PlanOptions {
    /// For so many processes, on the whole host.
    #[must_use]
    pub fn ranks(ranks: u32) -> Self {
        Self { ranks, cores: None, cpus: None, threads: None, kernel: None, narrowed: false }
    }

    /// On these logical cores only, as somebody gave them.
    #[must_use]
    pub fn on_cores(self, cores: Vec<LogicalCore>) -> Self {
        Self { cores: Some(cores), ..self }
    }

    /// On these CPUs only, as a launcher or a container gives them to all ranks together.
    #[must_use]
    pub fn on_cpus(self, cpus: CpuList) -> Self {
        Self { cpus: Some(cpus), ..self }
    }

    /// With this knowledge of which CPUs are threads of one core. Without it, it is taken from how EC2 numbers them, and said
    /// to be.
    #[must_use]
    pub fn with_threads(self, threads: CpuCores) -> Self {
        Self { threads: Some(threads), ..self }
    }

    /// For this kernel: some variables are for old ones.
    #[must_use]
    pub fn for_kernel(self, kernel: Version) -> Self {
        Self { kernel: Some(kernel), ..self }
    }

    /// Each rank opens its near interfaces only (`FI_EFA_IFACE`). Not what one wants by default: a library may know better
    /// which of all it needs, and nothing says so where it then finds none.
    #[must_use]
    pub fn narrowed(self) -> Self {
        Self { narrowed: true, ..self }
    }
}

/// Who uses what, rank by rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Plan {
    /// The logical core configuration that the numbers of cores are meant in; `None` for GPUs.
    pub lnc: Option<Lnc>,
    /// The ranks, by number from 0.
    pub ranks: Vec<Rank>,
    /// The variables in their environments: who reads them, from which version on, and why they are set.
    pub variables: Vec<&'static Variable>,
}

/// What one process uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Rank {
    /// Its number on the host, from 0.
    pub rank: u32,
    /// Its cores or GPUs.
    pub share: Share,
    /// The EFA interfaces nearest to each device or GPU of them, and why.
    pub near: Vec<NearOf>,
    /// Its CPUs, and why.
    pub cpus: CpuShare,
    /// What its process is told by environment variables.
    pub environment: BTreeMap<&'static str, String>,
}

impl Rank {
    /// Its EFA interfaces: those nearest to any of its devices or GPUs, each once.
    #[must_use]
    pub fn interfaces(&self) -> Vec<Bdf> {
        share::interfaces(&self.near)
    }

    /// The environment of the rank's process where it has some already: what only makes a default explicit gives way to what
    /// is there.
    pub fn variables_beside<'a>(
        &'a self,
        is_set: impl Fn(&str) -> bool + 'a,
    ) -> impl Iterator<Item = (&'static str, &'a str)> {
        let keeps = move |name: &str| environment::is_default(name) && is_set(name);
        self.environment.iter().filter(move |(name, _)| !keeps(name)).map(|(name, value)| (*name, value.as_str()))
    }
}

/// Divides a host among ranks: each has as many consecutive logical cores, or GPUs where there is no Neuron device, the EFA
/// interfaces nearest to them, and the CPUs of their NUMA nodes, which are divided among the ranks there by whole cores.
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
/// assert_eq!(rank.near[0].list.entries[0].evidence.to_string(), "table trn2.48xlarge");
/// assert_eq!(rank.cpus.cpus.to_string(), "6-11,102-107");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::NoPlan`](crate::Error::NoPlan): the cores or GPUs do not divide by so many ranks (it names the numbers that fit), there are none, none of the
/// given CPUs is near, or interfaces without names were to be narrowed to.
pub fn plan(host: &Host, options: &PlanOptions) -> Result<Plan> {
    let lnc = host.lnc();
    let shares = share::divide(host, options)?;
    let nodes: Vec<Vec<Option<u32>>> = shares.iter().map(|share| share.nodes(host)).collect();
    let cpus = cpus::divide(host, options, &nodes)?;
    let mut variables = environment::variables(host, options);
    let mut ranks = Vec::with_capacity(shares.len());
    for ((rank, share), cpus) in (0..).zip(shares).zip(cpus) {
        let near = share.near(host)?;
        let told = environment::Told { host, share: &share, lnc: lnc.as_ref(), interfaces: &share::interfaces(&near) };
        let environment = told.environment(rank, &variables)?;
        ranks.push(Rank { rank, share, near, cpus, environment });
    }
    variables.retain(|variable| ranks.iter().any(|rank| rank.environment.contains_key(variable.name)));
    Ok(Plan { lnc, ranks, variables })
}
