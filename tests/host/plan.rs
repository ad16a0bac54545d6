//! Plans of every instance type, for every number of ranks that fits: no rank has cores, GPUs or CPUs of another rank.

use std::collections::{BTreeMap, BTreeSet};

use nearfab::instances::tables;
use nearfab::plan::{CpuReason, Plan, PlanOptions, Rank, Share, ThreadEvidence};
use nearfab::{Basis, CpuCores, Host, plan};

use crate::tree::tree_of;

/// Returns the numbers of the rank's cores or GPUs.
fn units(rank: &Rank) -> Vec<u32> {
    match &rank.share {
        Share::Cores { cores } => cores.iter().map(|row| row.logical.0).collect(),
        Share::Gpus { gpus } => gpus.iter().map(|gpu| gpu.number).collect(),
        other => panic!("{other:?}"),
    }
}

fn assert_nothing_is_shared(host: &Host, plan: &Plan, unit_count: u32) {
    let all: Vec<u32> = plan.ranks.iter().flat_map(units).collect();
    assert!(all.iter().copied().eq(0..unit_count), "each unit once, in order: {all:?}");
    let sizes: BTreeSet<usize> = plan.ranks.iter().map(|rank| units(rank).len()).collect();
    assert_eq!(sizes.len(), 1, "{sizes:?}");

    let mut owners: BTreeMap<u32, Vec<&Rank>> = BTreeMap::new();
    for rank in &plan.ranks {
        assert!(!rank.cpus.cpus.is_empty() || host.numa_nodes().is_empty());
        rank.cpus.cpus.iter().for_each(|cpu| owners.entry(cpu).or_default().push(rank));
        for near in &rank.near {
            let Ok(device) = near.of.parse() else { continue };
            let list = host.near_device(device, Basis::Pairing).unwrap();
            assert!(near.list.entries.iter().all(|rail| list.nearest().any(|near| near == rail)), "{}", near.of);
        }
    }
    for (cpu, owners) in owners.iter().filter(|(_, owners)| owners.len() > 1) {
        let says_so = |rank: &&Rank| matches!(rank.cpus.reason, CpuReason::Shared | CpuReason::NodeUnknown);
        assert!(owners.iter().all(says_so), "CPU {cpu} is in {} ranks, which the plan does not say", owners.len());
    }
    // If the NUMA nodes are known, all of their CPUs are used.
    if plan.ranks.iter().all(|rank| matches!(rank.cpus.reason, CpuReason::Alone | CpuReason::Divided { .. })) {
        let used: BTreeSet<u32> = plan.ranks.iter().flat_map(|rank| rank.cpus.numa.iter().copied()).collect();
        let counts = host.numa_nodes().iter().filter(|node| used.contains(&node.node)).map(|node| node.cpus.len());
        assert_eq!(owners.len(), counts.sum::<usize>());
    }
}

#[test]
fn ranks_share_no_cpu_unless_the_plan_says_so() {
    for table in tables().iter().filter(|table| !table.neuron.is_empty() || !table.gpu.is_empty()) {
        let host = Host::from_instance(table.instance_type).unwrap();
        let units = u32::try_from(host.numbering().rows.len().max(host.gpus().len())).unwrap();
        let planned = |ranks: &u32| Some(plan(&host, &PlanOptions::ranks(*ranks)).ok()?.ranks.len());
        let fitting: Vec<u32> = (1..=units + 1).filter(|ranks| planned(ranks).is_some()).collect();
        assert!(fitting.iter().copied().eq((1..=units).filter(|ranks| units % ranks == 0)), "{fitting:?}");
        for ranks in fitting {
            let plan = plan(&host, &PlanOptions::ranks(ranks)).unwrap();
            assert_nothing_is_shared(&host, &plan, units);
        }
    }
}

/// The emulated kernel shows the threads of each core. A plan by the table assumes EC2's numbering of threads. The
/// emulated kernel and EC2 number threads alike.
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

/// MPI programs run on hosts without accelerators: each rank gets whole cores in order, and the interfaces near them.
#[test]
fn ranks_without_accelerators_get_equal_parts_of_the_cores() {
    let host = Host::from_instance("c7gn.16xlarge").unwrap(); // 64 CPUs without a second thread, one interface
    let of = |ranks: u32| plan(&host, &PlanOptions::ranks(ranks)).unwrap();
    let cpus = |plan: &Plan| plan.ranks.iter().map(|rank| rank.cpus.cpus.to_string()).collect::<Vec<_>>();
    assert_eq!(cpus(&of(4)), ["0-15", "16-31", "32-47", "48-63"]);
    assert_eq!(cpus(&of(3)), ["0-20", "21-41", "42-63"], "any number of ranks fits");
    assert_eq!(of(64).ranks[63].cpus.cpus.to_string(), "63");
    let interface = host.efa_interfaces()[0].address();
    for rank in of(4).ranks {
        assert_eq!((rank.share, rank.near[0].of.as_str()), (Share::Cpus, "numa0"));
        assert_eq!(rank.near[0].list.entries[0].target, interface);
        assert_eq!(rank.environment.keys().map(String::as_str).collect::<Vec<_>>(), ["FI_PROVIDER"]);
    }
    for ranks in [0, 65] {
        let error = plan(&host, &PlanOptions::ranks(ranks)).unwrap_err().to_string();
        assert!(error.contains(&format!("64 CPU cores cannot be divided among {ranks} ranks")), "{error}");
    }
}

#[test]
fn ranks_without_accelerators_keep_to_the_given_cpus_and_to_whole_cores() {
    let tree = tree_of(nearfab::instances::InstanceTable::find("c7gn.16xlarge").unwrap(), &[]);
    let system = "sys/devices/system";
    crate::write::write(tree.path(), &format!("{system}/node/node0/cpulist"), "0-15,32-47\n");
    crate::write::write(tree.path(), &format!("{system}/node/node1/cpulist"), "16-31,48-63\n");
    crate::write::write(tree.path(), &format!("{system}/cpu/online"), "0-63\n");
    for cpu in 0..64 {
        let siblings = format!("{},{}\n", cpu % 32, cpu % 32 + 32);
        crate::write::write(tree.path(), &format!("{system}/cpu/cpu{cpu}/topology/thread_siblings_list"), &siblings);
    }
    let host = Host::from_root(tree.path()).unwrap();
    let options = |ranks| PlanOptions::ranks(ranks).with_threads(CpuCores::read(&host).unwrap());
    let cpus = |options: &PlanOptions| -> Vec<String> {
        plan(&host, options).unwrap().ranks.iter().map(|rank| rank.cpus.cpus.to_string()).collect()
    };
    assert_eq!(cpus(&options(4)), ["0-7,32-39", "8-15,40-47", "16-23,48-55", "24-31,56-63"]);
    assert_eq!(cpus(&options(2).on_cpus("0-3,16-19,32-35".parse().unwrap())), ["0-3,32-35", "16-19"]);
    let plan = plan(&host, &options(3)).unwrap();
    assert_eq!(plan.ranks[1].cpus.numa, [0, 1], "a rank over the border of the nodes");
    assert!(matches!(plan.ranks[1].cpus.reason, CpuReason::Even { threads: ThreadEvidence::Kernel }));
}
