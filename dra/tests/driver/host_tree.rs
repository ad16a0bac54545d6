//! The sysfs and the device nodes of an instance, as far as discovery reads them. Nodes are empty files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nearfab::instances::InstanceTable;
use nearfab::{Bdf, Host};

pub(crate) fn write(root: &Path, instance_type: &str) {
    let table = InstanceTable::find(instance_type).unwrap();
    let host = Host::from_instance(instance_type).unwrap();
    put(root, "sys/devices/virtual/dmi/id/product_name", instance_type);
    for device in host.neuron() {
        let function = device.function().unwrap();
        pci(root, function.address, &function.root.unwrap().to_string(), &function.id.to_string(), function.numa);
        put(
            root,
            &format!("sys/class/neuron_device/{}/info/architecture/device_name", device.index),
            table.neuron_product,
        );
        put(root, &device.node(), "");
    }
    for (number, efa) in host.efa().iter().enumerate() {
        let function = &efa.function;
        let folder =
            pci(root, function.address, &function.root.unwrap().to_string(), &function.id.to_string(), function.numa);
        class(root, &folder, "infiniband", &format!("rdmap{number}s0"));
        class(root, &folder, "infiniband_verbs", &format!("uverbs{number}"));
        put(root, &format!("dev/infiniband/uverbs{number}"), "");
    }
}

fn pci(root: &Path, address: Bdf, bus: &str, id: &str, numa: Option<u32>) -> String {
    let folder = format!("devices/{bus}/{address}");
    put(root, &format!("sys/{folder}/uevent"), &format!("PCI_ID={}\n", id.to_uppercase()));
    put(root, &format!("sys/{folder}/numa_node"), &numa.unwrap().to_string());
    link(root, &format!("sys/bus/pci/devices/{address}"), &format!("../../../{folder}"));
    folder
}

fn class(root: &Path, pci: &str, class: &str, name: &str) {
    link(root, &format!("sys/class/{class}/{name}"), &format!("../../{pci}/{class}/{name}"));
}

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn link(root: &Path, path: &str, target: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(target, path).unwrap();
}
