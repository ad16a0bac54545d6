//! Plans of every instance type, for every number of ranks that fits: nobody has what another one has.

use std::collections::{BTreeMap, BTreeSet};

use nearfab::instances::tables;
use nearfab::plan::{CpuReason, Plan, PlanOptions, Rank, Share};
use nearfab::{Basis, CpuCores, Host, plan};

use crate::tree::tree_of;

/// The numbers of the rank's cores or GPUs.
fn units(rank: &Rank) -> Vec<u32> {
    match &rank.share {
        Share::Cores { cores } => cores.iter().map(|row| row.logical.0).collect(),
        Share::Gpus { gpus } => gpus.iter().map(|gpu| gpu.number).collect(),
        other => panic!("{other:?}"),
    }
}

fn each_is_alone(host: &Host, plan: &Plan, units_there: u32) {
    let all: Vec<u32> = plan.ranks.iter().flat_map(units).collect();
    assert!(all.iter().copied().eq(0..units_there), "every one once, in their order: {all:?}");
    let sizes: BTreeSet<usize> = plan.ranks.iter().map(|rank| units(rank).len()).collect();
    assert_eq!(sizes.len(), 1, "{sizes:?}");

    let mut owners: BTreeMap<u32, Vec<&Rank>> = BTreeMap::new();
    for rank in &plan.ranks {
        assert!(!rank.cpus.cpus.is_empty() || host.numa().is_empty());
        rank.cpus.cpus.iter().for_each(|cpu| owners.entry(cpu).or_default().push(rank));
        for near in &rank.near {
            let Ok(device) = near.of.parse() else { continue };
            let list = host.near_device(device, Basis::Pairing).unwrap();
            assert!(list.nearest().eq(&near.list.entries), "{}", near.of);
        }
    }
    for (cpu, owners) in owners.iter().filter(|(_, owners)| owners.len() > 1) {
        let is_told = |rank: &&Rank| matches!(rank.cpus.reason, CpuReason::Shared | CpuReason::NodeUnknown);
        assert!(owners.iter().all(is_told), "CPU {cpu} is in {} ranks, which nothing says", owners.len());
    }
    // Where the nodes are known, no CPU of theirs is left over.
    if plan.ranks.iter().all(|rank| matches!(rank.cpus.reason, CpuReason::Alone | CpuReason::Divided { .. })) {
        let used: BTreeSet<u32> = plan.ranks.iter().flat_map(|rank| rank.cpus.numa.iter().copied()).collect();
        let theirs = host.numa().iter().filter(|node| used.contains(&node.node)).map(|node| node.cpus.len());
        assert_eq!(owners.len(), theirs.sum::<usize>());
    }
}

#[test]
fn ranks_of_every_instance_type_share_nothing_that_is_not_told() {
    for table in tables() {
        let host = Host::from_instance(table.instance_type).unwrap();
        let there = u32::try_from(host.numbering().rows.len().max(host.gpus().len())).unwrap();
        let planned = |ranks: &u32| Some(plan(&host, &PlanOptions::ranks(*ranks)).ok()?.ranks.len());
        let fitting: Vec<u32> = (1..=there + 1).filter(|ranks| planned(ranks).is_some()).collect();
        assert!(fitting.iter().copied().eq((1..=there).filter(|ranks| there % ranks == 0)), "{fitting:?}");
        for ranks in fitting {
            let plan = plan(&host, &PlanOptions::ranks(ranks)).unwrap();
            each_is_alone(&host, &plan, there);
        }
    }
}

/// The emulated kernel says which CPUs are one core; EC2's numbering, which a table has to go by, is the same.
#[test]
fn a_tree_and_its_table_give_ranks_the_same_cpus() {
    for table in
        tables().iter().filter(|table| ["trn1.32xlarge", "trn2.48xlarge", "p5.48xlarge"].contains(&table.instance_type))
    {
        let dir = tree_of(table, &[]);
        let tree = Host::from_root(dir.path()).unwrap();
        let threads = CpuCores::read(&tree).unwrap();
        assert!(threads.iter().all(|core| core.len() == 2));
        let options = PlanOptions::ranks(8);
        let of_table = plan(&Host::from_instance(table.instance_type).unwrap(), &options).unwrap();
        let of_tree = plan(&tree, &options.clone().with_threads(threads)).unwrap();
        for (one, other) in of_table.ranks.iter().zip(&of_tree.ranks) {
            assert_eq!(one.cpus.cpus, other.cpus.cpus, "{}, rank {}", table.instance_type, one.rank);
        }
    }
}
