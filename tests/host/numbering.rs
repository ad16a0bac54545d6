//! Host, container and logical numbers of devices and cores, on whole hosts and in containers with nodes of a few
//! devices.

use std::collections::BTreeSet;
use std::fs;

use nearfab::instances::InstanceTable;
use nearfab::{ContainerDevice, Core, CoreMapEvidence, Host, HostDevice, LncEvidence, LogicalCore, PhysicalCore};
use nearfab_emu::Defect;

use crate::tree::tree_of;

/// Returns a host of the type, as seen in a container with the nodes of `devices`. `lnc` is written into the node's
/// file.
fn container(instance_type: &str, devices: &[u32], lnc: Option<u32>) -> Host {
    let table = InstanceTable::find(instance_type).unwrap();
    let tree = tree_of(table, &[Defect::Container(devices.to_vec())]);
    if let Some(lnc) = lnc {
        let folder = tree.path().join("opt/aws/neuron");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("logical_nc_config"), format!("NEURON_LOGICAL_NC_CONFIG={lnc}")).unwrap();
    }
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!(host.problems(), [""; 0]);
    host
}

fn physical(numbers: [u32; 2]) -> Vec<PhysicalCore> {
    numbers.into_iter().map(PhysicalCore).collect()
}

#[test]
fn two_of_sixteen_devices_have_three_different_numbers_each() {
    let host = container("trn2.48xlarge", &[13, 14], Some(2));
    assert_eq!(host.neuron_devices().len(), 16, "sysfs shows all");
    assert_eq!(host.container_device(HostDevice(13)), Some(ContainerDevice(0)));
    assert_eq!(host.container_device(HostDevice(14)), Some(ContainerDevice(1)));
    assert_eq!(host.container_device(HostDevice(0)), None);
    assert_eq!(host.host_device(ContainerDevice(1)), Some(HostDevice(14)));
    assert_eq!(host.host_device(ContainerDevice(2)), None);

    let numbering = host.numbering();
    let lnc = numbering.lnc.as_ref().unwrap();
    assert_eq!((lnc.size, &lnc.evidence), (2, &LncEvidence::NodeFile));
    assert_eq!(numbering.rows.len(), 8);
    // The driver's table lists the cores of device 13 in its fourth order, and the cores of device 14 in its third
    // order.
    let third = numbering.row(LogicalCore(2)).unwrap();
    assert_eq!((third.device, third.container), (HostDevice(13), ContainerDevice(0)));
    assert_eq!(third.physical, physical([0, 1]));
    let sixth = numbering.row(LogicalCore(5)).unwrap();
    assert_eq!((sixth.device, sixth.container), (HostDevice(14), ContainerDevice(1)));
    assert_eq!(sixth.physical, physical([2, 3]));
    assert_eq!(numbering.logical("neuron14:3".parse().unwrap()), Some(LogicalCore(5)));
    assert_eq!(numbering.logical("neuron0:3".parse().unwrap()), None);
    assert_eq!(numbering.row(LogicalCore(8)), None);
}

#[test]
fn the_same_container_has_twice_the_logical_cores_with_lnc_1() {
    let host = container("trn2.48xlarge", &[13, 14], Some(1));
    let numbering = host.numbering();
    assert_eq!(numbering.rows.len(), 16);
    let row = numbering.row(LogicalCore(11)).unwrap();
    assert_eq!((row.device, row.container), (HostDevice(14), ContainerDevice(1)));
    assert_eq!(row.physical, [PhysicalCore(3)]);
    assert_eq!(numbering.logical("neuron13:0".parse().unwrap()), Some(LogicalCore(4)));
}

#[test]
fn an_lnc_that_is_not_set_is_assumed() {
    let host = container("trn2.48xlarge", &[0, 1], None);
    let lnc = host.lnc().unwrap();
    assert_eq!((lnc.size, lnc.evidence), (2, LncEvidence::Assumed));
}

#[test]
fn trn1_has_one_lnc_and_cores_in_order() {
    let host = container("trn1.32xlarge", &[4, 7], Some(2));
    assert_eq!(host.lnc().unwrap().evidence, LncEvidence::Product);
    let numbering = host.numbering();
    let rows: Vec<(u32, u32, u32, u32)> =
        numbering.rows.iter().map(|row| (row.logical.0, row.device.0, row.container.0, row.physical[0].0)).collect();
    assert_eq!(rows, [(0, 4, 0, 0), (1, 4, 0, 1), (2, 7, 1, 0), (3, 7, 1, 1)]);
    assert!(numbering.rows.iter().all(|row| row.evidence == CoreMapEvidence::Product));
}

/// The expected orders are the driver's table for each device of a server, from the driver's source.
#[test]
fn the_core_map_of_trn2_is_that_of_the_driver() {
    let host = Host::from_instance("trn2.48xlarge").unwrap();
    let orders = [
        (vec![0, 2, 8, 10], [4, 5, 6, 7, 2, 3, 0, 1]),
        (vec![1, 3, 9, 11], [2, 3, 0, 1, 4, 5, 6, 7]),
        (vec![4, 6, 12, 14], [0, 1, 2, 3, 6, 7, 4, 5]),
        (vec![5, 7, 13, 15], [6, 7, 4, 5, 0, 1, 2, 3]),
    ];
    for (devices, order) in orders {
        for device in devices {
            let map = host.find_neuron(HostDevice(device)).unwrap().core_map(host.instance_type());
            assert_eq!(map.order, order.map(PhysicalCore), "neuron{device}");
            assert_eq!(map.evidence, CoreMapEvidence::DriverTable);
        }
    }
}

#[test]
fn a_core_map_says_how_it_is_known() {
    let mut device = Host::from_instance("trn2.48xlarge").unwrap().neuron_devices()[1].clone();
    let map = device.core_map(Some("trn2u.48xlarge"));
    assert_eq!(map.evidence, CoreMapEvidence::DriverTableUnlessFlipped);
    device.product = Some("Trainium3".to_owned());
    let map = device.core_map(Some("trn3.48xlarge"));
    assert_eq!((map.order[0], map.evidence), (PhysicalCore(6), CoreMapEvidence::DriverTable));
    let map = device.core_map(None);
    assert_eq!((map.order[0], map.evidence), (PhysicalCore(0), CoreMapEvidence::Assumed));
    device.index = HostDevice(16);
    device.product = Some("Trainium2".to_owned());
    assert_eq!(device.core_map(None).evidence, CoreMapEvidence::Assumed);
}

#[test]
fn every_core_of_a_host_is_in_one_logical_core() {
    for table in nearfab::instances::tables() {
        let host = Host::from_instance(table.instance_type).unwrap();
        let numbering = host.numbering();
        let all: Vec<Core> = host.neuron_devices().iter().flat_map(|device| device.cores()).collect();
        let of_rows = numbering.rows.iter().flat_map(|row| row.physical.iter().map(|core| (row.device, *core)));
        let covered: BTreeSet<(HostDevice, PhysicalCore)> = of_rows.collect();
        assert_eq!(covered.len(), all.len(), "{}", table.instance_type);
        for core in all {
            let row = numbering.row(numbering.logical(core).unwrap()).unwrap();
            assert!(row.device == core.device && row.physical.contains(&core.core));
        }
    }
}
