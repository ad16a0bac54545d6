//! Tests that near and plan use only what this process can use.

use std::fs;
use std::path::Path;

use nearfab::instances::InstanceTable;
use nearfab::plan::{Plan, PlanOptions};
use nearfab::{Basis, Error, Host, HostDevice, NearList, PortState, RailOptions, Usability, plan};
use nearfab_emu::Defect;

use crate::tree::tree_of;
use crate::user::as_unprivileged_user;
use crate::write::write;

const TYPE: &str = "trn2.48xlarge";
/// neuron5 is paired with this interface.
const PAIR: &str = "0000:57:00.0";
const PAIR_FOLDER: &str = "sys/bus/pci/devices/0000:57:00.0";
/// The other interface behind the switch of neuron5.
const NEXT: &str = "0000:56:00.0";

fn host_with(defects: &[Defect], change: impl FnOnce(&Path)) -> Host {
    let tree = tree_of(InstanceTable::find(TYPE).unwrap(), defects);
    change(tree.path());
    as_unprivileged_user(|| Host::from_root(tree.path()).unwrap())
}

fn near_neuron5(host: &Host) -> NearList<nearfab::Bdf> {
    host.near_device(HostDevice(5), Basis::Pairing).unwrap()
}

fn names<'a>(near: impl Iterator<Item = &'a nearfab::Near<nearfab::Bdf>>) -> Vec<String> {
    near.map(|near| near.target.to_string()).collect()
}

fn plan_of(host: &Host) -> Plan {
    plan(host, &PlanOptions::ranks(16).narrowed()).unwrap()
}

/// Removes the RDMA device of the paired interface, as in a network namespace that does not have it.
fn without_rdma(root: &Path) {
    fs::remove_file(root.join("sys/class/infiniband/rdmap87s0")).unwrap();
    fs::remove_file(root.join("sys/class/infiniband_verbs/uverbs1")).unwrap();
}

fn bind(root: &Path, driver: Option<&str>) {
    without_rdma(root);
    let line = driver.map_or_else(String::new, |driver| format!("DRIVER={driver}\n"));
    let uevent = fs::read_to_string(root.join(PAIR_FOLDER).join("uevent")).unwrap();
    let rest: Vec<&str> = uevent.lines().filter(|line| !line.starts_with("DRIVER=")).collect();
    write(root, &format!("{PAIR_FOLDER}/uevent"), &format!("{line}{}\n", rest.join("\n")));
    let _ = fs::remove_file(root.join(PAIR_FOLDER).join("driver"));
}

#[test]
fn an_interface_that_cannot_be_used_is_passed_over_with_its_reason() {
    let namespaces = "sys/module/ib_core/parameters/netns_mode";
    let hosts = [
        (Usability::NodeMissing, host_with(&[Defect::VerbsNodeMissing(1)], |_| {})),
        (Usability::NodeRefused, host_with(&[Defect::VerbsNodeRefused(1)], |_| {})),
        (
            Usability::PortDown { port: PortState::Down },
            host_with(&[], |root| write(root, "sys/class/infiniband/rdmap87s0/ports/1/state", "1: DOWN\n")),
        ),
        (Usability::NoRdmaDevice, host_with(&[], without_rdma)),
        (
            Usability::OtherNamespace,
            host_with(&[], |root| {
                without_rdma(root);
                write(root, namespaces, "N\n");
            }),
        ),
        (Usability::NotBound { driver: None }, host_with(&[], |root| bind(root, None))),
        (
            Usability::NotBound { driver: Some("vfio-pci".to_owned()) },
            host_with(&[], |root| bind(root, Some("vfio-pci"))),
        ),
    ];
    for (expected, host) in hosts {
        let near = near_neuron5(&host);
        let first = &near.entries[0];
        assert_eq!((first.target.to_string(), first.rank), (PAIR.to_owned(), 1), "ranks stay by place: {expected}");
        assert_eq!(first.usability, expected);
        assert_eq!(names(near.nearest()), [NEXT], "{expected}");
        assert_eq!(names(near.nearest_by_rank()), [PAIR], "{expected}");
        assert_eq!(names(near.passed_over()), [PAIR], "{expected}");

        let plan = plan_of(&host);
        let rank = &plan.ranks[5];
        assert_eq!(rank.interfaces(), [NEXT.parse().unwrap()], "{expected}");
        assert_eq!(rank.environment["FI_EFA_IFACE"], "rdmap86s0", "{expected}");
        assert_eq!(names(rank.near[0].passed_over.iter()), [PAIR], "{expected}");
        let read_back: Host = Host::from_json(&host.to_json()).unwrap();
        assert_eq!(near_neuron5(&read_back), near, "a record keeps the states: {expected}");
    }
}

