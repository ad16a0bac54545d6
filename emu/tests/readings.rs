//! Tests that no reading of an undamaged emulated host fails.
//!
//! nearfab has another way to open files on file systems that are mounted with `nodev`. The test covers only the way
//! for the file system of the target folder.

use std::collections::BTreeSet;

use nearfab::instances::{InstanceTable, tables};
use nearfab::{Host, SystemInfo, telemetry};
use nearfab_emu::{Defect, NeuronDriver, write_tree_with};
use serde_json::Value;

/// Returns the undamaged hosts. Each instance type has a host without the statistics of cores, which are most of a
/// host's files. Each Neuron product and release of the driver has a host with the first devices and all of their
/// files. Release 2.31 is left out: its layout is not known, so every host with 2.31 reports a problem.
fn undamaged_hosts() -> Vec<(InstanceTable, Vec<Defect>)> {
    let applying = |table: &InstanceTable, defects: &[Defect]| {
        defects.iter().filter(|defect| defect.applies(table)).cloned().collect::<Vec<_>>()
    };
    let mut hosts = Vec::new();
    let mut products = BTreeSet::new();
    for table in tables() {
        hosts.push((InstanceTable { ..*table }, applying(table, &[Defect::NoCoreStatistics])));
        if !table.product().is_some_and(|product| products.insert(product.name)) {
            continue;
        }
        let first_devices =
            || InstanceTable { neuron: &table.neuron[..1], efa: &table.efa[..table.efa.len().min(1)], ..*table };
        hosts.push((first_devices(), Vec::new()));
        let known = NeuronDriver::ALL.into_iter().filter(|release| *release < NeuronDriver::V2_31);
        for release in applying(table, &known.map(Defect::NeuronDriver).collect::<Vec<_>>()) {
            hosts.push((first_devices(), vec![release]));
        }
    }
    hosts
}

/// Adds each reading in `value` that failed, or that nearfab did not understand, to `failures`.
fn collect_failures(path: &str, value: &Value, failures: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let not_understood =
                    name == "unread" && (member.get("text").is_some() || member.get("number").is_some());
                if name == "failed" || not_understood {
                    failures.push(format!("{path}: {member}"));
                }
                collect_failures(&format!("{path}/{name}"), member, failures);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect_failures(&format!("{path}/{index}"), item, failures);
            }
        }
        _ => {}
    }
}

#[test]
fn no_reading_of_an_undamaged_host_fails() {
    // ext4 creates files slowly in a folder where files were just removed, as in /tmp while other tests run. The trees
    // are therefore in the target folder, and stay until the end of the test.
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut failures = Vec::new();
    for (number, (table, defects)) in undamaged_hosts().iter().enumerate() {
        let tree = place.path().join(number.to_string());
        write_tree_with(table, defects, &tree).unwrap();
        let host = Host::from_root(&tree).unwrap();
        let name = format!("{} {defects:?}", table.instance_type);
        let problems = host.problems().iter().cloned();
        let system = SystemInfo::read(&host).unwrap().unwrap();
        for problem in problems.chain(system.problems) {
            failures.push(format!("{name}: {problem}"));
        }
        let telemetry = serde_json::to_value(telemetry(&host).unwrap()).unwrap();
        collect_failures(&format!("{name}: telemetry"), &telemetry, &mut failures);
    }
    assert!(failures.is_empty(), "{} failed readings:\n{}", failures.len(), failures.join("\n"));
}
