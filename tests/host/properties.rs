//! Properties of every value: what is written is read back, and texts mean what a plain reading says.

use std::collections::BTreeSet;

use nearfab::instances::tables;
use nearfab::{Bdf, Core, CpuList, Host, HostDevice, PciRoot, PhysicalCore};
use proptest::prelude::*;

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
    fn addresses_are_read_as_by_plain_reading(text in "([0-9a-fA-F]{3,4}:)?[0-9a-f]{1,3}:[0-9a-f]{1,3}\\.[0-9a-f]{1,2}") {
        if let Ok(address) = text.parse::<Bdf>() {
            prop_assert!(address.to_string().ends_with(&text.to_lowercase()), "{address} from {text}");
        }
    }

    #[test]
    fn roots_are_read_as_by_plain_reading(text in "pci[+0-9a-f]{1,5}:[+0-9a-f]{1,3}") {
        if let Ok(root) = text.parse::<PciRoot>() {
            prop_assert_eq!(root.to_string(), text);
        }
    }

    /// NVMe devices behind Intel VMD have domains of more than four digits.
    #[test]
    fn a_root_of_a_high_domain_begins_with_no_zero(text in "pci[0-9a-f]{5,8}:[0-9a-f]{2}") {
        prop_assert_eq!(text.parse::<PciRoot>().is_ok(), !text.starts_with("pci0"));
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

    /// A record from which any devices are removed, and to which any problem is added, is read back equal.
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
        prop_assert_eq!(changed.efa().len(), record["efa"].as_array().unwrap().len());
        prop_assert_eq!(Host::from_json(&changed.to_json()).unwrap(), changed);
    }
}
