//! CPUs, divided.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::PlanOptions;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::scan::numa::NumaNode;
use crate::types::CpuList;

/// The CPUs of a rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CpuShare {
    /// The CPUs; none where the host shows none, and the rank is not bound.
    pub cpus: CpuList,
    /// The NUMA nodes of its cores or GPUs; none where that is not known of all of them.
    pub numa: Vec<u32>,
    /// Why these.
    #[serde(flatten)]
    pub reason: CpuReason,
}

/// Why a rank has its CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CpuReason {
    /// It is alone on its NUMA nodes and has all their CPUs.
    Alone,
    /// The cores of its NUMA nodes are divided among the ranks there: none has a CPU of another.
    Divided {
        /// How it is known which CPUs are one core.
        threads: ThreadEvidence,
    },
    /// Its NUMA nodes have fewer cores than ranks: some have the same CPUs.
    Shared,
    /// The NUMA node of its cores or GPUs is not known: all CPUs of the host.
    NodeUnknown,
}

/// How it is known which CPUs are threads of one core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ThreadEvidence {
    /// The kernel says so.
    Kernel,
    /// Nothing says so: where a node has two ranges of CPUs of one length, EC2 numbers the first threads of its cores in the
    /// first and the second ones in the second.
    Assumed,
    /// Nothing says so, and nothing shows that there is more than one thread a core.
    NotKnown,
}

impl fmt::Display for CpuReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Alone => "all of the NUMA node",
            Self::Divided { threads: ThreadEvidence::Kernel } => "the NUMA node, divided by whole cores",
            Self::Divided { threads: ThreadEvidence::Assumed } => {
                "the NUMA node, divided by whole cores (threads of a core assumed as EC2 numbers them)"
            }
            Self::Divided { threads: ThreadEvidence::NotKnown } => {
                "the NUMA node, divided in the order of CPUs (threads of a core not known)"
            }
            Self::Shared => "the NUMA node, which has fewer cores than ranks: shared",
            Self::NodeUnknown => "all, since the NUMA node is not known",
        })
    }
}

impl CpuShare {
    /// What of it is in the set that a launcher gave this one rank. Where nothing is, the rank may have what of its NUMA nodes
    /// is in the set, which others may have too.
    ///
    /// # Errors
    /// [`Error::NoPlan`] where the set has no CPU of the nodes.
    pub fn within(&self, host: &Host, given: &CpuList) -> Result<Self> {
        let own = self.cpus.and(given);
        if !own.is_empty() || self.cpus.is_empty() {
            return Ok(Self { cpus: own, ..self.clone() });
        }
        let near = nodes_of(host, &self.numa).and(given);
        if near.is_empty() {
            return Err(not_given(&nodes_of(host, &self.numa), &self.numa, given));
        }
        Ok(Self { cpus: near, reason: CpuReason::Shared, numa: self.numa.clone() })
    }
}

fn nodes_of(host: &Host, numbers: &[u32]) -> CpuList {
    let of_rank = |node: &&NumaNode| numbers.is_empty() || numbers.contains(&node.node);
    CpuList::union(host.numa().iter().filter(of_rank).map(|node| &node.cpus))
}

fn not_given(near: &CpuList, numa: &[u32], given: &CpuList) -> Error {
    let nodes: Vec<String> = numa.iter().map(u32::to_string).collect();
    let of = if nodes.is_empty() { "this host".to_owned() } else { format!("NUMA node {}", nodes.join(" and ")) };
    Error::NoPlan {
        reason: format!(
            "of the CPUs of {of} ({near}) none is among those given ({given}); where a launcher gave them, tell it to bind \
             nobody (mpirun --bind-to none, srun --cpu-bind=none)"
        ),
    }
}

