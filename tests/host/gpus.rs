//! Tests of the GPUs of a process: nodes, the driver's list, and CUDA's environment variables.

use std::fs;
use std::path::Path;

use nearfab::instances::InstanceTable;
use nearfab::plan::PlanOptions;
use nearfab::{Bdf, Error, Host, NodeAccess, Usability, plan};

use crate::tree::tree_of;
use crate::write::write;

const TYPE: &str = "p5.48xlarge";

/// The addresses of the GPUs of the type, in ascending order.
fn addresses() -> Vec<Bdf> {
    InstanceTable::find(TYPE).unwrap().gpu.iter().map(|row| row.address).collect()
}

fn uuid(minor: usize) -> String {
    format!("GPU-{minor:08x}-9a3c-4e6e-b0d1-5f2c3d4e5f6a")
}

/// Returns a host on which the NVIDIA driver lists the GPUs of these minors, and these minors have nodes.
fn host(listed: &[usize], nodes: &[usize], change: impl FnOnce(&Path)) -> Host {
    let tree = tree_of(InstanceTable::find(TYPE).unwrap(), &[]);
    let _ = fs::remove_dir_all(tree.path().join("proc/driver/nvidia"));
    for (minor, address) in addresses().iter().enumerate() {
        let _ = fs::remove_file(tree.path().join(format!("dev/nvidia{minor}")));
        if listed.contains(&minor) {
            let text = format!(
                "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 171\nGPU UUID: \t {}\nBus Type: \t PCIe\n\
                 Bus Location: \t {address}\nDevice Minor: \t {minor}\n",
                uuid(minor)
            );
            write(tree.path(), &format!("proc/driver/nvidia/gpus/{address}/information"), &text);
        }
        if nodes.contains(&minor) {
            write(tree.path(), &format!("dev/nvidia{minor}"), "");
        }
    }
    change(tree.path());
    Host::from_root(tree.path()).unwrap()
}

fn whole() -> Host {
    let all: Vec<usize> = (0..8).collect();
    host(&all, &all, |_| {})
}

/// The container runtime masks the driver's list, creates fewer nodes, or does both.
#[test]
fn a_container_has_the_gpus_with_nodes() {
    let all: Vec<usize> = (0..8).collect();
    for listed in [&all[..], &[4, 5]] {
        let host = host(listed, &[4, 5], |_| {});
        let visible: Vec<Bdf> = host.visible_gpus().map(nearfab::Gpu::address).collect();
        assert_eq!(visible, addresses()[4..6], "{listed:?}");
        let state = |minor: usize| host.gpu_usability(&host.gpus()[minor]);
        assert_eq!((state(3), state(4)), (Usability::NodeMissing, Usability::Usable));
        assert_eq!(host.gpus()[4].uuid, Some(uuid(4)));
        assert_eq!(host.cuda_gpus(Some("1"), None).unwrap(), [addresses()[5]], "CUDA counts the GPUs of the container");
    }
}

/// A privileged container has the nodes of all GPUs, and its driver lists those of NVIDIA_VISIBLE_DEVICES.
#[test]
fn a_gpu_outside_of_a_masked_list_is_unknown_if_more_gpus_have_nodes() {
    let all: Vec<usize> = (0..8).collect();
    let host = host(&[4, 5], &all, |_| {});
    let states: Vec<NodeAccess> = host.gpus().iter().map(|gpu| gpu.access).collect();
    assert_eq!((states[3], states[4]), (NodeAccess::Unknown, NodeAccess::Granted));
}

#[test]
fn cuda_visible_devices_is_read_as_cuda_reads_it() {
    let host = whole();
    let all = addresses();
    let shown = |list: &str| host.cuda_gpus(Some(list), None);
    assert_eq!(host.cuda_gpus(None, None).unwrap(), all);
    assert_eq!(shown("").unwrap(), []);
    assert_eq!(shown("7,0").unwrap(), [all[7], all[0]], "the order of the list");
    assert_eq!(shown(" 2 , 3 ").unwrap(), all[2..4]);
    assert_eq!(shown("1,-1,2").unwrap(), all[1..2], "-1 ends the list");
    assert_eq!(shown(&format!("{},GPU-00000001", uuid(6))).unwrap(), [all[6], all[1]], "a UUID, and its beginning");
    assert_eq!(shown(&uuid(3).to_uppercase()).unwrap(), all[3..4]);
}

#[test]
fn lists_that_cuda_would_cut_short_are_refused_with_the_entry() {
    let host = whole();
    for (list, part) in [
        ("0,8", "GPU 8 of CUDA_VISIBLE_DEVICES"),
        ("GPU-7777", "GPU-7777"),
        ("GPU-0000000", "several GPUs"),
        ("1,1", "each GPU once"),
        ("0,x", "\"x\""),
        ("1,", "\"\""),
        ("0-3", "a number of a GPU"),
        ("MIG-GPU-0001/1/0", "MIG"),
        ("MIG-41b35e88-6ae1-5b4c-a6a7-7d7d6f7d6f7d", "MIG"),
    ] {
        let error = host.cuda_gpus(Some(list), None).unwrap_err();
        assert!(matches!(error, Error::NoSuchDevice { .. } | Error::BadName { .. }), "{list}: {error:?}");
        assert!(error.to_string().contains(part), "{list}: {error}");
    }
}

/// CUDA's default order puts the fastest GPU first, and says nothing about GPUs of one model.
#[test]
fn numbers_of_different_models_need_an_order() {
    let all: Vec<usize> = (0..8).collect();
    let mixed = host(&all, &all, |root| {
        let uevent = format!("sys/bus/pci/devices/{}/uevent", addresses()[7]);
        let text = fs::read_to_string(root.join(&uevent)).unwrap().replace("PCI_ID=10DE:2330", "PCI_ID=10DE:2335");
        assert!(text.contains("10DE:2335"), "{text}");
        write(root, &uevent, &text);
    });
    assert!(mixed.cuda_gpus(Some("0"), None).unwrap_err().to_string().contains("PCI_BUS_ID"));
    assert!(mixed.cuda_gpus(Some("0"), Some("FASTEST_FIRST")).is_err());
    assert_eq!(mixed.cuda_gpus(Some("0"), Some("PCI_BUS_ID")).unwrap(), addresses()[..1]);
    assert_eq!(mixed.cuda_gpus(Some(&uuid(7)), None).unwrap(), addresses()[7..]);
}

/// The plan replaces CUDA_VISIBLE_DEVICES, so its numbers count all GPUs of the container. The rails of a GPU are the same
/// in a plan over some of the GPUs.
#[test]
fn a_plan_over_given_gpus_keeps_their_numbers_and_rails() {
    let host = whole();
    let given = host.cuda_gpus(Some("5,4"), None).unwrap();
    let part = plan(&host, &PlanOptions::ranks(2).on_gpus(given)).unwrap();
    let visible: Vec<&str> = part.ranks.iter().map(|rank| rank.environment["CUDA_VISIBLE_DEVICES"].as_str()).collect();
    assert_eq!(visible, ["4", "5"]);
    let all = plan(&host, &PlanOptions::ranks(8)).unwrap();
    assert_eq!((&part.ranks[0].near, &part.ranks[1].near), (&all.ranks[4].near, &all.ranks[5].near));
    assert!(plan(&host, &PlanOptions::ranks(1).on_gpus(Vec::new())).is_err());
}
