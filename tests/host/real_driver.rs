//! Tests of the scanners on trees that the real Neuron driver made.

use nearfab::{DriverLayout, Host, HostDevice, LocationEvidence, NodeAccess};

use crate::recorded_trees::recorded;
use crate::user::as_unprivileged_user;
use crate::write::write;

#[test]
fn devices_of_the_real_driver_are_read() {
    let recordings =
        [("trn2", "Trainium2", 8, "NDv3"), ("trn1", "Trainium1", 2, "NDv2"), ("inf2", "Inferentia2", 2, "NDv3")];
    for (name, product, cores, architecture) in recordings {
        let tree = recorded(name);
        let host = Host::from_root(tree.path()).unwrap();
        assert_eq!(host.problems(), [""; 0], "{name}");
        let [device] = host.neuron_devices() else { panic!("{name}: {:?}", host.neuron_devices()) };
        assert_eq!(device.index, HostDevice(0));
        assert_eq!(device.product.as_deref(), Some(product));
        assert_eq!(device.cores, cores);
        // The serial number is empty: the emulated device has none.
        assert_eq!((device.architecture.as_deref(), &device.serial), (Some(architecture), &None));
        let known = nearfab::instances::products().iter().find(|known| known.name == product).unwrap();
        assert_eq!(device.memory, Some(known.memory));
        let driver = host.neuron_driver().unwrap();
        assert_eq!(driver.layout, DriverLayout::UpTo226);
        assert!(driver.class_attributes.iter().any(|name| name == "ultraserver_mode"), "{name}: {driver:?}");
        assert_eq!(device.links.as_deref(), Some(&[][..]), "one device has no neighbour");
        assert_eq!(device.access, NodeAccess::Granted);
    }
}

/// Before driver 2.28 only root may read neighbours and the number of cores. nearfab reports no problem for these
/// unreadable files.
#[test]
fn users_who_are_not_root_see_no_neighbours() {
    let tree = recorded("trn2");
    let host = as_unprivileged_user(|| Host::from_root(tree.path()).unwrap());
    assert_eq!(host.problems(), [""; 0]);
    let [device] = host.neuron_devices() else { panic!("{:?}", host.neuron_devices()) };
    assert_eq!((device.cores, &device.links), (8, &None));
}

#[test]
fn a_place_that_the_driver_does_not_show_is_unknown() {
    let tree = recorded("trn2");
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!(host.neuron_devices()[0].location, None);
}

#[test]
fn a_place_from_the_table_is_labelled_as_such() {
    let tree = recorded("trn2");
    write(tree.path(), "sys/devices/virtual/dmi/id/product_name", "trn2.48xlarge\n");
    let host = Host::from_root(tree.path()).unwrap();
    let location = host.neuron_devices()[0].location.as_ref().unwrap();
    assert_eq!(location.address.to_string(), "0000:cc:00.0");
    assert_eq!(location.evidence, LocationEvidence::Table { instance_type: "trn2.48xlarge".to_owned() });
    assert_eq!(location.function, None, "no such function is in the tree");
}

#[test]
fn a_place_from_the_table_is_dropped_if_the_host_contradicts_it() {
    let tree = recorded("trn2");
    write(tree.path(), "sys/devices/virtual/dmi/id/product_name", "trn2.48xlarge\n");
    let other = "DRIVER=neuron-driver\nPCI_ID=1D0F:7364\n";
    write(tree.path(), "sys/bus/pci/devices/0000:33:00.0/uevent", other);
    let host = Host::from_root(tree.path()).unwrap();
    let location = host.neuron_devices()[0].location.as_ref().unwrap();
    assert_eq!(
        (location.address.to_string().as_str(), &location.evidence),
        ("0000:33:00.0", &LocationEvidence::OnlyOne)
    );

    write(tree.path(), "sys/bus/pci/devices/0000:34:00.0/uevent", other);
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!(host.neuron_devices()[0].location, None, "it may be either");
    assert_eq!(host.unnumbered().len(), 2);
    let contradiction = "table trn2.48xlarge has neuron0 at 0000:cc:00.0";
    assert!(host.problems().iter().any(|problem| problem.contains(contradiction)), "{:?}", host.problems());
}