#[test]
fn a_table_and_a_sound_host_pass_nothing_over() {
    let table = Host::from_instance(TYPE).unwrap();
    let sound = host_with(&[], |_| {});
    for (host, usability) in [(&table, Usability::Unknown), (&sound, Usability::Usable)] {
        let near = near_neuron5(host);
        assert!(near.entries.iter().all(|near| near.usability == usability), "{near:?}");
        assert_eq!((names(near.nearest()), near.passed_over().count()), (vec![PAIR.to_owned()], 0));
    }
}

#[test]
fn a_pod_without_a_usable_interface_has_no_nearest_interface() {
    let defects: Vec<Defect> = (0..16).map(Defect::VerbsNodeMissing).collect();
    let host = host_with(&defects, |_| {});
    let near = near_neuron5(&host);
    assert_eq!((near.nearest().count(), near.passed_over().count()), (0, 16));
    let error = plan(&host, &PlanOptions::ranks(16).narrowed()).unwrap_err();
    assert!(error.to_string().contains("rank 0 cannot be restricted to its near interfaces"), "{error}");
}

#[test]
fn cores_of_a_device_that_cannot_be_opened_are_not_planned() {
    let refused = |device: u32| Defect::NeuronNodeRefused(device);
    let host = host_with(&[refused(0)], |_| {});
    let cores: Vec<u32> = plan(&host, &PlanOptions::ranks(15))
        .unwrap()
        .ranks
        .iter()
        .flat_map(|rank| rank.share.devices())
        .map(|device| device.0)
        .collect();
    assert_eq!(cores, (1..16).collect::<Vec<_>>());

    let all: Vec<Defect> = (0..16).map(refused).collect();
    let error = plan(&host_with(&all, |_| {}), &PlanOptions::ranks(1)).unwrap_err();
    assert!(matches!(&error, Error::NoPlan { .. }) && error.to_string().contains("neuron15: node refused"), "{error}");
}

/// The Neuron driver shows the state of a device in the attribute `reset`.
#[test]
fn no_rank_gets_a_device_whose_reset_failed_or_is_going_on() {
    let state = |number: &'static str| {
        host_with(&[], move |root| {
            write(root, "sys/devices/virtual/neuron_device/neuron5/reset", &format!("{number}\n"));
        })
    };
    for (number, expected) in [("2", Usability::ResetFailed), ("0", Usability::Resetting)] {
        let host = state(number);
        let device = host.find_neuron(HostDevice(5)).unwrap();
        assert_eq!(host.neuron_usability(device), expected);
        let plan = plan(&host, &PlanOptions::ranks(15)).unwrap();
        let devices: Vec<u32> =
            plan.ranks.iter().flat_map(|rank| rank.share.devices()).map(|device| device.0).collect();
        assert!(!devices.contains(&5) && devices.len() == 15, "{devices:?}");
        let refused = nearfab::plan(&host, &PlanOptions::ranks(1)).unwrap_err().to_string();
        assert!(refused.contains(&format!("neuron5: {expected}")), "{refused}");
        assert!(host.rails(host.anchor("neuron5").unwrap(), RailOptions::default()).is_err());
    }
    let host = state("1");
    assert_eq!(host.neuron_usability(host.find_neuron(HostDevice(5)).unwrap()), Usability::Usable);
}

#[test]
fn a_device_off_the_bus_is_known_by_its_serial_number() {
    let tree = tree_of(InstanceTable::find(TYPE).unwrap(), &[]);
    write(tree.path(), "sys/devices/virtual/neuron_device/neuron5/info/serial_number", "ffffffffffffffff\n");
    let host = Host::from_root(tree.path()).unwrap();
    let state = |host: &Host| host.neuron_usability(host.find_neuron(HostDevice(5)).unwrap());
    assert_eq!(state(&host), Usability::Usable, "discovery does not ask the device");
    let host = host.with_details().unwrap();
    assert_eq!(state(&host), Usability::OffBus);
    assert_eq!(state(&Host::from_json(&host.to_json()).unwrap()), Usability::OffBus, "a record keeps it");
}
