//! Texts in records and from users: PCI addresses, root buses and ids, devices and cores, instance types, link speeds and
//! widths, GUIDs, versions. The library must read a text exactly if the plain reading does, must write the plain reading's
//! form, and must read that form as the same value.

#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use libfuzzer_sys::fuzz_target;
use nearfab::instances::tables;
use nearfab::version_rules::Version;
use nearfab::{Bdf, Core, Guid, Host, HostDevice, LinkSpeed, LinkWidth, PciId, PciRoot};
use nearfab_fuzz::readings;

fuzz_target!(|text: &str| {
    let address = check::<Bdf>(text, readings::address(text));
    if let Some(address) = address {
        let fields = Bdf::new(address.domain(), address.bus(), address.device(), address.function());
        assert_eq!(fields, address, "a part of the address is out of its range");
    }
    check::<PciRoot>(text, readings::root(text));
    check::<HostDevice>(text, readings::device(text).map(|number| format!("neuron{number}")));
    check::<Core>(text, readings::core(text).map(|(device, core)| format!("neuron{device}:{core}")));
    check::<LinkSpeed>(text, readings::speed(text));
    check::<LinkWidth>(text, readings::width(text));
    check::<Guid>(text, readings::guid(text));
    check::<Version>(text, readings::version(text));
    let id = PciId::try_from(text.to_owned()).ok();
    assert_eq!(id.map(|id| id.to_string()), readings::id(text));

    let known = tables().iter().any(|table| table.instance_type == text);
    match Host::from_instance(text) {
        Ok(host) => assert!(known && host.instance_type() == Some(text)),
        Err(error) => assert!(!known && error.to_string().contains("trn2.48xlarge"), "{error}"),
    }
});

/// Compares the library's value of a text with the plain reading.
fn check<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str, plain: Option<String>) -> Option<T> {
    let value = match text.parse::<T>() {
        Ok(value) => value,
        Err(refusal) => {
            assert_eq!(plain, None, "{text:?}: {refusal}");
            assert!(refusal.to_string().contains(&format!("{text:?}")), "{refusal} does not quote the text");
            return None;
        }
    };
    assert_eq!(Some(value.to_string()), plain, "{text:?}");
    assert_eq!(value.to_string().parse::<T>().ok(), Some(value), "a written value is readable");
    text.parse().ok()
}
