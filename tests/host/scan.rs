//! Scanning of PCI links, EFA interfaces, drivers, GPUs and RDMA devices of other makers.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nearfab::instances::InstanceTable;
use nearfab::{
    Bdf, DriverLayout, Host, HostDevice, LinkSpeed, LinkWidth, Near, NodeAccess, PciLink, PortState, Proximity,
};
use nearfab_emu::Defect;
use serde_json::Value;

use crate::tree::tree_of;
use crate::write::write;

fn tree(instance_type: &str) -> tempfile::TempDir {
    tree_with(instance_type, &[])
}

fn tree_with(instance_type: &str, defects: &[Defect]) -> tempfile::TempDir {
    tree_of(InstanceTable::find(instance_type).unwrap(), defects)
}

fn link(root: &Path, path: &str, target: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(target, path).unwrap();
}

/// Writes a PCI function below `pci0000:44`, behind `bridges`.
fn function(root: &Path, bridges: &str, address: &str, id: &str, class: &str) -> String {
    let folder = format!("sys/devices/pci0000:44/{bridges}{address}");
    write(root, &format!("{folder}/uevent"), &format!("DRIVER=some\nPCI_CLASS={class}\nPCI_ID={id}\n"));
    write(root, &format!("{folder}/numa_node"), "0\n");
    link(root, &format!("sys/bus/pci/devices/{address}"), &format!("../../../{}", &folder[4..]));
    folder
}

/// Writes an RDMA device and its verbs node into the folder of a function.
fn rdma(root: &Path, folder: &str, name: &str, number: u32) {
    for (class, of) in [("infiniband", name.to_owned()), ("infiniband_verbs", format!("uverbs{number}"))] {
        fs::create_dir_all(root.join(format!("{folder}/{class}/{of}"))).unwrap();
        link(root, &format!("sys/class/{class}/{of}"), &format!("../../{}/{class}/{of}", &folder[4..]));
    }
    write(root, &format!("{folder}/infiniband_verbs/uverbs{number}/ibdev"), name);
    write(root, &format!("dev/infiniband/uverbs{number}"), "");
}

fn problems(host: &Host) -> &[String] {
    host.problems()
}

#[test]
fn all_attributes_of_the_drivers_of_trn2_are_read() {
    let tree = tree("trn2.48xlarge");
    let host = Host::from_root(tree.path()).unwrap().with_details().unwrap();
    assert_eq!(problems(&host), [""; 0]);
    assert_eq!(host.efa_driver().unwrap().version.as_deref(), Some("3.1.0g"));
    let driver = host.neuron_driver().unwrap();
    assert_eq!((driver.version.as_deref(), driver.layout), (Some("2.30.2.0"), DriverLayout::From230));
    assert_eq!(driver.class_attributes, ["current_perf_profile", "hbm_7200_capable"]);

    for efa in host.efa_interfaces() {
        assert_eq!(efa.generation(), 2);
        assert_eq!(efa.function.link.speed, Some(LinkSpeed::MegaTransfers(32_000)));
        assert_eq!(efa.function.link.max_width, Some(LinkWidth::Lanes(8)));
        assert_eq!((efa.firmware.as_deref(), efa.p2p.as_deref()), (None, Some("")), "both attributes are empty");
        let port = efa.port.as_ref().unwrap();
        assert_eq!((port.state, port.rate_mbps), (Some(PortState::Active), Some(200_000)));
        assert!(port.gid.unwrap().is_unicast_link_local());
    }
    let guids: std::collections::BTreeSet<String> =
        host.efa_interfaces().iter().map(|efa| efa.node_guid.unwrap().to_string()).collect();
    assert_eq!(guids.len(), 16, "each has another GUID");
    for device in host.neuron_devices() {
        assert_eq!(device.architecture.as_deref(), Some("NDv3"));
        assert_eq!(device.memory, Some(96 << 30));
        assert_eq!(device.serial.as_ref().unwrap().len(), 16);
    }
}

#[test]
fn a_link_that_the_kernel_does_not_know_is_unknown_and_no_problem() {
    let tree = tree("trn2.48xlarge");
    let function = "sys/bus/pci/devices/0000:c9:00.0";
    write(tree.path(), &format!("{function}/current_link_speed"), "Unknown\n");
    write(tree.path(), &format!("{function}/current_link_width"), "255\n");
    fs::remove_file(tree.path().join(function).join("max_link_speed")).unwrap();
    let host = Host::from_root(tree.path()).unwrap().with_details().unwrap();
    assert_eq!(problems(&host), [""; 0]);
    let efa = host.find_efa("0000:c9:00.0".parse().unwrap()).unwrap();
    let expected = PciLink {
        speed: Some(LinkSpeed::Unknown),
        width: Some(LinkWidth::Unknown),
        max_speed: None,
        max_width: Some(LinkWidth::Lanes(8)),
    };
    assert_eq!(efa.function.link, expected);
}

