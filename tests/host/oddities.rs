//! Tests of hosts with an oddity: the oddity is reported, and everything else is read.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nearfab::instances::{GroupSize, InstanceTable};
use nearfab::{Basis, Host, HostDevice, LocationEvidence, NodeAccess, Origin};
use nearfab_emu::Defect;

use crate::tree::tree_of;
use crate::user::as_unprivileged_user;
use crate::write::write;

fn tree() -> tempfile::TempDir {
    tree_with(&[])
}

fn tree_with(defects: &[Defect]) -> tempfile::TempDir {
    tree_of(InstanceTable::find("trn2.48xlarge").unwrap(), defects)
}

/// The kernel may fail to resolve a path with `..` while any file is renamed. Links in sysfs have `..`.
#[test]
fn renames_elsewhere_hide_no_device() {
    let tree = tree();
    let elsewhere = tempfile::tempdir().unwrap();
    let (a, b) = (elsewhere.path().join("a"), elsewhere.path().join("b"));
    fs::create_dir(&a).unwrap();
    fs::create_dir(&b).unwrap();
    fs::write(a.join("file"), "").unwrap();
    let looked = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !looked.load(Ordering::Relaxed) {
                fs::rename(a.join("file"), b.join("file")).unwrap();
                fs::rename(b.join("file"), a.join("file")).unwrap();
            }
        });
        let hosts: Vec<Host> = (0..50).map(|_| Host::from_root(tree.path()).unwrap()).collect();
        looked.store(true, Ordering::Relaxed);
        for host in hosts {
            assert_eq!(host.problems(), [""; 0]);
            assert_eq!((host.neuron_devices().len(), host.efa_interfaces().len()), (16, 16));
        }
    });
}

#[test]
fn devices_without_sysfs_folders_are_known_by_their_nodes() {
    let tree = tree();
    fs::remove_dir_all(tree.path().join("sys/class/neuron_device")).unwrap();
    fs::remove_file(tree.path().join("dev/neuron3")).unwrap();
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!(host.neuron_devices().len(), 15);
    let device = host.find_neuron(HostDevice(5)).unwrap();
    assert_eq!((device.product.as_deref(), device.cores), (Some("Trainium2"), 8));
    assert_eq!((&device.serial, &device.links), (&None, &None), "only the driver shows these");
    assert_eq!(host.problems().len(), 1, "{:?}", host.problems());
    assert!(
        host.problems()[0].starts_with("16 functions on PCI are bound to the Neuron driver"),
        "{:?}",
        host.problems()
    );
}

#[test]
fn a_device_of_another_driver_is_listed_as_driverless() {
    let tree = tree();
    let uevent = "DRIVER=vfio-pci\nPCI_ID=1D0F:7364\n";
    write(tree.path(), "sys/bus/pci/devices/0000:cc:00.0/uevent", uevent);
    fs::remove_file(tree.path().join("sys/class/neuron_device/neuron0")).unwrap();
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!(host.neuron_devices().len(), 15);
    let [function] = host.driverless() else { panic!("{:?}", host.driverless()) };
    assert_eq!(function.driver.as_deref(), Some("vfio-pci"));
    assert_eq!(host.problems(), [""; 0]);
}

#[test]
fn a_device_that_shows_no_cores_has_those_of_its_product() {
    let tree = tree();
    let device = tree.path().join("sys/devices/virtual/neuron_device/neuron5");
    for core in 0..8 {
        fs::remove_dir_all(device.join(format!("neuron_core{core}"))).unwrap();
    }
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!(host.neuron_devices()[5].cores, 8);
    assert!(host.problems()[0].contains("neuron5 shows no cores"), "{:?}", host.problems());
}

#[test]
fn a_device_that_is_not_where_its_table_says_has_no_pair_and_no_group() {
    let tree = tree_with(&[Defect::NeuronFunctionGone(0)]);
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!(host.neuron_devices()[0].location, None);
    let near = host.near_device(HostDevice(0), Basis::Pairing).unwrap();
    assert_eq!(near.nearest_by_rank().count(), 0, "an unknown distance is no tie");
    assert!(near.entries.iter().all(|near| near.evidence.to_string() == "unknown"));
    assert_eq!(host.device_group(HostDevice(0), GroupSize::One), None);
    // The other devices keep their pairs and groups.
    let near = host.near_device(HostDevice(3), Basis::Pairing).unwrap();
    let nearest: Vec<String> = near.nearest_by_rank().map(|near| near.target.to_string()).collect();
    assert_eq!(nearest, ["0000:ca:00.0"]);
    assert!(host.device_group(HostDevice(3), GroupSize::Four).is_some());
}

