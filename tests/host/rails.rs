//! Tests of the rails: which interfaces each accelerator gets.

use std::collections::{BTreeMap, BTreeSet};

use nearfab::instances::tables;
use nearfab::plan::PlanOptions;
use nearfab::{Anchor, Bdf, Error, Host, NodeAccess, Rail, RailOptions, plan};
use nearfab_emu::Defect;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};

use crate::tree::tree_of;

fn rails_of(host: &Host) -> BTreeMap<String, Vec<Rail>> {
    let all = host.all_rails(RailOptions::default());
    all.into_iter().map(|rails| (rails.of.to_string(), rails.rails)).collect()
}

fn addresses(rails: &[Rail]) -> Vec<String> {
    rails.iter().map(|rail| rail.near.target.to_string()).collect()
}

/// NIXL and AWS's plugin for NCCL divide the interfaces of a switch in the same way: contiguous blocks in ascending order
/// of addresses.
#[test]
fn accelerators_of_one_switch_divide_its_interfaces() {
    let expected: [(&str, &str, &[&str], u32); 10] = [
        ("p5en.48xlarge", "0000:59:00.0", &["0000:55:00.0", "0000:56:00.0"], 1),
        ("p5en.48xlarge", "0000:5a:00.0", &["0000:57:00.0", "0000:58:00.0"], 1),
        ("p6-b300.48xlarge", "0000:58:00.0", &["0000:56:00.0", "0000:57:00.0"], 1),
        ("p6-b200.48xlarge", "0000:51:00.0", &["0000:4f:00.0"], 1),
        ("p6-b200.48xlarge", "0000:52:00.0", &["0000:50:00.0"], 1),
        ("p5.48xlarge", "0000:53:00.0", &["0000:4f:00.0", "0000:50:00.0", "0000:51:00.0", "0000:52:00.0"], 1),
        ("p4d.24xlarge", "0000:10:1c.0", &["0000:10:1b.0"], 2),
        ("trn1.32xlarge", "neuron4", &["0000:20:19.0"], 2),
        ("trn2.48xlarge", "neuron5", &["0000:57:00.0"], 1),
        ("trn2.48xlarge", "neuron6", &["0000:56:00.0"], 1),
    ];
    for (instance_type, of, interfaces, shared_by) in expected {
        let all = rails_of(&Host::from_instance(instance_type).unwrap());
        let rails = &all[of];
        assert_eq!(addresses(rails), interfaces, "{instance_type} {of}");
        assert!(rails.iter().all(|rail| rail.shared_by == shared_by), "{instance_type} {rails:?}");
    }
}

/// Fails unless each rail is one of the nearest interfaces that can be used, and unless accelerators share a rail only if
/// there are fewer interfaces than accelerators.
fn assert_fair(host: &Host, name: &str) {
    let all = rails_of(host);
    let mut users: BTreeMap<Bdf, u32> = BTreeMap::new();
    let mut owners: BTreeMap<Bdf, u32> = BTreeMap::new();
    for rail in all.values().flatten() {
        *owners.entry(rail.near.target).or_default() += u32::from(rail.near.rank == 1);
        assert!(rail.near.usability.is_possible(), "{name}: {rail:?}");
        *users.entry(rail.near.target).or_default() += 1;
    }
    for (of, rails) in &all {
        let list = match of.parse() {
            Ok(device) => host.near_device(device, nearfab::Basis::Pairing).unwrap(),
            Err(_) => host.near_function(of.parse().unwrap()).unwrap(),
        };
        let nearest: BTreeSet<Bdf> = list.nearest().map(|near| near.target).collect();
        assert_eq!(rails.is_empty(), nearest.is_empty(), "{name} {of}");
        assert!(rails.iter().all(|rail| nearest.contains(&rail.near.target)), "{name} {of}: {rails:?}");
        assert!(rails.iter().all(|rail| users[&rail.near.target] == rail.shared_by), "{name} {of}: {rails:?}");
        // An accelerator whose near interfaces cannot be used takes those of its neighbours, and is not counted here.
        let own = |rail: &&Rail| rail.near.rank == 1 && owners[&rail.near.target] > 1;
        assert!(rails.len() == 1 || !rails.iter().any(|rail| own(&rail)), "{name} {of} shares its rails: {rails:?}");
    }
    let without: Vec<Bdf> = host.interfaces_without_accelerator();
    let usable = host.efa_interfaces().iter().filter(|efa| host.efa_usability(efa).is_possible()).count();
    assert_eq!(users.len() + without.len(), usable, "{name}");
}