/// The GUID and the GID were captured on a p5 host.
#[test]
fn captured_guid_and_gid_are_read() {
    let captures: Vec<Value> = serde_json::from_str(include_str!("../captured/captures.json")).unwrap();
    let data = captures.iter().map(|capture| &capture["data"]).find(|data| data["node_guid"].is_string()).unwrap();
    let (address, name) = (data["efa"][0]["bdf"].as_str().unwrap(), data["efa"][0]["name"].as_str().unwrap());
    let id = data["efa"][0]["id"].as_str().unwrap();
    let (guid, gid) = (data["node_guid"].as_str().unwrap(), data["gid"].as_str().unwrap());

    let dir = tempfile::tempdir().unwrap();
    let folder = function(dir.path(), "", address, id, "20000");
    rdma(dir.path(), &folder, name, 0);
    let device = format!("{folder}/infiniband/{name}");
    write(dir.path(), &format!("{device}/node_guid"), &format!("{guid}\n"));
    write(dir.path(), &format!("{device}/ports/1/gids/0"), &format!("{gid}\n"));
    let host = Host::from_root(dir.path()).unwrap();
    assert_eq!(problems(&host), [""; 0]);
    let [efa] = host.efa_interfaces() else { panic!("{:?}", host.efa_interfaces()) };
    assert_eq!(efa.generation(), 1);
    assert_eq!(efa.node_guid.unwrap().to_string(), guid);
    assert_eq!(efa.port.as_ref().unwrap().gid.unwrap().to_string(), gid);
    assert_eq!(efa.port.as_ref().unwrap().state, None, "the tree shows no state");
    // The written tree has no Neuron driver and no module folder.
    assert_eq!(host.neuron_driver(), None);
}

#[test]
fn the_kernels_own_efa_driver_has_no_version_and_unbound_interfaces_are_listed() {
    let tree = tree("trn1.32xlarge");
    fs::remove_dir_all(tree.path().join("sys/module/efa")).unwrap();
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!(host.efa_driver().unwrap().version, None);

    let tree = tree_with("trn1.32xlarge", &[Defect::EfaDriverUnbound]);
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!((host.efa_interfaces().len(), host.efa_driver()), (8, None));
    let efa = &host.efa_interfaces()[0];
    assert_eq!((&efa.rdma, &efa.node_guid, &efa.port, efa.access), (&None, &None, &None, NodeAccess::Unknown));
}

#[test]
fn a_generation_without_a_name_is_a_number() {
    let dir = tempfile::tempdir().unwrap();
    function(dir.path(), "", "0000:44:1b.0", "1D0F:EFAC", "20000");
    let host = Host::from_root(dir.path()).unwrap();
    assert_eq!(host.efa_interfaces()[0].generation(), 12);
}

/// p6-b200 also has two mlx5 functions beside the EFAs. The mlx5 functions are named and numbered before the EFAs.
#[test]
fn devices_of_other_makers_are_listed_and_never_as_efa() {
    let tree = tree_with("trn2.48xlarge", &[Defect::Mlx5First, Defect::VerbsNodeMissing(1)]);
    rdma(tree.path(), "sys/devices/virtual", "rxe0", 22);
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!(problems(&host), [""; 0]);
    assert_eq!(host.efa_interfaces().len(), 16);
    let others: Vec<(&str, Option<Bdf>, Option<u32>, NodeAccess)> = host
        .other_rdma()
        .iter()
        .map(|d| (d.name.as_str(), d.function.as_ref().map(|f| f.address), d.uverbs, d.access))
        .collect();
    let address = |text: &str| Some(text.parse().unwrap());
    assert_eq!(
        others,
        [
            ("rxe0", None, Some(22), NodeAccess::Granted),
            ("ibp253s0f0", address("0000:fd:00.0"), Some(0), NodeAccess::Granted),
            ("ibp254s0f0", address("0000:fe:00.0"), Some(1), NodeAccess::Missing),
        ]
    );
    let near = host.near_device(HostDevice(0), nearfab::Basis::Place).unwrap();
    assert_eq!(near.entries.len(), 16, "no mlx5 among the candidates");
}

