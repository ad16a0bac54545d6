//! Checks assumptions against hosts: emulated hosts of every table, the same hosts with one change, and captured hosts.
//! Assumptions that need answers of a driver are tested in `src/verify/tests.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mutations::{MUTATIONS, attribute, set_cpus, set_id, set_links, set_node};
use nearfab::Host;
use nearfab::instances::{InstanceTable, assumptions, tables};
use nearfab::verify::{Difference, Need, Reason, Verdict, Verification, verify};
use nearfab_emu::Defect;
use tempfile::TempDir;

use crate::tree::tree_of;
use crate::write::write;

mod captured;
mod mutations;

fn tree_of_type(instance_type: &str) -> TempDir {
    tree_of(InstanceTable::find(instance_type).unwrap(), &[])
}

fn verified(tree: &Path) -> Verification {
    verify(&Host::from_root(tree).unwrap(), None)
}

fn confirmed(verification: &Verification) -> BTreeSet<&str> {
    ids(verification, |verdict| matches!(verdict, Verdict::Confirmed { .. }))
}

fn refuted(verification: &Verification) -> BTreeSet<&str> {
    ids(verification, |verdict| matches!(verdict, Verdict::Refuted { .. }))
}

fn ids(verification: &Verification, wanted: impl Fn(&Verdict) -> bool) -> BTreeSet<&str> {
    verification
        .assumptions
        .iter()
        .filter(|assumption| wanted(&assumption.verdict))
        .map(|assumption| assumption.id)
        .collect()
}

fn contradicted(verification: &Verification) -> BTreeSet<&str> {
    verification.facts.iter().filter(|fact| !fact.differences.is_empty()).map(|fact| fact.fact).collect()
}

fn differences(verification: &Verification) -> Vec<(&str, &str, &str)> {
    let of_assumptions = verification.assumptions.iter().filter_map(|assumption| match &assumption.verdict {
        Verdict::Refuted { differences, .. } => Some(differences),
        _ => None,
    });
    let all = of_assumptions.chain(verification.facts.iter().map(|fact| &fact.differences)).flatten();
    all.map(|Difference { path, expected, found, .. }| (path.as_str(), expected.as_str(), found.as_str())).collect()
}

/// The emulated trees come from the tables, so this test checks the comparison and confirms no assumption.
#[test]
fn hosts_written_from_their_tables_refute_nothing() {
    for table in tables() {
        let verification = verified(tree_of(table, &[]).path());
        assert_eq!(differences(&verification), [], "{}", table.instance_type);
        assert_eq!(verification.assumptions.len(), assumptions().len());
        assert_eq!(verification.facts.len(), table.sources.len(), "{}", table.instance_type);
        let nothing_compares = |gap: &nearfab::verify::Gap| gap.what.contains("does not compare this kind of fact");
        assert!(!verification.facts.iter().flat_map(|fact| &fact.gaps).any(nothing_compares));
    }
}

#[test]
fn trn2_confirms_every_assumption_that_it_can_show() {
    let tree = tree_of_type("trn2.48xlarge");
    let verification = verified(tree.path());
    let expected = ["local-cpulist"];
    assert_eq!(confirmed(&verification), expected.into());
    for assumption in &verification.assumptions {
        let Verdict::Untestable { reason } = &assumption.verdict else { continue };
        let elsewhere = |what: &str| what.starts_with("the cores of") || what.starts_with("Inferentia");
        match reason {
            Reason::ByHand => {}
            Reason::OtherTypes { instance_types } => assert!(!instance_types.contains(&"trn2.48xlarge")),
            Reason::NotShown { gaps } => {
                assert!(gaps.iter().all(|gap| gap.needs == Need::Probe || elsewhere(&gap.what)), "{assumption:?}");
            }
            other => panic!("{}: {other:?}", assumption.id),
        }
    }
    assert!(verification.facts.iter().all(|fact| fact.agreed > 0), "{:?}", verification.facts);
}

#[test]
fn a_changed_host_refutes_exactly_the_assumptions_about_the_change() {
    for mutation in MUTATIONS {
        let tree = tree_of_type(mutation.instance_type);
        (mutation.change)(tree.path());
        let verification = verified(tree.path());
        let what = format!("{} with {:?}", mutation.instance_type, mutation.difference);
        assert_eq!(refuted(&verification), mutation.refuted.iter().copied().collect(), "{what}");
        assert_eq!(contradicted(&verification), mutation.facts.iter().copied().collect(), "{what}");
        let found = differences(&verification);
        assert!(found.contains(&mutation.difference), "{what}: {found:?}");
    }
}

