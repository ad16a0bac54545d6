//! Trees that contain only facts that other people captured on real hosts.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::tree;
use crate::write::write;

/// Returns the captures of a kind.
pub(crate) fn captures(kind: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_json::from_str(include_str!("../captured/captures.json")).expect("the captures");
    all.into_iter().filter(|capture| capture["kind"] == kind).collect()
}

/// Writes the tree of a capture of kind `hwloc-xml`: GPUs, EFA interfaces, and the CPUs of NUMA nodes if they were
/// captured.
pub(crate) fn gpu_host(capture: &Value) -> TempDir {
    let (tree, data) = (tree::folder(), &capture["data"]);
    for group in array(&data["groups"]) {
        for efa in array(&group["efa"]) {
            function(
                tree.path(),
                &above(group, text(&efa["bdf"])),
                text(&efa["bdf"]),
                text(&data["efa_id"]),
                Some(&group["numa"]),
            );
        }
        for gpu in array(&group["gpu"]) {
            function(tree.path(), &above(group, text(gpu)), text(gpu), text(&data["gpu_id"]), Some(&group["numa"]));
        }
    }
    for (node, cpus) in data["cpus"].as_object().into_iter().flatten() {
        write(tree.path(), &format!("sys/devices/system/node/node{node}/cpulist"), text(cpus));
    }
    tree
}

/// Writes the tree of a trn1.32xlarge by the capture of kind `lspci-tv`: Neuron devices and EFA interfaces.
pub(crate) fn trn1_host(capture: &Value) -> TempDir {
    let (tree, devices) = (tree::folder(), &capture["data"]["per_root_a0_90_20_10"]);
    for bus in ["10", "20", "90", "a0"] {
        for (kind, id) in [("EFA", "1d0f:efa1"), ("NeuronDevice", "1d0f:7164")] {
            for device in array(&devices[kind]) {
                let address = format!("0000:{bus}:{}.0", text(device));
                function(tree.path(), &format!("pci0000:{bus}"), &address, id, None);
            }
        }
    }
    for index in 0..16 {
        let device = format!("sys/class/neuron_device/neuron{index}");
        write(tree.path(), &format!("{device}/info/architecture/device_name"), "Trainium1");
        write(tree.path(), &format!("dev/neuron{index}"), "");
    }
    tree
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// Writes a PCI function below `above`, as the kernel shows the function. `above` has the root and the bridges.
pub(crate) fn function(root: &Path, above: &str, address: &str, id: &str, numa: Option<&Value>) {
    let (class, driver) = match id {
        _ if id.starts_with("1d0f:7") => ("88000", "neuron-driver"),
        _ if id.starts_with("1d0f:efa") => ("20000", "efa"),
        _ => ("30200", "nvidia"),
    };
    let folder = format!("devices/{above}/{address}");
    let uevent = format!("PCI_CLASS={class}\nPCI_ID={}\nDRIVER={driver}\n", id.to_uppercase());
    write(root, &format!("sys/{folder}/uevent"), &uevent);
    let numa = numa.map_or_else(|| "-1".to_owned(), Value::to_string);
    write(root, &format!("sys/{folder}/numa_node"), &numa);
    let link = root.join("sys/bus/pci/devices").join(address);
    fs::create_dir_all(link.parent().expect("a folder")).expect("its folder");
    symlink(format!("../../../{folder}"), link).expect("a link");
}

/// Returns the root and the bridges of a captured group, or only the root if no bridges were captured.
fn above(group: &Value, address: &str) -> String {
    let root = text(&group["root"]);
    let bridges: Vec<&str> = array(&group["bridge_chain"]).iter().map(text).collect();
    let Some((_, upper)) = bridges.split_last() else { return root.to_owned() };
    // A port that was not captured gets a number from the device behind it.
    let port = group["downstream_port_of"][address]
        .as_str()
        .map_or_else(|| format!("46:1{}.0", &address[6..7]), str::to_owned);
    let chain: Vec<String> =
        upper.iter().map(|bridge| format!("0000:{bridge}")).chain([format!("0000:{port}")]).collect();
    format!("{root}/{}", chain.join("/"))
}
