//! Recorded hosts: a host that the library reads must not contradict itself, and must have the devices that the plain JSON
//! has. A record of a host and its system must be equal after it is written and read again. A redacted record must contain no
//! serial number, GUID or GID of a device.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use nearfab::{EfaInterface, Host, Record};
use serde_json::Value;

fuzz_target!(|text: &str| {
    let Ok(host) = Host::from_json(text) else { return };
    assert!(!host.is_live());
    // nearfab skips unknown members. They may contain numbers that serde_json cannot hold.
    let Ok(record) = serde_json::from_str::<Value>(text) else { return };
    assert_eq!(record["format"], 1);
    assert_eq!(host.instance_type(), record["instance_type"].as_str());
    let found = host.efa_interfaces().iter().map(|efa| efa.address().to_string());
    assert_each_once(found.collect(), &record["efa"], |efa| efa["address"].as_str()?.parse().ok().map(address));
    let found = host.neuron_devices().iter().map(|device| device.index.0.to_string());
    assert_each_once(found.collect(), &record["neuron"], |device| {
        device["index"].as_u64().map(|index| index.to_string())
    });
    assert!(
        host.neuron_devices().iter().all(|device| device.cores <= 4096),
        "lists of so many cores would fill the memory"
    );
    nearfab_fuzz::check(&host);
    if let Ok(record) = Record::from_json(text) {
        check_record(&host, &record);
    }
});

fn check_record(host: &Host, record: &Record) {
    assert_eq!(&record.host, host);
    assert_eq!(Record::from_json(&record.to_json()).as_ref().ok(), Some(record), "a written record is readable");
    let redacted = record.redacted();
    assert!(redacted.is_redacted());
    assert_eq!(Record::from_json(&redacted.to_json()).as_ref().ok(), Some(&redacted), "a redacted record is readable");
    let serials = |host: &Host| host.neuron_devices().iter().map(|device| device.serial.clone()).collect();
    let guids =
        |host: &Host| host.efa_interfaces().iter().map(|efa| efa.node_guid.map(|guid| guid.to_string())).collect();
    let gid = |efa: &EfaInterface| efa.port.as_ref()?.gid.map(|gid| gid.to_string());
    let gids = |host: &Host| host.efa_interfaces().iter().map(gid).collect();
    check_redacted(serials(host), serials(&redacted.host));
    check_redacted(guids(host), guids(&redacted.host));
    check_redacted(gids(host), gids(&redacted.host));
    let addresses = |host: &Host| host.efa_interfaces().iter().map(|efa| efa.address()).collect::<Vec<_>>();
    assert_eq!(addresses(host), addresses(&redacted.host));
}

/// Checks that redaction keeps no value, and that equal values are equal after it.
fn check_redacted(original: Vec<Option<String>>, redacted: Vec<Option<String>>) {
    for (before, after) in original.iter().zip(&redacted) {
        assert_eq!(before.is_some(), after.is_some());
        // A redacted record contains small numbers, so an original small number may stay equal.
        let number = |text: &str| text.trim_start_matches("fe80::").trim_start_matches(['0', ':']).len() < 4;
        let redacted_before = |text: &String| text.starts_with("redacted-") || number(text);
        assert!(before != after || before.as_ref().is_none_or(redacted_before), "{before:?} is not redacted");
    }
    let first = |all: &[Option<String>], one: &Option<String>| all.iter().position(|other| other == one);
    for (before, after) in original.iter().zip(&redacted) {
        assert_eq!(first(&original, before), first(&redacted, after), "{original:?} became {redacted:?}");
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

/// Checks that the host has the devices of the record in the same order, and none twice.
fn assert_each_once(found: Vec<String>, recorded: &Value, name: impl Fn(&Value) -> Option<String>) {
    let recorded: Vec<Option<String>> = recorded.as_array().into_iter().flatten().map(name).collect();
    assert!(found.iter().map(Some).eq(recorded.iter().map(Option::as_ref)), "{found:?} of {recorded:?}");
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), found.len(), "{found:?}");
}
