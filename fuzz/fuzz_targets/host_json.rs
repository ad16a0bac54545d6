//! Texts as recorded hosts.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nearfab::Host;

fuzz_target!(|text: &str| {
    if let Ok(host) = Host::from_json(text) {
        assert!(!host.is_live());
        nearfab_fuzz::check(&host);
    }
});