/// Each assumption that some host can confirm is refuted above; the others need a driver or a person.
#[test]
fn every_assumption_is_tested() {
    let mut open: BTreeSet<&str> =
        assumptions().iter().filter(|assumption| !assumption.by_hand).map(|assumption| assumption.id).collect();
    let mutated: BTreeSet<&str> = MUTATIONS.iter().flat_map(|mutation| mutation.refuted).copied().collect();
    for table in tables() {
        let verification = verified(tree_of(table, &[]).path());
        for id in confirmed(&verification) {
            assert!(mutated.contains(id), "{id} is confirmed on {}, and no mutation refutes it", table.instance_type);
            open.remove(id);
        }
        for assumption in &verification.assumptions {
            if let Verdict::Untestable { reason: Reason::NotShown { gaps } } = &assumption.verdict
                && gaps.iter().any(|gap| gap.needs == Need::Probe)
            {
                open.remove(assumption.id);
            }
        }
    }
    assert_eq!(open, BTreeSet::new(), "no emulated host shows anything of these");
}

/// A contradicted fact does not show which of its assumptions is wrong.
#[test]
fn assumptions_that_share_a_fact_share_its_contradiction() {
    let tree = tree_of_type("trn3.48xlarge");
    let address = InstanceTable::find("trn3.48xlarge").unwrap().efa[0].address.to_string();
    set_id(tree.path(), &address, "1d0f:efa3", "1d0f:efa2");
    let verification = verified(tree.path());
    assert_eq!(refuted(&verification), ["efa-generation-by-year", "trn3-alike"].into());
    let shared = verification.assumptions.iter().filter_map(|assumption| match &assumption.verdict {
        Verdict::Refuted { shared_with, .. } => Some((assumption.id, shared_with.clone())),
        _ => None,
    });
    let expected = [("trn3-alike", vec!["efa-generation-by-year"]), ("efa-generation-by-year", vec!["trn3-alike"])];
    assert_eq!(shared.collect::<Vec<_>>(), expected);
}

/// The changed hosts are sound and differ from their table.
#[test]
fn sound_hosts_may_differ_from_their_table() {
    let unbind = |tree: &Path, address: &str, driver: &str| {
        let path = attribute(tree, address, "uevent");
        let text = fs::read_to_string(&path).unwrap().replace(&format!("DRIVER={driver}\n"), "");
        fs::write(path, text).unwrap();
    };
    let detach = |tree: &Path, address: &str| fs::remove_file(tree.join("sys/bus/pci/devices").join(address)).unwrap();
    // The change, and the gap that it causes.
    type Change<'a> = (&'a dyn Fn(&Path), &'a str);
    let changes: [Change<'_>; 9] = [
        (&|tree| detach(tree, "0000:c9:00.0"), "1 of 16 EFA interfaces"),
        (&|tree| detach(tree, "0000:cc:00.0"), "1 of 16 Neuron functions"),
        (&|tree| unbind(tree, "0000:57:00.0", "efa"), ""),
        (&|tree| unbind(tree, "0000:58:00.0", "neuron-driver"), ""),
        (
            &|tree| {
                fs::write(attribute(tree, "0000:58:00.0", "numa_node"), "-1\n").unwrap();
                fs::write(attribute(tree, "0000:58:00.0", "local_cpulist"), "0-191\n").unwrap();
            },
            "1 of 32 NUMA nodes of functions: the firmware gives none",
        ),
        (&|tree| set_links(tree, 0, "4, 3, 12, 1"), ""),
        // The CPUs have one thread per core.
        (
            &|tree| {
                for (node, cpus) in [(0, "0-47"), (1, "48-95")] {
                    set_cpus(tree, node, cpus);
                }
                for entry in fs::read_dir(tree.join("sys/bus/pci/devices")).unwrap() {
                    let node = fs::read_to_string(entry.as_ref().unwrap().path().join("numa_node")).unwrap();
                    set_node(tree, entry.unwrap().file_name().to_str().unwrap(), node.trim().parse().unwrap());
                }
            },
            "the CPUs of all nodes: the host has 96, the table 192",
        ),
        // A container has only the nodes of its devices.
        (&|tree| fs::remove_file(tree.join("dev/neuron3")).unwrap(), ""),
        // The host has no Neuron driver.
        (
            &|tree| {
                fs::remove_dir_all(tree.join("sys/class/neuron_device")).unwrap();
                for table in tables().iter().filter(|table| table.instance_type == "trn2.48xlarge") {
                    table.neuron.iter().for_each(|row| unbind(tree, &row.address.to_string(), "neuron-driver"));
                }
            },
            "the links of 16 devices: the host has 0 devices",
        ),
    ];
    for (change, gap) in changes {
        let tree = tree_of_type("trn2.48xlarge");
        change(tree.path());
        let verification = verified(tree.path());
        assert_eq!(differences(&verification), [], "{gap}");
        let gaps: Vec<&str> =
            verification.facts.iter().flat_map(|fact| &fact.gaps).map(|gap| gap.what.as_str()).collect();
        assert!(gap.is_empty() || gaps.contains(&gap), "{gap}: {gaps:?}");
        let missing = gaps.iter().filter(|gap| gap.contains("functions") && !gap.contains("nodes")).count();
        assert_eq!(missing > 0, gap.starts_with("1 of 16"), "functions without a driver are there: {gaps:?}");
    }
}

