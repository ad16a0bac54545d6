//! Assumptions that only the driver can confirm, with fake drivers. The other assumptions are tested in
//! `tests/verify.rs`.

use std::collections::BTreeSet;

use super::{FakeNode, probe_of};
use crate::host::Host;
use crate::tables::instances::{InstanceTable, assumptions, tables};
use crate::types::{Bdf, HostDevice};
use crate::verify::*;

/// The orders of the cores by device, copied from the driver's source independently of the library.
const TORUS: [[u32; 8]; 16] = {
    let [a, b] = [[4, 5, 6, 7, 2, 3, 0, 1], [2, 3, 0, 1, 4, 5, 6, 7]];
    let [c, d] = [[0, 1, 2, 3, 6, 7, 4, 5], [6, 7, 4, 5, 0, 1, 2, 3]];
    [a, b, a, b, c, d, c, d, a, b, a, b, c, d, c, d]
};
/// The orders on a server with flipped dice: core 0 becomes core 4, and so on.
const FLIPPED: [[u32; 8]; 16] = {
    let [a, b] = [[0, 1, 2, 3, 6, 7, 4, 5], [6, 7, 4, 5, 0, 1, 2, 3]];
    let [c, d] = [[4, 5, 6, 7, 2, 3, 0, 1], [2, 3, 0, 1, 4, 5, 6, 7]];
    [a, b, a, b, c, d, c, d, a, b, a, b, c, d, c, d]
};
const SWITCHED: [[u32; 8]; 2] = [[4, 5, 6, 7, 2, 3, 0, 1], [6, 7, 4, 5, 0, 1, 2, 3]];

/// A machine of a type, by its table. If the table has no addresses of the Neuron devices, each device is behind the
/// switch of its paired interface, with one switch for each two interfaces.
fn machine(instance_type: &str) -> Host {
    let mut record: serde_json::Value =
        serde_json::from_str(&Host::from_instance(instance_type).unwrap().to_json()).unwrap();
    record["origin"] = serde_json::json!({"from": "machine"});
    let host = Host::from_json(&record.to_string()).unwrap();
    if host.table().unwrap().places_neuron() {
        return host;
    }
    let interfaces = record["efa"].as_array_mut().unwrap();
    interfaces.sort_by_key(|interface| interface["address"].as_str().unwrap().to_owned());
    for (i, interface) in interfaces.iter_mut().enumerate() {
        place(interface, i / 2, i);
    }
    let functions = host.table().unwrap().neuron.iter().map(|row| {
        let position = interfaces.iter().position(|efa| efa["address"] == row.efa.unwrap().to_string()).unwrap();
        let mut function = serde_json::json!({
            "address": row.address, "id": "1d0f:7564", "numa": null, "cpus": "", "driver": "neuron-driver",
        });
        place(&mut function, position / 2, 16 + position);
        function
    });
    record["unnumbered"] = functions.collect();
    Host::from_json(&record.to_string()).unwrap()
}

/// Puts a function of a record behind a port of a switch.
fn place(function: &mut serde_json::Value, switch: usize, port: usize) {
    function["root"] = format!("pci0000:{switch:02x}").into();
    function["bridges"] = serde_json::json!([
        format!("0000:{switch:02x}:00.0"),
        format!("0000:1{switch}:00.0"),
        format!("0000:2{switch}:{port:02x}.0")
    ]);
}

/// A node whose answers agree with the assumptions.
fn expected_node(host: &Host, device: HostDevice) -> FakeNode {
    let table = host.table().unwrap();
    let product = table.product().unwrap();
    let mut node = FakeNode { architecture: product.architecture, ..FakeNode::default() };
    node.set_address(table.neuron(device).unwrap().address);
    match product.architecture {
        1 | 2 => node.failing = [("GET_LOGICAL_TO_PHYSICAL_NC_MAP", -nix::libc::EOPNOTSUPP)].into(),
        4 if host.instance_type() != Some("trn3p.48xlarge") => node.orders = SWITCHED.to_vec(),
        _ => node.orders = TORUS.to_vec(),
    }
    node
}