#[test]
fn on_an_unknown_instance_type_nearness_is_unknown_and_no_tie() {
    let tree = tree_with(&[Defect::UnknownProduct]);
    let host = Host::from_root(tree.path()).unwrap();
    let near = host.near_device(HostDevice(5), Basis::Pairing).unwrap();
    assert_eq!((near.entries.len(), near.nearest_by_rank().count()), (16, 0));
}

/// A link below the root is never followed out of the tree.
#[test]
fn access_to_a_node_that_is_a_link_is_unknown() {
    let tree = tree();
    let node = tree.path().join("dev/neuron0");
    fs::remove_file(&node).unwrap();
    symlink("/dev/null", &node).unwrap();
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!(host.neuron_devices()[0].access, NodeAccess::Unknown);
    assert_eq!(host.neuron_devices()[1].access, NodeAccess::Granted);
}

#[test]
fn unknown_words_of_a_newer_record_are_read_as_other() {
    let text = Host::from_instance("trn2.48xlarge").unwrap().to_json();
    let newer = text
        .replacen("\"from\": \"table\"", "\"from\": \"satellite\"", 1)
        .replacen("\"by\": \"table\"", "\"by\": \"oracle\"", 1)
        .replacen("\"access\": \"unknown\"", "\"access\": \"leased\"", 1)
        .replacen("\"format\": 1,", "\"format\": 1, \"colour\": \"blue\",", 1);
    let host = Host::from_json(&newer).unwrap();
    assert_eq!(host.origin(), &Origin::Other);
    assert_eq!(host.efa_interfaces()[0].access, NodeAccess::Unknown);
    assert_eq!(host.neuron_devices()[0].location.as_ref().unwrap().evidence, LocationEvidence::Other);
}

#[test]
fn garbage_in_one_attribute_hides_nothing_else() {
    let tree = tree_with(&[Defect::Garbage("sys/bus/pci/devices/0000:cc:00.0/numa_node".to_owned())]);
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!((host.neuron_devices().len(), host.efa_interfaces().len()), (16, 16));
    assert_eq!(host.neuron_devices()[0].function().unwrap().numa, None);
    let expected = "0000:cc:00.0/numa_node: expected a NUMA node number or -1, found \"first\"";
    assert!(host.problems()[0].ends_with(expected), "{:?}", host.problems());
}

/// The driver lists the links of 16 devices only, and drivers before 2.28 list them to root only. With three devices absent,
/// root and a plain user get the same links, between the devices that are there.
#[test]
fn links_are_between_present_devices_for_root_and_for_plain_users() {
    let table = InstanceTable::find("trn2.48xlarge").unwrap();
    for driver in [nearfab_emu::NeuronDriver::V2_24, nearfab_emu::NeuronDriver::V2_29] {
        let tree = tree_of(table, &[Defect::NeuronDriver(driver)]);
        for absent in [3, 7, 12] {
            fs::remove_file(tree.path().join(format!("sys/class/neuron_device/neuron{absent}"))).unwrap();
        }
        for index in (0..16).filter(|index| ![3, 7, 12].contains(index)) {
            let file = format!("sys/devices/virtual/neuron_device/neuron{index}/connected_devices");
            let path = tree.path().join(&file);
            let mode = fs::metadata(&path).unwrap().permissions();
            fs::remove_file(&path).unwrap();
            write(tree.path(), &file, "\n");
            fs::set_permissions(&path, mode).unwrap();
        }
        let host = Host::from_root(tree.path()).unwrap();
        let plain = as_unprivileged_user(|| Host::from_root(tree.path()).unwrap());
        assert_eq!(host.links(), plain.links(), "{driver}");
        assert_eq!(host.links().len(), 13);
        let of_13: Vec<u32> = host.links()[10].neighbours.iter().map(|device| device.0).collect();
        assert_eq!((host.links()[10].device.0, &of_13[..]), (13, &[1, 9, 14][..]), "without neuron12");
        assert!(host.links()[0].evidence.to_string().starts_with("table"));
    }
}
