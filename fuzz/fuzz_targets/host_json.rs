//! Texts as recorded hosts: one that is read holds together, and shows what a plain look at the JSON shows.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use nearfab::Host;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let Ok(host) = Host::from_json(text) else { return };
    assert!(!host.is_live());
    // In a field that a host has not, also a number that does not fit is skipped.
    let Ok(record) = serde_json::from_str::<Value>(text) else { return };
    assert_eq!(record["format"], 1);
    assert_eq!(host.instance_type(), record["instance_type"].as_str());
    let shown = host.efa().iter().map(|efa| efa.address().to_string());
    assert_each_once(shown.collect(), &record["efa"], |efa| efa["address"].as_str()?.parse().ok().map(address));
    let shown = host.neuron().iter().map(|device| device.index.0.to_string());
    assert_each_once(shown.collect(), &record["neuron"], |device| {
        device["index"].as_u64().map(|index| index.to_string())
    });
    assert!(host.neuron().iter().all(|device| device.cores <= 4096), "lists of them would fill the memory");
    nearfab_fuzz::check(&host);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if size > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    nearfab_fuzz::numbers::mutate(&mut data[..max_size], size, &mut nearfab_fuzz::numbers::random(seed), fuzzer_mutate)
});

fn address(address: nearfab::Bdf) -> String {
    address.to_string()
}

/// The devices are those of the record, in its order, and none is there twice.
fn assert_each_once(shown: Vec<String>, recorded: &Value, name: impl Fn(&Value) -> Option<String>) {
    let recorded: Vec<Option<String>> = recorded.as_array().into_iter().flatten().map(name).collect();
    assert!(shown.iter().map(Some).eq(recorded.iter().map(Option::as_ref)), "{shown:?} of {recorded:?}");
    assert_eq!(shown.iter().collect::<BTreeSet<_>>().len(), shown.len(), "{shown:?}");
}