fn with_driver(host: &Host, change: impl Fn(HostDevice, &mut FakeNode)) -> Verification {
    let probe = probe_of(host, |device| {
        let mut node = expected_node(host, device);
        change(device, &mut node);
        node
    });
    verify(host, Some(&probe))
}

fn ids(verification: &Verification, wanted: impl Fn(&Verdict) -> bool) -> BTreeSet<&'static str> {
    verification
        .assumptions
        .iter()
        .filter(|assumption| wanted(&assumption.verdict))
        .map(|assumption| assumption.id)
        .collect()
}

fn confirmed(verification: &Verification) -> BTreeSet<&'static str> {
    ids(verification, |verdict| matches!(verdict, Verdict::Confirmed { .. }))
}

fn refuted(verification: &Verification) -> BTreeSet<&'static str> {
    ids(verification, |verdict| matches!(verdict, Verdict::Refuted { .. }))
}

fn differences(verification: &Verification, id: &str) -> Vec<[String; 3]> {
    let assumption = verification.assumptions.iter().find(|assumption| assumption.id == id).unwrap();
    let Verdict::Refuted { differences, .. } = &assumption.verdict else { panic!("{assumption:?}") };
    differences.iter().map(|d| [d.path.clone(), d.expected.clone(), d.found.clone()]).collect()
}

/// A driver whose answers differ from the assumptions.
struct Mutation {
    instance_type: &'static str,
    change: fn(HostDevice, &mut FakeNode),
    refuted: &'static [&'static str],
    /// The first difference of the first refuted assumption: path, expected, found.
    difference: [&'static str; 3],
}

