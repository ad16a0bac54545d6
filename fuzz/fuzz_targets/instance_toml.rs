//! Files of `data/instances`, read as `build.rs` reads them. An accepted file must pass plain checks of its rows and must name
//! the source of each fact. The error for a refused file must name the file.

#![no_main]

use std::collections::BTreeSet;

use file::{Data, Grade, Instance};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
// `file` takes these types from the root of its crate.
use nearfab::{Bdf, CpuList};

#[expect(dead_code, reason = "build.rs uses all of it")]
#[path = "../../src/tables/instances/file.rs"]
mod file;

const PRODUCTS: &str = include_str!("../../data/products.toml");
const PLATFORMS: &str = "platform = []\n";
const ASSUMPTION: &str = "[[assumption]]\nid = 'c'\nstatement = 's'\nsource = 's'\nsettled_by = 's'\n";
/// An instance type that an input may be like.
const OTHER: &str = include_str!("../instances/other.toml");
/// The instance type of the input.
const NAME: &str = "x";

fuzz_target!(|text: &str| {
    let files = [("other", OTHER), (NAME, text)].map(|(name, text)| (format!("{name}.toml"), text.to_owned()));
    match Data::read(PRODUCTS, PLATFORMS, ASSUMPTION, &files) {
        Err(refusal) => assert!(refusal.starts_with("x.toml: "), "{refusal}"),
        Ok(data) => {
            let instance = data.instances.get(NAME).expect("the accepted type");
            check_rows(instance);
            check_neuron(instance, &data);
            check_sources(instance);
            check_like(instance, &data.instances["other"], text);
        }
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if size > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    nearfab_fuzz::numbers::mutate(&mut data[..max_size], size, &mut nearfab_fuzz::numbers::random(seed), fuzzer_mutate)
});

/// Returns the address, NUMA node and bridges of all PCI functions.
fn functions(instance: &Instance) -> Vec<(Bdf, Option<u32>, &[Bdf])> {
    let mut all = Vec::new();
    all.extend(instance.neuron.iter().map(|row| (row.address, row.numa, &row.bridges[..])));
    all.extend(instance.efa.iter().chain(&instance.gpu).map(|row| (row.address, row.numa, &row.bridges[..])));
    all.extend(instance.foreign.iter().map(|row| (row.address, row.numa, &row.bridges[..])));
    all
}

fn check_rows(instance: &Instance) {
    let nodes: BTreeSet<u32> = instance.numa.iter().map(|row| row.node).collect();
    assert!(!nodes.is_empty() && nodes.len() == instance.numa.len(), "a NUMA node is listed twice, or none is listed");
    for (position, row) in instance.numa.iter().enumerate() {
        let is_disjoint = |other: &file::Numa| disjoint(&row.cpus, &other.cpus);
        assert!(instance.numa[position + 1..].iter().all(is_disjoint), "a CPU is on two NUMA nodes");
    }
    let functions = functions(instance);
    let addresses: BTreeSet<Bdf> = functions.iter().map(|(address, ..)| *address).collect();
    assert_eq!(addresses.len(), functions.len(), "an address is listed twice");
    for (address, node, bridges) in &functions {
        assert!(node.is_none_or(|node| nodes.contains(&node)), "{address} is on node {node:?}");
        let buses: Vec<u8> = bridges.iter().chain([address]).map(|function| function.bus()).collect();
        assert!(buses.is_sorted_by(|above, below| above < below), "{address} is behind {bridges:?}");
        assert!(bridges.iter().all(|bridge| !addresses.contains(bridge)), "{address} is behind a device");
    }
    assert_eq!(instance.efa.is_empty(), instance.efa_device_id.is_none());
    assert_eq!(instance.gpu.is_empty(), instance.gpu_device_id.is_none());
    assert_eq!(instance.neuron.is_empty(), instance.neuron_product.is_none());
}

fn disjoint(some: &CpuList, others: &CpuList) -> bool {
    let (few, many) = if some.len() < others.len() { (some, others) } else { (others, some) };
    few.iter().take(1000).all(|cpu| !many.contains(cpu))
}

fn check_neuron(instance: &Instance, data: &Data) {
    let linked: BTreeSet<(u32, u32)> = instance
        .neuron
        .iter()
        .flat_map(|device| device.links.iter().flatten().map(|link| (device.index, *link)))
        .collect();
    assert!(linked.iter().all(|(from, to)| from != to && linked.contains(&(*to, *from))), "{linked:?}");
    for (position, device) in instance.neuron.iter().enumerate() {
        assert_eq!(device.index as usize, position);
        let pair = device.efa.as_ref();
        assert!(pair.is_none_or(|pair| instance.efa.iter().any(|efa| efa.address == *pair)), "{pair:?}");
    }
    let product = instance.neuron_product.as_ref();
    assert!(product.is_none_or(|name| data.products.iter().any(|product| product.name == *name)));
}

fn check_sources(instance: &Instance) {
    let functions = functions(instance);
    let has = |fact: &str| instance.sources.contains_key(fact);
    assert!(has("cpus"));
    assert_eq!(has("numa"), functions.iter().any(|(_, numa, _)| numa.is_some()));
    assert_eq!(has("neuron"), !instance.neuron.is_empty());
    assert_eq!((has("efa"), has("efa_device_id")), (!instance.efa.is_empty(), !instance.efa.is_empty()));
    assert_eq!((has("gpu"), has("foreign")), (!instance.gpu.is_empty(), !instance.foreign.is_empty()));
    assert_eq!(has("pairing"), instance.neuron.iter().any(|device| device.efa.is_some()));
    assert_eq!(has("links"), instance.neuron.iter().flat_map(|device| device.links.iter().flatten()).count() > 0);
    assert!(has("path") || functions.iter().all(|(_, _, bridges)| bridges.is_empty()));
    for (fact, source) in &instance.sources {
        assert!(!source.text.is_empty(), "{fact} has no source");
        assert!(source.assumptions.iter().all(|assumption| assumption == "c"), "{fact}: {:?}", source.assumptions);
        let known = matches!(source.grade, Grade::Captured | Grade::Published);
        assert!(known || !source.assumptions.is_empty(), "{fact} is not known and names no assumption");
        let rows: Vec<Bdf> = match fact.as_str() {
            _ if source.grade != Grade::Invented => Vec::new(),
            "cpus" => Vec::new(),
            "efa" => instance.efa.iter().map(|row| row.address).collect(),
            "neuron" => instance.neuron.iter().map(|row| row.address).collect(),
            other => panic!("{other} is invented"),
        };
        for invented in rows {
            let on_its_bus = functions.iter().filter(|(address, ..)| address.bus() == invented.bus()).count();
            assert_eq!(on_its_bus, 1, "{invented} looks near");
        }
    }
}

/// Checks that a fact from another type gets no better grade than the fact and the likeness have.
fn check_like(instance: &Instance, other: &Instance, text: &str) {
    let table: toml::Table = text.parse().expect("the accepted file is TOML");
    let Some(like) = table.get("like") else { return };
    let grades = [Grade::Captured, Grade::Published, Grade::Inferred, Grade::Invented];
    let words = ["captured", "published", "inferred", "invented"];
    let like = words.iter().position(|word| like["grade"].as_str() == Some(word)).expect("a grade");
    let own = table.get("sources").and_then(toml::Value::as_table);
    for (fact, source) in &instance.sources {
        let place = |grade| grades.iter().position(|other| *other == grade).expect("a grade");
        if own.is_none_or(|own| !own.contains_key(fact)) {
            let as_other = place(other.sources[fact].grade);
            assert_eq!(place(source.grade), like.max(as_other), "{fact}");
        }
    }
}
