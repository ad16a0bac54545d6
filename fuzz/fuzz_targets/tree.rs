//! Whole trees, from the text of `nearfab_fuzz::write`. Nothing may panic, no reading may contain a file outside of the tree,
//! and the host must not contradict itself.

#![no_main]

use std::fs;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use nearfab::{Host, Record, telemetry};
use nearfab_fuzz::{OUTSIDE, check, write};

fuzz_target!(|text: &[u8]| {
    let place = tempfile::tempdir().expect("a temporary folder");
    let root = place.path().join("tree");
    fs::create_dir(&root).expect("a folder");
    fs::write(place.path().join("outside"), OUTSIDE).expect("a file");
    write(text, &root);

    let host = Host::from_root(&root).expect("a tree that can be opened");
    check(&host);
    assert!(
        host.efa_interfaces().is_sorted_by_key(|efa| efa.address())
            && host.neuron_devices().is_sorted_by_key(|device| device.index)
    );
    let telemetry = format!("{:?}", telemetry(&host).expect("a tree that can be opened"));
    let record = Record::take(&host).expect("a tree that can be opened");
    for read in [record.to_json(), telemetry] {
        assert!(!read.contains(OUTSIDE), "a link led out of the tree");
    }
    assert_eq!(Record::from_json(&record.to_json()).expect("a written record is readable"), record);
    let redacted = record.redacted();
    assert_eq!(Record::from_json(&redacted.to_json()).expect("a redacted record is readable"), redacted);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if size > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    nearfab_fuzz::numbers::mutate(&mut data[..max_size], size, &mut nearfab_fuzz::numbers::random(seed), fuzzer_mutate)
});