const ORDER: [u32; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
const MUTATIONS: &[Mutation] = &[
    Mutation {
        instance_type: "trn2.48xlarge",
        change: |_, node| node.orders[5] = ORDER,
        refuted: &["core-map-torus"],
        difference: ["/dev/neuron5: GET_LOGICAL_TO_PHYSICAL_NC_MAP", "6,7,4,5,0,1,2,3", "0,1,2,3,4,5,6,7"],
    },
    Mutation {
        // A server outside an UltraServer is not flipped.
        instance_type: "trn2.48xlarge",
        change: |_, node| node.orders = FLIPPED.to_vec(),
        refuted: &["core-map-torus"],
        difference: ["/dev/neuron0: GET_LOGICAL_TO_PHYSICAL_NC_MAP", "4,5,6,7,2,3,0,1", "0,1,2,3,6,7,4,5"],
    },
    Mutation {
        instance_type: "trn2u.48xlarge",
        change: |_, node| node.orders[5] = ORDER,
        refuted: &["core-map-flipped", "core-map-torus"],
        difference: ["/dev/neuron5: GET_LOGICAL_TO_PHYSICAL_NC_MAP", "6,7,4,5,0,1,2,3", "0,1,2,3,4,5,6,7"],
    },
    Mutation {
        // Even devices have the order of a plain server, and odd devices have the order of a flipped server.
        instance_type: "trn3p.48xlarge",
        change: |_, node| node.orders = SWITCHED.to_vec(),
        refuted: &["core-map-flipped", "core-map-trn3p"],
        difference: ["/dev/neuron1: GET_LOGICAL_TO_PHYSICAL_NC_MAP", "2,3,0,1,4,5,6,7", "6,7,4,5,0,1,2,3"],
    },
    Mutation {
        instance_type: "trn3.48xlarge",
        change: |_, node| node.orders = TORUS.to_vec(),
        refuted: &["core-map-switched"],
        difference: ["/dev/neuron1: GET_LOGICAL_TO_PHYSICAL_NC_MAP", "6,7,4,5,0,1,2,3", "2,3,0,1,4,5,6,7"],
    },
    Mutation {
        instance_type: "trn1.32xlarge",
        change: |_, node| node.failing.clear(),
        refuted: &["core-map-none"],
        difference: ["GET_LOGICAL_TO_PHYSICAL_NC_MAP", "none", "an order of 128 cores"],
    },
    Mutation {
        instance_type: "inf2.24xlarge",
        change: |_, node| node.architecture = 3,
        refuted: &["driver-architectures"],
        difference: ["/dev/neuron0: DRIVER_INFO_GET", "V2 for Inferentia2", "V3"],
    },
    Mutation {
        instance_type: "trn2.48xlarge",
        change: |device, node| {
            if device.0 == 3 {
                node.available = Some(2);
            }
        },
        refuted: &["core-question"],
        difference: ["/dev/neuron3", "no or one free core from CRWL_NC_RANGE_MARK_EXT0", "2 cores"],
    },
    Mutation {
        instance_type: "trn2.48xlarge",
        change: |_, node| node.failing = [("CRWL_NC_RANGE_MARK_EXT0", 0)].into(),
        refuted: &["core-question"],
        difference: [
            "/dev/neuron0",
            "no or one free core from CRWL_NC_RANGE_MARK_EXT0",
            "a reservation, which was released",
        ],
    },
    Mutation {
        // No device is at this address.
        instance_type: "trn2.48xlarge",
        change: |device, node| {
            if device.0 == 4 {
                node.set_address(Bdf::new(0, 0x13, 0, 0));
            }
        },
        refuted: &["probed-address"],
        difference: ["/dev/neuron4: DEVICE_BDF_EXT", "a Neuron function of this host", "0000:13:00.0"],
    },
    Mutation {
        // The driver answers as if it did not add the descriptor's device to the index.
        instance_type: "trn2.48xlarge",
        change: |_, node| node.set_address(Bdf::new(0, 0xcc, 0, 0)),
        refuted: &["probed-address"],
        difference: ["/dev/neuron1: DEVICE_BDF_EXT", "another function for each device", "0000:cc:00.0"],
    },
    Mutation {
        // Two devices are at each other's expected address.
        instance_type: "trn1n.32xlarge",
        change: |device, node| match device.0 {
            0 => node.set_address("0000:10:1d.0".parse().unwrap()),
            1 => node.set_address("0000:10:1c.0".parse().unwrap()),
            _ => {}
        },
        refuted: &["trn1n-like-trn1"],
        difference: ["/dev/neuron0: DEVICE_BDF_EXT", "0000:10:1c.0", "0000:10:1d.0"],
    },
    Mutation {
        // The devices have the order of AWS's other table.
        instance_type: "trn3p.48xlarge",
        change: |device, node| {
            let of_0 = InstanceTable::find("trn3p.48xlarge").unwrap().neuron(HostDevice((device.0 + 1) % 16)).unwrap();
            node.set_address(of_0.address);
        },
        refuted: &["trn3-pairing", "trn3-places"],
        difference: [
            "/sys/bus/pci/devices/0000:aa:00.0",
            "0000:be:00.0 among the interfaces nearest to neuron0",
            "0000:a8:00.0 or 0000:a9:00.0",
        ],
    },
];

#[test]
fn a_driver_that_agrees_with_the_assumptions_refutes_none() {
    for table in tables().iter().filter(|table| !table.neuron.is_empty()) {
        let host = machine(table.instance_type);
        let verification = with_driver(&host, |_, _| ());
        assert_eq!(refuted(&verification), BTreeSet::new(), "{}", table.instance_type);
        assert!(verification.probed);
        // No gap of this host needs a probe any more.
        let gaps = verification.assumptions.iter().filter_map(|assumption| match &assumption.verdict {
            Verdict::Confirmed { gaps, .. } | Verdict::Untestable { reason: Reason::NotShown { gaps } } => Some(gaps),
            _ => None,
        });
        let open: Vec<_> = gaps.flatten().filter(|gap| gap.needs == Need::Probe).collect();
        assert!(open.is_empty(), "{}: {open:?}", table.instance_type);
    }
}

/// Two of the four servers of an UltraServer are flipped.
#[test]
fn flipped_servers_confirm_the_assumptions_too() {
    for (instance_type, assumption) in [("trn2u.48xlarge", "core-map-torus"), ("trn3p.48xlarge", "core-map-trn3p")] {
        let host = machine(instance_type);
        let plain = with_driver(&host, |_, _| ());
        let flipped = with_driver(&host, |_, node| node.orders = FLIPPED.to_vec());
        assert!(confirmed(&plain).contains(assumption) && confirmed(&flipped).contains(assumption));
        assert!(!confirmed(&plain).contains("core-map-flipped"), "nothing is flipped there");
        assert!(confirmed(&flipped).contains("core-map-flipped"));
        assert_eq!(refuted(&flipped), BTreeSet::new());
    }
}

#[test]
fn a_driver_that_differs_refutes_exactly_the_assumptions_about_it() {
    for Mutation { instance_type, change, refuted: expected, difference } in MUTATIONS {
        let verification = with_driver(&machine(instance_type), change);
        assert_eq!(refuted(&verification), expected.iter().copied().collect(), "{instance_type} {difference:?}");
        assert_eq!(differences(&verification, expected[0])[0], *difference);
    }
}

/// Each assumption that only a probe can confirm is refuted by a mutation above.
#[test]
fn every_assumption_about_the_driver_is_tested() {
    let mutated: BTreeSet<&str> = MUTATIONS.iter().flat_map(|mutation| mutation.refuted).copied().collect();
    let mut confirmable: BTreeSet<&str> = BTreeSet::new();
    for table in tables().iter().filter(|table| !table.neuron.is_empty()) {
        let host = machine(table.instance_type);
        let without = confirmed(&verify(&host, None));
        confirmable.extend(confirmed(&with_driver(&host, |_, _| ())).difference(&without));
        confirmable.extend(
            confirmed(&with_driver(&host, |_, node| {
                if node.orders.len() == 16 {
                    node.orders = FLIPPED.to_vec();
                }
            }))
            .difference(&without),
        );
    }
    let untested: Vec<_> = confirmable.difference(&mutated).collect();
    assert!(untested.is_empty(), "no driver refutes {untested:?}");
    let checks = assumptions().iter().filter(|assumption| assumption.check.is_some()).map(|assumption| assumption.id);
    let open: Vec<_> = checks.filter(|id| *id != "local-cpulist" && !confirmable.contains(id)).collect();
    assert!(open.is_empty(), "no driver confirms {open:?}");
}

/// A refused node or an old driver refutes no assumption.
#[test]
fn an_assumption_without_an_answer_is_untestable() {
    let host = machine("trn2.48xlarge");
    let silent = with_driver(&host, |_, node| {
        node.failing = [
            ("DEVICE_BDF_EXT", -nix::libc::EINVAL),
            ("GET_LOGICAL_TO_PHYSICAL_NC_MAP", -nix::libc::EINVAL),
            ("DRIVER_INFO_GET", -nix::libc::ENOTTY),
            ("DEVICE_BASIC_INFO", -nix::libc::ENOTTY),
        ]
        .into();
    });
    assert_eq!(refuted(&silent), BTreeSet::new());
    for id in ["core-map-torus", "core-question", "driver-architectures", "probed-address"] {
        let assumption = silent.assumptions.iter().find(|assumption| assumption.id == id).unwrap();
        let Verdict::Untestable { reason } = &assumption.verdict else { panic!("{assumption:?}") };
        assert!(reason.to_string().contains("failed on /dev/neuron"), "{id}: {reason}");
    }
}
