//! The scanners on trees that the real Neuron driver made, and the instance tables against what others captured.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod recorded;

use nearfab::instances::InstanceTable;
use nearfab::{Bdf, Host, HostDevice, LocationEvidence, NodeAccess};
use recorded::{recorded, write};
use serde_json::Value;

#[test]
fn devices_of_the_real_driver_are_read() {
    for (name, product, cores) in [("trn2", "Trainium2", 8), ("trn1", "Trainium1", 2), ("inf2", "Inferentia2", 2)] {
        let tree = recorded(name);
        let host = Host::from_root(tree.path()).unwrap();
        assert_eq!(host.problems(), [""; 0], "{name}");
        let [device] = host.neuron() else { panic!("{name}: {:?}", host.neuron()) };
        assert_eq!(device.index, HostDevice(0));
        assert_eq!(device.product.as_deref(), Some(product));
        assert_eq!(device.cores, cores);
        assert_eq!(device.links.as_deref(), Some(&[][..]), "one device has no neighbour");
        assert_eq!(device.access, NodeAccess::Granted);
    }
}

#[test]
fn place_that_the_driver_does_not_tell_is_unknown() {
    let tree = recorded("trn2");
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!(host.neuron()[0].location, None);
}

#[test]
fn place_from_the_table_is_labelled_and_not_taken_as_seen() {
    let tree = recorded("trn2");
    write(tree.path(), "sys/devices/virtual/dmi/id/product_name", "trn2.48xlarge\n");
    let host = Host::from_root(tree.path()).unwrap();
    let location = host.neuron()[0].location.as_ref().unwrap();
    assert_eq!(location.address.to_string(), "0000:cc:00.0");
    assert_eq!(location.evidence, LocationEvidence::Table { instance_type: "trn2.48xlarge".to_owned() });
    assert_eq!(location.function, None, "no such function is in the tree");
}

#[test]
fn place_from_the_table_that_the_host_contradicts_is_dropped() {
    let tree = recorded("trn2");
    write(tree.path(), "sys/devices/virtual/dmi/id/product_name", "trn2.48xlarge\n");
    write(tree.path(), "sys/bus/pci/devices/0000:33:00.0/uevent", "DRIVER=neuron-driver\nPCI_ID=1D0F:7364\n");
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!(host.neuron()[0].location, None);
    assert!(host.problems()[0].contains("table trn2.48xlarge has neuron0 at 0000:cc:00.0"), "{:?}", host.problems());
}

/// Every capture of an instance type that has a table is compared with it, in the way of its kind.
#[test]
fn tables_agree_with_captures() {
    let captures: Vec<Value> = serde_json::from_str(include_str!("captured/captures.json")).unwrap();
    let mut compared = Vec::new();
    for capture in &captures {
        let Ok(table) = InstanceTable::find(capture["instance"].as_str().unwrap()) else { continue };
        let kind = capture["kind"].as_str().unwrap();
        let data = &capture["data"];
        match kind {
            "lspci-tv" => agrees_with_lspci(table, data),
            "neuron-ls-table-in-pod" => agrees_with_neuron_ls(table, &data["row"], &data["true_values"]),
            "neuron-ls-table-WRONG" => contradicts(table, data),
            other => panic!("no test compares a capture of kind {other} with the table {}", table.instance_type),
        }
        compared.push(kind);
    }
    assert_eq!(compared, ["lspci-tv", "neuron-ls-table-in-pod", "neuron-ls-table-WRONG"]);
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// `per_root_a0_90_20_10`: the device numbers by kind, the same on each of the four root buses.
fn agrees_with_lspci(table: &InstanceTable, data: &Value) {
    let captured = |kind: &str| -> Vec<Bdf> {
        let devices = texts(&data["per_root_a0_90_20_10"][kind]);
        let all = ["10", "20", "90", "a0"].into_iter();
        all.flat_map(|bus| devices.iter().map(move |device| format!("{bus}:{device}.0").parse().unwrap())).collect()
    };
    let mut neuron: Vec<Bdf> = table.neuron.iter().map(|row| row.address).collect();
    neuron.sort_unstable();
    assert_eq!(neuron, captured("NeuronDevice"));
    assert_eq!(table.efa.iter().map(|row| row.address).collect::<Vec<_>>(), captured("EFA"));
    assert!(table.neuron.iter().all(|row| row.bridges.is_empty()));
}

fn agrees_with_neuron_ls(table: &InstanceTable, row: &Value, true_values: &Value) {
    let index = u32::try_from(row["neuron_device"].as_u64().unwrap()).unwrap();
    let device = table.neuron(HostDevice(index)).unwrap();
    assert_eq!(device.address, row["bdf"].as_str().unwrap().parse().unwrap());
    let mut links: Vec<u64> = device.links.iter().map(|link| u64::from(link.0)).collect();
    let mut captured: Vec<u64> = row["connected"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    links.sort_unstable();
    captured.sort_unstable();
    assert_eq!(links, captured, "as sets: tools differ in the order");
    // That capture's old tool prints wrong cores and memory; the true ones are noted beside it.
    let product = table.product().unwrap();
    assert_eq!(u64::from(product.cores), true_values["cores_physical"].as_u64().unwrap());
    assert_eq!(format!("{} GB", product.memory >> 30), true_values["memory"].as_str().unwrap());
}

fn contradicts(table: &InstanceTable, data: &Value) {
    let wrong: Vec<Bdf> = texts(&data["bdfs"]).iter().map(|text| text.parse().unwrap()).collect();
    assert_eq!(wrong.len(), table.neuron.len());
    assert!(table.neuron.iter().all(|row| !wrong.contains(&row.address)));
}
