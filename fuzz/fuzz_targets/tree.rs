//! Whole trees, from the text form of `nearfab_fuzz`: nothing panics, nothing outside is read, and the host holds
//! together.

#![no_main]

use std::fs;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use nearfab::{Host, Record};
use nearfab_fuzz::{OUTSIDE, check, write};

fuzz_target!(|text: &[u8]| {
    // In memory, where there is such a folder: thousands of small files a second.
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let place = place.expect("a temporary folder");
    let root = place.path().join("tree");
    fs::create_dir(&root).expect("a folder");
    fs::write(place.path().join("outside"), OUTSIDE).expect("a file");
    write(text, &root);

    let host = Host::from_root(&root).expect("a tree that can be opened");
    check(&host);
    let record = Record::take(&host).expect("a tree that can be opened");
    assert!(!record.to_json().contains(OUTSIDE), "a link led out of the tree");
    assert_eq!(Record::from_json(&record.to_json()).expect("what was written is read"), record);
    let redacted = record.redacted();
    assert_eq!(Record::from_json(&redacted.to_json()).expect("what was redacted is read"), redacted);
});
