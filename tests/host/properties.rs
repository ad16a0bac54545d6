//! Properties of every value: a written value is read back, and the library reads a text like a plain reading.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use nearfab::instances::tables;
use nearfab::version_rules::Version;
use nearfab::{Bdf, Core, CpuList, Guid, Host, HostDevice, LinkSpeed, LinkWidth, PciId, PciRoot, PhysicalCore};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// Independent, simple readings of the same texts. The fuzz targets compare the library with these readings too.
#[expect(dead_code, unreachable_pub, reason = "the fuzz targets use all of it")]
#[path = "../../fuzz/src/readings.rs"]
mod readings;

/// Compares the library's reading of a text with a plain reading, in the written form. The library must read the
/// written form as the same value.
fn compare<T: FromStr + Display + PartialEq>(text: &str, plain: Option<String>) -> Result<(), TestCaseError> {
    let read = text.parse::<T>().ok();
    prop_assert_eq!(read.as_ref().map(ToString::to_string), plain, "{:?}", text);
    let again = read.as_ref().and_then(|value| value.to_string().parse::<T>().ok());
    prop_assert!(read == again, "{:?} is not read back", text);
    Ok(())
}

fn bdf() -> impl Strategy<Value = Bdf> {
    (any::<u32>(), any::<u8>(), 0_u8..32, 0_u8..8).prop_map(|(domain, bus, device, function)| {
        // Real machines have few domains, virtual ones have many.
        Bdf::new(domain >> (domain % 32), bus, device, function)
    })
}

/// Ranges as a person or a kernel may write them: in any order, adjacent, overlapping.
fn ranges() -> impl Strategy<Value = Vec<(u32, u32)>> {
    let range = (0_u32..300, 0_u32..40).prop_map(|(first, more)| (first, first + more));
    proptest::collection::vec(range, 0..12)
}