#[test]
fn rails_of_every_type_are_fair() {
    for table in tables() {
        assert_fair(&Host::from_instance(table.instance_type).unwrap(), table.instance_type);
    }
}

/// Returns the defects of a container that has some of the devices and interfaces of its host.
fn container() -> impl Strategy<Value = (&'static str, Vec<Defect>)> {
    let types: Vec<_> = tables().iter().filter(|table| table.efa.len() > 1).collect();
    proptest::sample::select(types).prop_flat_map(|table| {
        let (devices, interfaces) = (table.neuron.len(), table.efa.len());
        let some = |count: usize| proptest::collection::vec(any::<bool>(), count);
        (some(devices), some(interfaces), some(interfaces)).prop_map(move |(devices, missing, refused)| {
            let given = (0_u32..).zip(&devices).filter(|(_, is_given)| **is_given).map(|(device, _)| device);
            let mut defects = Vec::new();
            if !devices.is_empty() {
                defects.extend([Defect::NoCoreStatistics, Defect::Container(given.collect())]);
            }
            for (number, (is_missing, is_refused)) in (0_u32..).zip(missing.iter().zip(refused)) {
                match (is_missing, is_refused) {
                    (true, _) => defects.push(Defect::VerbsNodeMissing(number)),
                    (false, true) if number % 4 == 0 => defects.push(Defect::VerbsNodeRefused(number)),
                    _ => {}
                }
            }
            (table.instance_type, defects)
        })
    })
}

/// In containers drawn by a fixed seed, rails and plans name only interfaces that the container can open.
#[test]
fn a_container_uses_only_its_interfaces() {
    const CONTAINERS: u32 = 60;
    let config = Config { failure_persistence: None, max_shrink_iters: 0, ..Config::with_cases(CONTAINERS) };
    let mut runner = TestRunner::new_with_rng(config.clone(), TestRng::deterministic_rng(config.rng_algorithm));
    runner
        .run(&container(), |(instance_type, defects)| {
            let tree = tree_of(nearfab::instances::InstanceTable::find(instance_type).unwrap(), &defects);
            let host = crate::user::as_unprivileged_user(|| Host::from_root(tree.path()).unwrap());
            let name = format!("{instance_type} {defects:?}");
            assert_fair(&host, &name);
            let Ok(plan) = plan(&host, &PlanOptions::ranks(1)) else { return Ok(()) };
            for interface in plan.ranks[0].interfaces() {
                assert_eq!(host.find_efa(interface).unwrap().access, NodeAccess::Granted, "{name}");
            }
            for device in plan.ranks[0].share.devices() {
                assert_eq!(host.find_neuron(device).unwrap().access, NodeAccess::Granted, "{name}");
            }
            Ok(())
        })
        .unwrap();
}

/// Without one interface of a switch, its GPU has three rails and the others have four.
#[test]
fn uniform_rails_have_the_least_number_of_all() {
    let tree = tree_of(nearfab::instances::InstanceTable::find("p5.48xlarge").unwrap(), &[Defect::VerbsNodeMissing(5)]);
    let host = Host::from_root(tree.path()).unwrap();
    let counts =
        |options: RailOptions| host.all_rails(options).iter().map(|rails| rails.rails.len()).collect::<Vec<_>>();
    assert_eq!(counts(RailOptions::default()), [4, 3, 4, 4, 4, 4, 4, 4]);
    assert_eq!(counts(RailOptions::default().uniform()), [3; 8]);
    let uniform = host.all_rails(RailOptions::default().uniform());
    assert_eq!(addresses(&uniform[0].rails), ["0000:4f:00.0", "0000:50:00.0", "0000:51:00.0"]);
}