/// The CPUs of each rank, of which `nodes` has the NUMA node of each of its units.
pub(super) fn divide(host: &Host, options: &PlanOptions, nodes: &[Vec<Option<u32>>]) -> Result<Vec<CpuShare>> {
    let all = CpuList::union(host.numa().iter().map(|node| &node.cpus));
    let given = options.cpus.as_ref();
    let allowed = |cpus: &CpuList| given.map_or_else(|| cpus.clone(), |given| cpus.and(given));
    let has_cpus = |node: u32| host.numa().iter().any(|other| other.node == node && !other.cpus.is_empty());
    let mut shares: Vec<CpuShare> = Vec::with_capacity(nodes.len());
    for units in nodes {
        let known: Option<Vec<u32>> = units.iter().map(|node| node.filter(|&node| has_cpus(node))).collect();
        let mut numa = known.unwrap_or_default();
        numa.sort_unstable();
        numa.dedup();
        let (cpus, reason) = match numa[..] {
            // Nothing is taken from those whose node is known.
            [] => (
                if all.is_empty() { given.cloned().unwrap_or_default() } else { allowed(&all) },
                CpuReason::NodeUnknown,
            ),
            _ => (CpuList::default(), CpuReason::Alone),
        };
        shares.push(CpuShare { cpus, numa, reason });
    }
    for node in host.numa() {
        let weight = |(share, units): (&CpuShare, &Vec<Option<u32>>)| {
            let here = units.iter().filter(|&&unit| unit == Some(node.node)).count();
            if share.numa.contains(&node.node) { here } else { 0 }
        };
        let weights: Vec<usize> = shares.iter().zip(nodes).map(weight).collect();
        let (cores, threads) = cores_of(node, options);
        let cores: Vec<CpuList> = cores.iter().map(allowed).filter(|core| !core.is_empty()).collect();
        for (rank, (cores, reason)) in dealt(&cores, &weights, threads) {
            let share = &mut shares[rank];
            share.cpus = CpuList::union([&share.cpus].into_iter().chain(&cores));
            share.reason = share.reason.or(reason);
        }
    }
    for share in &shares {
        if let (true, Some(given)) = (share.cpus.is_empty(), given) {
            return Err(not_given(&nodes_of(host, &share.numa), &share.numa, given));
        }
    }
    Ok(shares)
}

impl CpuReason {
    /// What holds for a rank on two nodes: what restricts it most.
    fn or(self, other: Self) -> Self {
        let order = |reason: Self| match reason {
            Self::Alone => 0,
            Self::Divided { .. } => 1,
            Self::Shared => 2,
            Self::NodeUnknown => 3,
        };
        if order(other) > order(self) { other } else { self }
    }
}

/// The CPUs of a node core by core.
fn cores_of(node: &NumaNode, options: &PlanOptions) -> (Vec<CpuList>, ThreadEvidence) {
    if let Some(threads) = &options.threads {
        let cores = threads.iter().map(|core| core.and(&node.cpus)).filter(|core| !core.is_empty());
        let cores: Vec<CpuList> = cores.collect();
        if CpuList::union(&cores) == node.cpus {
            return (cores, ThreadEvidence::Kernel);
        }
    }
    let cpus: Vec<u32> = node.cpus.iter().collect();
    let (first, second) = cpus.split_at(cpus.len() / 2);
    let is_range = |cpus: &[u32]| cpus.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let is_split = !first.is_empty() && first.len() == second.len() && is_range(first) && is_range(second);
    if is_split && !is_range(&cpus) {
        let cores = first.iter().zip(second).map(|(&one, &other)| [one, other].into_iter().collect());
        return (cores.collect(), ThreadEvidence::Assumed);
    }
    (cpus.into_iter().map(|cpu| [cpu].into_iter().collect()).collect(), ThreadEvidence::NotKnown)
}

/// Deals cores out to ranks, in their order and by weight: to each the next ones, so that neighbours stay together. A rank
/// for which there is less than one has the one that its turn is at, with others.
fn dealt(cores: &[CpuList], weights: &[usize], threads: ThreadEvidence) -> BTreeMap<usize, (Vec<CpuList>, CpuReason)> {
    let total: usize = weights.iter().sum();
    let mut turns = BTreeMap::new();
    let mut before = 0;
    for (rank, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0 && !cores.is_empty()) {
        let at = |weight: usize| weight * cores.len() / total;
        let first = at(before);
        before += weight;
        turns.insert(rank, first..at(before).max(first + 1));
    }
    let is_shared = |turn: &std::ops::Range<usize>| {
        turns.values().filter(|other| other.start < turn.end && turn.start < other.end).count() > 1
    };
    let dealt = turns.iter().map(|(&rank, turn)| {
        let reason = match () {
            () if turns.len() == 1 => CpuReason::Alone,
            () if is_shared(turn) => CpuReason::Shared,
            () => CpuReason::Divided { threads },
        };
        (rank, (cores[turn.clone()].to_vec(), reason))
    });
    dealt.collect()
}
