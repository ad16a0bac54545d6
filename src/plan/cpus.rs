//! Divides CPUs among ranks.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CpuCores, PlanOptions};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::scan::numa::NumaNode;
use crate::types::CpuList;

/// The CPUs of a rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CpuShare {
    /// The CPUs. The list is empty if the host shows no CPUs. The rank is not bound in this case.
    pub cpus: CpuList,
    /// The NUMA nodes of the rank's cores or GPUs. The list is empty if one of these nodes is unknown.
    pub numa: Vec<u32>,
    /// The reason for these CPUs.
    #[serde(flatten)]
    pub reason: CpuReason,
}

/// The reason for the CPUs of a rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CpuReason {
    /// The rank is alone on its NUMA nodes and gets all their CPUs.
    Alone,
    /// The CPU cores of the NUMA nodes are divided among the ranks on them. No CPU is in two ranks.
    Divided {
        /// The source of the CPU cores.
        threads: ThreadEvidence,
    },
    /// The CPU cores of the host are divided evenly among the ranks, on a host without accelerators. No CPU is in two
    /// ranks.
    Even {
        /// The source of the CPU cores.
        threads: ThreadEvidence,
    },
    /// The NUMA nodes have fewer CPU cores than ranks. Some ranks share CPUs.
    Shared,
    /// The NUMA node of the rank's cores or GPUs is unknown. The rank gets all CPUs of the host.
    NodeUnknown,
}

/// The source of the grouping of CPUs into cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ThreadEvidence {
    /// The kernel shows the threads of each core.
    Kernel,
    /// The host does not show the threads. The threads are assumed from EC2's numbering: a NUMA node with two CPU
    /// ranges of the same length has the first thread of each core in the first range and the second thread in the
    /// second range.
    Assumed,
    /// The host does not show the threads, and its CPU ranges do not suggest two threads for each core.
    NotKnown,
}

impl fmt::Display for CpuReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Alone => "all of the NUMA node",
            Self::Divided { threads: ThreadEvidence::Kernel } => "the NUMA node, divided by whole cores",
            Self::Divided { threads: ThreadEvidence::Assumed } => {
                "the NUMA node, divided by whole cores (threads assumed from EC2's numbering)"
            }
            Self::Divided { threads: ThreadEvidence::NotKnown } => {
                "the NUMA node, divided in CPU order (threads of each core unknown)"
            }
            Self::Even { threads: ThreadEvidence::Kernel } => "equal parts of the host's cores",
            Self::Even { threads: ThreadEvidence::Assumed } => {
                "equal parts of the host's cores (threads assumed from EC2's numbering)"
            }
            Self::Even { threads: ThreadEvidence::NotKnown } => {
                "equal parts of the host's CPUs, in CPU order (threads of each core unknown)"
            }
            Self::Shared => "the NUMA node, shared: it has fewer cores than ranks",
            Self::NodeUnknown => "all CPUs: the NUMA node is unknown",
        })
    }
}

impl CpuShare {
    /// Returns the CPUs of the share that are in the set that a launcher gave this rank. If the share and the set have
    /// no CPU in common, the rank gets the CPUs of its NUMA nodes that are in the set. Other ranks may get the same
    /// CPUs.
    ///
    /// # Errors
    /// [`Error::NoPlan`] if the set has no CPU of the rank's NUMA nodes.
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
    CpuList::union(host.numa_nodes().iter().filter(of_rank).map(|node| &node.cpus))
}

fn not_given(near: &CpuList, numa: &[u32], given: &CpuList) -> Error {
    let nodes: Vec<String> = numa.iter().map(u32::to_string).collect();
    let of = if nodes.is_empty() { "this host".to_owned() } else { format!("NUMA node {}", nodes.join(" and ")) };
    Error::NoPlan {
        reason: format!(
            "none of the CPUs of {of} ({near}) is among the given CPUs ({given}); if a launcher binds the processes, switch \
             its binding off (mpirun --bind-to none, srun --cpu-bind=none)"
        ),
    }
}

