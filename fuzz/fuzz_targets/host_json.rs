//! Texts as recorded hosts: one that is read holds together, and shows what a plain look at the JSON shows. With what is
//! around it, it is read back as the same, and redacted tells no number of a device.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use nearfab::{EfaInterface, Host, Record};
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
    if let Ok(record) = Record::from_json(text) {
        check_record(&host, &record);
    }
});

fn check_record(host: &Host, record: &Record) {
    assert_eq!(&record.host, host);
    assert_eq!(Record::from_json(&record.to_json()).as_ref().ok(), Some(record), "what was written is read");
    let redacted = record.redacted();
    assert!(redacted.is_redacted());
    assert_eq!(Record::from_json(&redacted.to_json()).as_ref().ok(), Some(&redacted), "what was written is read");
    let serials = |host: &Host| host.neuron().iter().map(|device| device.serial.clone()).collect();
    let guids = |host: &Host| host.efa().iter().map(|efa| efa.node_guid.map(|guid| guid.to_string())).collect();
    let gid = |efa: &EfaInterface| efa.port.as_ref()?.gid.map(|gid| gid.to_string());
    let gids = |host: &Host| host.efa().iter().map(gid).collect();
    check_redacted(serials(host), serials(&redacted.host));
    check_redacted(guids(host), guids(&redacted.host));
    check_redacted(gids(host), gids(&redacted.host));
    let addresses = |host: &Host| host.efa().iter().map(|efa| efa.address()).collect::<Vec<_>>();
    assert_eq!(addresses(host), addresses(&redacted.host));
}

/// None is kept, and what was equal is equal.
fn check_redacted(told: Vec<Option<String>>, kept: Vec<Option<String>>) {
    for (told, kept) in told.iter().zip(&kept) {
        assert_eq!(told.is_some(), kept.is_some());
        // What a redacted record has anyway: a small number.
        let number = |text: &str| text.trim_start_matches("fe80::").trim_start_matches(['0', ':']).len() < 4;
        let redacted_before = |text: &String| text.starts_with("redacted-") || number(text);
        assert!(told != kept || told.as_ref().is_none_or(redacted_before), "{told:?} is kept");
    }
    let first = |all: &[Option<String>], one: &Option<String>| all.iter().position(|other| other == one);
    for (a, b) in told.iter().zip(&kept) {
        assert_eq!(first(&told, a), first(&kept, b), "{told:?} became {kept:?}");
    }
}

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
