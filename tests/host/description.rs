//! Compares the host of every instance type, with and without each defect, with a description. The description comes
//! from the files of `data/` and the meaning of the defect. The description uses neither the library nor the emulator.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use described::Description;
use files::{Product, Type};
use nearfab::Host;
use nearfab::instances::InstanceTable;
use nearfab_emu::Defect;
use serde_json::Value;

use crate::tree::{self, tree_of};
use crate::user::as_unprivileged_user;

mod described;
mod files;

#[test]
fn a_host_is_as_the_data_files_and_the_defect_describe_it() {
    let (types, products) = (files::types(), files::products());
    assert_eq!(types.len(), nearfab::instances::tables().len());
    let types: Vec<&Type> = types.values().collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(of) = types.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let table = InstanceTable::find(&of.instance_type).unwrap();
                    check(table, of, &products, None);
                    let mut defects = Defect::all(table);
                    // A type with the devices of another type is checked only with defects that depend on the name. The
                    // other type is checked with all defects.
                    // A host without sysfs shows no device, so the tables and the description have nothing to compare.
                    defects.retain(|defect| *defect != Defect::NoSysfs);
                    defects.retain(|defect| !of.has_devices_of_another || depends_on_name(defect));
                    defects.iter().for_each(|defect| check(table, of, &products, Some(defect)));
                }
            });
        }
    });
}

/// Returns true if a host with the defect depends on the name of its instance type. The Neuron driver acts by the name.
fn depends_on_name(defect: &Defect) -> bool {
    matches!(defect, Defect::NeuronDriver(_) | Defect::NoProduct | Defect::UnknownProduct)
}

/// Writes a tree with a defect, reads the host from it, and compares the host with its description.
fn check(table: &InstanceTable, of: &Type, products: &[Product], defect: Option<&Defect>) {
    // The tree without a defect has the statistics of cores. The statistics change nothing in the host.
    let tree = match defect {
        Some(defect) => tree_of(table, std::slice::from_ref(defect)),
        None => tree::folder(),
    };
    if defect.is_none() {
        nearfab_emu::write_tree(table, tree.path()).unwrap();
    }
    let product = products.iter().find(|product| Some(&product.name) == of.neuron_product.as_ref());
    let described = Description::new(of, product, defect);
    let read = || Host::from_root(tree.path()).unwrap().with_details().unwrap();
    let host = if described.read_without_privilege() { as_unprivileged_user(read) } else { read() };
    let name = format!("{} with {}", of.instance_type, defect.map_or("nothing wrong".to_owned(), Defect::to_string));
    assert_as_described(&name, &host, &described.host(tree.path().to_str().unwrap()), &described.problems());
    assert_eq!(Host::from_json(&host.to_json()).unwrap(), host, "{name}: read back");
}

/// Compares every field of a host with the expected field. Compares the problems: for each expected problem, exactly
/// one problem contains all parts, and the host has no other problems.
fn assert_as_described(name: &str, host: &Host, expected: &Value, problems: &[Vec<String>]) {
    let actual: Value = serde_json::from_str(&host.to_json()).unwrap();
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&actual), fields(expected), "{name}");
    for (field, expected) in expected.as_object().unwrap().iter().filter(|(field, _)| *field != "problems") {
        let actual = &actual[field];
        if let (Some(actual), Some(expected)) = (actual.as_array(), expected.as_array()) {
            actual.iter().zip(expected).for_each(|(a, b)| assert_eq!(a, b, "{name}: {field}"));
            assert_eq!(actual.len(), expected.len(), "{name}: {field}");
        }
        assert_eq!(actual, expected, "{name}: {field}");
    }
    for problem in problems {
        let named = host.problems().iter().filter(|text| problem.iter().all(|part| text.contains(part)));
        assert_eq!(named.count(), 1, "{name}: {problem:?} in {:?}", host.problems());
    }
    assert_eq!(host.problems().len(), problems.len(), "{name}: {:?}", host.problems());
}