/// The tree has a switch as captured on p5, with four EFAs and a GPU, and a second GPU elsewhere.
#[test]
fn gpus_have_the_interfaces_of_their_switch_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let port = |number: u32| format!("0000:44:00.0/0000:45:00.0/0000:46:{number:02x}.0/");
    let efas = ["0000:52:00.0", "0000:4f:00.0", "0000:51:00.0", "0000:50:00.0"];
    for (number, address) in (1..).zip(efas) {
        function(dir.path(), &port(number), address, "1D0F:EFA1", "20000");
    }
    function(dir.path(), &port(5), "0000:53:00.0", "10DE:2330", "30200");
    function(dir.path(), "", "0000:64:00.0", "10DE:2330", "30000");
    function(dir.path(), "", "0000:65:00.0", "10DE:22A3", "68000"); // An NVSwitch.
    let host = Host::from_root(dir.path()).unwrap();
    let gpus: Vec<String> = host.gpus().iter().map(|gpu| gpu.address().to_string()).collect();
    assert_eq!(gpus, ["0000:53:00.0", "0000:64:00.0"]);

    let near = host.near_function(host.gpus()[0].address()).unwrap();
    let nearest: Vec<String> = near.nearest_by_rank().map(|near| near.target.to_string()).collect();
    assert_eq!(nearest, ["0000:4f:00.0", "0000:50:00.0", "0000:51:00.0", "0000:52:00.0"]);
    assert!(near.entries.iter().all(|near| near.proximity == Proximity::SameSwitch { bridges: 2 }));
    let near = host.near_function(host.gpus()[1].address()).unwrap();
    assert!(near.entries.iter().all(|near| near.proximity == Proximity::SameRoot && near.rank == 1));

    let near = host.functions_near_efa("0000:50:00.0".parse().unwrap()).unwrap();
    let ranked: Vec<(u32, String)> =
        near.entries.iter().map(|Near { rank, target, .. }| (*rank, target.to_string())).collect();
    assert_eq!(ranked, [(1, gpus[0].clone()), (2, gpus[1].clone())]);
    let error = host.near_function("0000:65:00.0".parse().unwrap()).unwrap_err().to_string();
    assert_eq!(error, "this host has no accelerator at 0000:65:00.0; it has 0000:53:00.0, 0000:64:00.0");
}

/// Gives the emulated tree a driver of this version with these health attributes, and reads the host.
fn with_driver(tree: &Path, version: Option<&str>, health: &[&str]) -> Host {
    let file = "sys/module/neuron/version";
    match version {
        Some(version) => write(tree, file, &format!("{version}\n")),
        None => fs::remove_file(tree.join(file)).unwrap(),
    }
    // The layout is read from the first device.
    let folder = "sys/devices/virtual/neuron_device/neuron0/stats/hardware/health_status";
    if tree.join(folder).exists() {
        fs::remove_dir_all(tree.join(folder)).unwrap();
    }
    health.iter().for_each(|name| write(tree, &format!("{folder}/{name}"), "0\n"));
    Host::from_root(tree).unwrap()
}

#[test]
fn layouts_of_neuron_drivers_are_distinguished_and_an_unknown_one_is_a_problem() {
    use DriverLayout::{From227, From230, Unknown, UpTo226};
    let counts = ["hbm_ecc_err_count", "repairable_hbm_ecc_err_count", "sram_ecc_err_count", "hw_error_event"];
    let tree = tree("trn2.48xlarge");
    let components = ["unhealthy_components", "healthcheck_heartbeat", "hw_error_event"];
    for (version, health, layout) in [
        (Some("2.26.5.0"), &[][..], UpTo226),
        (Some("2.28.0.0"), &counts[..], From227),
        (Some("2.30.2.0"), &components[..], From230),
        // The files decide for a build between releases, and for a module that hides its version.
        (Some("2.x.7693.0"), &counts[..], From227),
        (None, &components[..], From230),
        // A newer version is unknown with any files. A version that contradicts its files is unknown too.
        (Some("2.31.7.0"), &components[..], Unknown),
        (Some("2.30.2.0"), &counts[..], Unknown),
        (Some("2.x.7693.0"), &["surprise"][..], Unknown),
    ] {
        let host = with_driver(tree.path(), version, health);
        let driver = host.neuron_driver().unwrap();
        assert_eq!((driver.version.as_deref(), driver.layout), (version, layout), "{health:?}");
        let is_reported = host
            .problems()
            .iter()
            .any(|text| text.contains("have a layout that this version of nearfab does not know"));
        assert_eq!((is_reported, host.problems().len()), (layout == Unknown, usize::from(layout == Unknown)));
        assert_eq!(host.neuron_devices().len(), 16);
    }
}

#[test]
fn a_host_without_the_neuron_module_has_functions_and_no_driver() {
    let tree = tree_with("trn2.48xlarge", &[Defect::NeuronDriverUnbound]);
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!(problems(&host), [""; 0]);
    assert_eq!((host.driverless().len(), host.neuron_devices().len()), (16, 0));
    assert_eq!((host.neuron_driver(), host.lnc()), (None, None));
    assert_eq!(host.numbering().rows, []);
}
