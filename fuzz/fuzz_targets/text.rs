//! Texts as PCI addresses, roots, devices and cores: what is understood is written in one form, which is read as the
//! same.

#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use nearfab::{Bdf, Core, HostDevice, PciRoot};

fuzz_target!(|text: &str| {
    if let Some(address) = check::<Bdf>(text) {
        let fields = Bdf::new(address.domain(), address.bus(), address.device(), address.function());
        assert_eq!(fields, address, "a part is out of its range");
        let digits = |text: &str| text.bytes().filter(u8::is_ascii_hexdigit).count();
        assert!(address.to_string().len() >= 12 && digits(&address.to_string()) + 3 == address.to_string().len());
    }
    check::<PciRoot>(text);
    check::<HostDevice>(text);
    check::<Core>(text);
});

fn check<T: FromStr + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    let again = value.to_string().parse::<T>().ok().expect("what was written is read");
    assert_eq!(again, value);
    Some(value)
}