#[test]
fn interfaces_that_no_accelerator_gets_are_named() {
    let host = Host::from_instance("p6e-gb200.36xlarge").unwrap();
    let without = host.interfaces_without_accelerator();
    let rails: Vec<Bdf> = host
        .all_rails(RailOptions::default())
        .iter()
        .flat_map(|rails| &rails.rails)
        .map(|rail| rail.near.target)
        .collect();
    assert_eq!((without.len(), rails.len(), host.efa_interfaces().len()), (8, 8, 16));
    assert!(without.iter().all(|address| !rails.contains(address)));
}

#[test]
fn shared_rails_are_all_nearest_interfaces() {
    let host = Host::from_instance("p5en.48xlarge").unwrap();
    for rails in host.all_rails(RailOptions::default().shared()) {
        assert_eq!(rails.rails.len(), 4);
        assert!(rails.rails.iter().all(|rail| rail.shared_by == 2), "{rails:?}");
    }
}

#[test]
fn by_place_ignores_the_pairing() {
    let host = Host::from_instance("trn2.48xlarge").unwrap();
    let neuron5 = host.anchor("neuron5").unwrap();
    let of = |options| addresses(&host.rails(neuron5, options).unwrap().rails);
    assert_eq!(of(RailOptions::default()), ["0000:57:00.0"]);
    assert_eq!(of(RailOptions::default().by_place().shared()), ["0000:56:00.0", "0000:57:00.0"]);
}

#[test]
fn rails_of_a_core_are_those_of_its_device() {
    let host = Host::from_instance("trn2.48xlarge").unwrap();
    let of = |name: &str| host.rails(host.anchor(name).unwrap(), RailOptions::default()).unwrap();
    assert_eq!(of("neuron5:3"), of("neuron5"));
    assert_eq!(of("nc20"), of("neuron5"));
    assert_eq!(of("0000:58:00.0").of.to_string(), "neuron5");
}

/// A host on which only the interfaces of NUMA node 1 can be used.
#[test]
fn host_memory_has_the_interfaces_of_its_node_or_else_of_the_others() {
    let missing: Vec<Defect> = (0..16).map(Defect::VerbsNodeMissing).collect();
    let table = nearfab::instances::InstanceTable::find("p5.48xlarge").unwrap();
    let tree = tree_of(table, &missing);
    let host = Host::from_root(tree.path()).unwrap();
    let of = |node| host.rails(Anchor::Numa { node }, RailOptions::default()).unwrap();
    assert_eq!((of(0).rails.len(), of(1).rails.len()), (16, 16));
    assert_eq!(of(0).rails[0].near.evidence.to_string(), "other NUMA node");
    assert_eq!(of(0).passed_over.len(), 16);
    assert_eq!(of(1).rails[0].near.evidence.to_string(), "same NUMA node");
    let absent = host.rails(Anchor::Numa { node: 7 }, RailOptions::default()).unwrap_err();
    assert!(absent.to_string().contains("NUMA node 7"), "{absent}");
}

#[test]
fn rails_are_refused_for_interfaces_and_for_accelerators_of_others() {
    let host = Host::from_instance("trn2.48xlarge").unwrap();
    let interface = host.rails(host.anchor("0000:57:00.0").unwrap(), RailOptions::default()).unwrap_err();
    assert!(matches!(interface, Error::BadName { .. }), "{interface}");
    let tree = tree_of(host.table().unwrap(), &[Defect::NoCoreStatistics, Defect::Container(vec![4])]);
    let host = Host::from_root(tree.path()).unwrap();
    let other = host.rails(host.anchor("neuron5").unwrap(), RailOptions::default()).unwrap_err();
    assert_eq!(
        other.to_string(),
        "this host has no accelerator neuron5 that this process can use (node missing); it has neuron4"
    );
}
