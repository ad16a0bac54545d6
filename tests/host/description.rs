//! Of every instance type, and of each with everything that can be wrong with it, nearfab reads from its tree what the
//! files of `data/` and the meaning of the defect say, and nothing else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use described::Description;
use files::{Product, Type};
use nearfab::Host;
use nearfab::instances::InstanceTable;
use nearfab_emu::Defect;
use serde_json::Value;

use crate::tree::tree_of;
use crate::user::as_nobody;

mod described;
mod files;

#[test]
fn host_is_what_its_tree_was_made_of() {
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
                    Defect::all(table).iter().for_each(|defect| check(table, of, &products, Some(defect)));
                }
            });
        }
    });
}

/// Writes the tree, reads it, and compares.
fn check(table: &InstanceTable, of: &Type, products: &[Product], defect: Option<&Defect>) {
    // Small trees; the host has nothing of what is left out, as the whole tree shows.
    let small = [Defect::NoCoreStatistics].into_iter().filter(|small| defect.is_some() && small.applies(table));
    let defects: Vec<Defect> = small.chain(defect.cloned()).collect();
    let tree = tree_of(table, &defects);
    let product = products.iter().find(|product| Some(&product.name) == of.neuron_product.as_ref());
    let described = Description::new(of, product, defect);
    let read = || Host::from_root(tree.path()).unwrap();
    let host = if described.read_by_nobody() { as_nobody(read) } else { read() };
    let name = format!("{} with {}", of.instance_type, defect.map_or("nothing wrong".to_owned(), Defect::to_string));
    assert_as_described(&name, &host, &described.host(tree.path().to_str().unwrap()), &described.problems());
    assert_eq!(Host::from_json(&host.to_json()).unwrap(), host, "{name}: read back");
}

/// Compares every field that a host has, and its problems: for each expected one there is one sentence with all of its
/// parts, and there are no others.
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