fn written(ranges: &[(u32, u32)]) -> String {
    let one = |&(first, last): &(u32, u32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.iter().map(one).collect::<Vec<_>>().join(",")
}

proptest! {
    #[test]
    fn addresses_are_read_back(address in bdf()) {
        prop_assert_eq!(address.to_string().parse::<Bdf>().unwrap(), address);
        prop_assert_eq!(address.to_string().to_uppercase().parse::<Bdf>().unwrap(), address);
        prop_assert_eq!((address.device() < 32, address.function() < 8), (true, true));
    }

    #[test]
    fn short_addresses_are_of_domain_0(bus: u8, device in 0_u8..32, function in 0_u8..8) {
        let short = format!("{bus:02x}:{device:02x}.{function}");
        prop_assert_eq!(short.parse::<Bdf>().unwrap(), Bdf::new(0, bus, device, function));
    }

    #[test]
    fn addresses_and_roots_are_read_as_by_plain_reading(
        odd in "\\PC{0,12}",
        address in "([0-9a-fA-F]{3,9}:)?[0-9a-fA-F]{1,3}:[01][0-9a-fA-F]{0,2}\\.[0-9a-f]{1,2}",
        root in "pci[+0-9a-f]{1,9}:[+0-9a-f]{1,3}",
        id in "[0-9a-fA-F]{4}:?[0-9a-fA-F]{3,5}",
    ) {
        for text in [&odd, &address, &root] {
            compare::<Bdf>(text, readings::address(text))?;
            // The kernel writes no zero before a domain of more than four digits.
            let root = readings::root(text).filter(|written| written.len() == text.len());
            compare::<PciRoot>(text, root)?;
        }
        for text in [odd, id] {
            prop_assert_eq!(PciId::try_from(text.clone()).ok().map(|id| id.to_string()), readings::id(&text), "{}", text);
        }
    }

    #[test]
    fn devices_and_cores_are_read_as_by_plain_reading(
        odd in "\\PC{0,12}", device in "neuron[+0-9]{0,11}", core in "neuron[0-9]{0,3}:[+0-9]{0,11}"
    ) {
        for text in [&odd, &device, &core] {
            compare::<HostDevice>(text, readings::device(text).map(|number| format!("neuron{number}")))?;
            compare::<Core>(text, readings::core(text).map(|(device, core)| format!("neuron{device}:{core}")))?;
        }
    }

    #[test]
    fn attributes_are_read_as_by_plain_reading(
        odd in "\\PC{0,12}",
        speed in "([0-9]{1,7}(\\.[0-9]{0,4})?|[Uu]nknown)( GT/s)?( PCIe| speed)?",
        width in "x?[0-9]{0,4}|unknown",
        guid in "([0-9a-fA-F]{4}:){2,4}[0-9a-fA-F]{3,5}",
        version in "[0-9]{1,4}(\\.[0-9x]{0,4}){0,4}[a-z-]{0,2}",
    ) {
        for text in [&odd, &speed, &width, &guid, &version] {
            compare::<LinkSpeed>(text, readings::speed(text))?;
            compare::<LinkWidth>(text, readings::width(text))?;
            compare::<Guid>(text, readings::guid(text))?;
            compare::<Version>(text, readings::version(text))?;
        }
    }

    #[test]
    fn cpu_lists_are_read_as_by_plain_reading(odd in "\\PC{0,12}", list in "[0-9]{1,3}([,-][0-9]{0,4}){0,4}") {
        for text in [&odd, &list] {
            compare::<CpuList>(text, readings::cpus(text).map(|row| readings::written_cpus(&row)))?;
        }
    }

    #[test]
    fn roots_are_read_back(domain: u32, bus: u8) {
        let root = PciRoot { domain, bus };
        prop_assert_eq!(root.to_string().parse::<PciRoot>().unwrap(), root);
    }

    #[test]
    fn cores_and_devices_are_read_back(device: u32, core: u32) {
        let device = HostDevice(device);
        prop_assert_eq!(device.to_string().parse::<HostDevice>().unwrap(), device);
        let core = Core { device, core: PhysicalCore(core) };
        prop_assert_eq!(core.to_string().parse::<Core>().unwrap(), core);
    }

    #[test]
    fn a_cpu_list_is_the_set_of_its_numbers(ranges in ranges(), probe in 0_u32..400) {
        let set: BTreeSet<u32> = ranges.iter().flat_map(|&(first, last)| first..=last).collect();
        let list: CpuList = written(&ranges).parse().unwrap();
        prop_assert_eq!(list.len(), set.len());
        prop_assert_eq!(list.is_empty(), set.is_empty());
        prop_assert_eq!(list.contains(probe), set.contains(&probe));
        prop_assert_eq!(list.iter().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
        // A set has one value and one text.
        prop_assert_eq!(&list.to_string().parse::<CpuList>().unwrap(), &list);
        let singly = written(&set.iter().map(|&cpu| (cpu, cpu)).collect::<Vec<_>>());
        prop_assert_eq!(singly.parse::<CpuList>().unwrap(), list);
    }

    #[test]
    fn backward_ranges_are_refused(first in 1_u32..1000, less in 1_u32..1000) {
        let text = format!("{first}-{}", first.saturating_sub(less));
        prop_assert!(text.parse::<CpuList>().is_err());
    }

    /// A record is read back equal after any devices are removed and any problem is added.
    #[test]
    fn hosts_are_read_back(
        table in any::<proptest::sample::Index>(),
        keep in proptest::collection::vec(any::<bool>(), 64),
        problem in ".*",
        numa in proptest::option::of(any::<u32>()),
    ) {
        let host = Host::from_instance(table.get(tables()).instance_type).unwrap();
        let mut record: serde_json::Value = serde_json::from_str(&host.to_json()).unwrap();
        for kind in ["efa", "neuron"] {
            let mut flags = keep.iter().cycle();
            record[kind].as_array_mut().unwrap().retain(|_| flags.next().copied().unwrap_or_default());
        }
        if let Some(efa) = record["efa"].as_array_mut().unwrap().first_mut() {
            efa["numa"] = numa.into();
        }
        record["problems"] = serde_json::json!([problem]);
        let changed = Host::from_json(&record.to_string()).unwrap();
        prop_assert_eq!(changed.problems(), [problem]);
        prop_assert_eq!(changed.efa_interfaces().len(), record["efa"].as_array().unwrap().len());
        prop_assert_eq!(Host::from_json(&changed.to_json()).unwrap(), changed);
    }
}