/// A host with a defect has the same hardware as its type.
#[test]
fn a_defect_contradicts_no_fact() {
    for instance_type in ["p6-b200.48xlarge", "trn1.32xlarge", "trn2.48xlarge"] {
        let table = InstanceTable::find(instance_type).unwrap();
        for defect in Defect::all(table) {
            let tree = tree_of(table, std::slice::from_ref(&defect));
            assert_eq!(differences(&verified(tree.path())), [], "{instance_type} {defect}");
        }
    }
}

#[test]
fn assumptions_are_untestable_if_the_host_shows_nothing_of_them() {
    // A table cannot confirm itself, recorded or not.
    let table = Host::from_instance("trn2e.48xlarge").unwrap();
    for host in [Host::from_json(&table.to_json()).unwrap(), table] {
        let verification = verify(&host, None);
        assert_eq!((verification.counts(), verification.facts.len()), ([0, 0, assumptions().len()], 0));
        let reason = |id: &str| {
            let assumption = verification.assumptions.iter().find(|assumption| assumption.id == id).unwrap();
            match &assumption.verdict {
                Verdict::Untestable { reason } => reason.to_string(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(reason("trn2e-like-trn2"), "the host was made from the table that the assumption is about");
        assert_eq!(reason("inf2-flat"), "about inf2.24xlarge, inf2.48xlarge");
        assert_eq!(reason("core-held"), "only a person can test it");
    }

    // An empty host of that type, and an empty host of an unknown type.
    let tree = tempfile::tempdir().unwrap();
    for product in ["trn2.48xlarge\n", "trn9.huge\n"] {
        write(tree.path(), "sys/devices/virtual/dmi/id/product_name", product);
        let verification = verified(tree.path());
        assert_eq!(verification.counts(), [0, 0, assumptions().len()], "{verification:?}");
        assert!(verification.facts.iter().all(|fact| fact.agreed == 0 && !fact.gaps.is_empty()));
    }
}

/// On a host with one device and one function, nearfab need not ask the driver for the address.
#[test]
fn the_only_device_is_the_only_function_without_a_probe() {
    for (instance_type, needs_probe) in [("trn2.3xlarge", false), ("trn1.2xlarge", false), ("inf2.24xlarge", true)] {
        let tree = tree_of_type(instance_type);
        let verification = verified(tree.path());
        let neuron = verification.facts.iter().find(|fact| fact.fact == "neuron").unwrap();
        assert_eq!(neuron.gaps.iter().any(|gap| gap.needs == Need::Probe), needs_probe, "{instance_type}");
    }
}

#[test]
fn a_record_gives_the_same_verdicts_as_its_host() {
    for instance_type in ["trn2.48xlarge", "p6-b200.48xlarge", "trn3p.48xlarge"] {
        let tree = tree_of_type(instance_type);
        let host = Host::from_root(tree.path()).unwrap();
        let record = Host::from_json(&host.to_json()).unwrap();
        assert_eq!(verify(&record, None), verify(&host, None));
    }
}