/// Returns the CPUs of each rank. For each rank, `nodes` has the NUMA node of each core or GPU of the rank.
pub(super) fn divide(host: &Host, options: &PlanOptions, nodes: &[Vec<Option<u32>>]) -> Result<Vec<CpuShare>> {
    let all = CpuList::union(host.numa_nodes().iter().map(|node| &node.cpus));
    let given = options.cpus.as_ref();
    let allowed = |cpus: &CpuList| given.map_or_else(|| cpus.clone(), |given| cpus.and(given));
    let has_cpus = |node: u32| host.numa_nodes().iter().any(|other| other.node == node && !other.cpus.is_empty());
    let mut shares: Vec<CpuShare> = Vec::with_capacity(nodes.len());
    for units in nodes {
        let known: Option<Vec<u32>> = units.iter().map(|node| node.filter(|&node| has_cpus(node))).collect();
        let mut numa = known.unwrap_or_default();
        numa.sort_unstable();
        numa.dedup();
        let (cpus, reason) = match numa[..] {
            // The rank shares these CPUs with the ranks that have a known node.
            [] => (
                if all.is_empty() { given.cloned().unwrap_or_default() } else { allowed(&all) },
                CpuReason::NodeUnknown,
            ),
            _ => (CpuList::default(), CpuReason::Alone),
        };
        shares.push(CpuShare { cpus, numa, reason });
    }
    for node in host.numa_nodes() {
        let weight = |(share, units): (&CpuShare, &Vec<Option<u32>>)| {
            let count = units.iter().filter(|&&unit| unit == Some(node.node)).count();
            if share.numa.contains(&node.node) { count } else { 0 }
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

/// Returns equal parts of the host's CPU cores, for ranks without accelerators. Parts are consecutive, in the order of NUMA
/// nodes and cores.
pub(super) fn divide_evenly(host: &Host, options: &PlanOptions) -> Result<Vec<CpuShare>> {
    let allowed = |cpus: &CpuList| options.cpus.as_ref().map_or_else(|| cpus.clone(), |given| cpus.and(given));
    let mut cores: Vec<(Option<u32>, CpuList)> = Vec::new();
    let mut evidence = ThreadEvidence::Kernel;
    for node in host.numa_nodes() {
        let (of_node, threads) = cores_of(node, options);
        if !of_node.is_empty() {
            evidence = threads;
        }
        cores.extend(of_node.iter().map(|core| (Some(node.node), allowed(core))));
    }
    if let (true, Some(threads)) = (cores.is_empty(), &options.threads) {
        // A kernel without NUMA nodes.
        cores.extend(threads.iter().map(|core| (None, allowed(core))));
    }
    cores.retain(|(_, core)| !core.is_empty());
    let ranks = options.ranks as usize;
    if ranks == 0 || ranks > cores.len() {
        return Err(Error::NoPlan {
            reason: format!(
                "{} CPU cores cannot be divided among {ranks} ranks: give 1 to {} ranks",
                cores.len(),
                cores.len()
            ),
        });
    }
    let part = |rank: usize| {
        let part = &cores[rank * cores.len() / ranks..(rank + 1) * cores.len() / ranks];
        let mut numa: Vec<u32> = part.iter().filter_map(|(node, _)| *node).collect();
        numa.dedup();
        let reason = CpuReason::Even { threads: evidence };
        CpuShare { cpus: CpuList::union(part.iter().map(|(_, core)| core)), numa, reason }
    };
    Ok((0..ranks).map(part).collect())
}

impl CpuReason {
    /// Returns the more restrictive reason, for a rank on two NUMA nodes.
    fn or(self, other: Self) -> Self {
        let order = |reason: Self| match reason {
            Self::Alone => 0,
            Self::Divided { .. } | Self::Even { .. } => 1,
            Self::Shared => 2,
            Self::NodeUnknown => 3,
        };
        if order(other) > order(self) { other } else { self }
    }
}

/// Returns the CPUs of a NUMA node, grouped by core.
///
/// The groups are those of the kernel if the kernel shows the core of every CPU. Otherwise the groups are assumed from EC2's
/// numbering, if no core that the kernel shows contradicts the assumption.
fn cores_of(node: &NumaNode, options: &PlanOptions) -> (Vec<CpuList>, ThreadEvidence) {
    let of_node = |threads: &CpuCores| -> Vec<CpuList> {
        threads.iter().map(|core| core.and(&node.cpus)).filter(|core| !core.is_empty()).collect()
    };
    let shown = options.threads.as_ref().map(|threads| (of_node(threads), threads.unknown().and(&node.cpus)));
    let shown = shown.filter(|(cores, _)| CpuList::union(cores) == node.cpus);
    if let Some((cores, unknown)) = &shown
        && unknown.is_empty()
    {
        return (cores.clone(), ThreadEvidence::Kernel);
    }
    let assumed = assumed_cores(&node.cpus);
    match (assumed, shown) {
        (Some(assumed), Some((cores, unknown))) => {
            let is_agreed = |core: &CpuList| !core.and(&unknown).is_empty() || assumed.contains(core);
            match cores.iter().all(is_agreed) {
                true => (assumed, ThreadEvidence::Assumed),
                false => (cores, ThreadEvidence::NotKnown),
            }
        }
        (Some(assumed), None) => (assumed, ThreadEvidence::Assumed),
        (None, Some((cores, _))) => (cores, ThreadEvidence::NotKnown),
        (None, None) => (node.cpus.iter().map(|cpu| [cpu].into_iter().collect()).collect(), ThreadEvidence::NotKnown),
    }
}

/// Returns the cores that EC2's numbering suggests; `None` if the CPUs are not two ranges of one length.
fn assumed_cores(cpus: &CpuList) -> Option<Vec<CpuList>> {
    let cpus: Vec<u32> = cpus.iter().collect();
    let (first, second) = cpus.split_at(cpus.len() / 2);
    let is_range = |cpus: &[u32]| cpus.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let is_split = !first.is_empty() && first.len() == second.len() && is_range(first) && is_range(second);
    let cores = || first.iter().zip(second).map(|(&one, &other)| [one, other].into_iter().collect()).collect();
    (is_split && !is_range(&cpus)).then(cores)
}

/// Gives each rank its part of the cores, by weight. Parts are consecutive, in the order of the ranks. A rank whose
/// part is less than one core gets one core and shares this core with other ranks.
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
