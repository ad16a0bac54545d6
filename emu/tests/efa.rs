//! Tests that an emulated EFA interface has exactly the files that the efa driver and the kernel create.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nearfab::instances::InstanceTable;
use nearfab_emu::write_tree;

/// The files of the RDMA device, without its counters and its power folder.
const RDMA: &str = "device fw_ver:444 node_desc:644 node_guid:444 node_type:444 ports/1/cap_mask:444 \
    ports/1/gid_attrs/types/0:444 ports/1/gids/0:444 ports/1/lid:444 ports/1/lid_mask_count:444 ports/1/link_layer:444 \
    ports/1/phys_state:444 ports/1/pkeys/0:444 ports/1/rate:444 ports/1/sm_lid:444 ports/1/sm_sl:444 ports/1/state:444 \
    subsystem sys_image_guid:444 uevent:644";
/// The files of the verbs device, without its power folder.
const VERBS: &str = "abi_version:444 dev:444 device ibdev:444 subsystem uevent:644";
/// The files that pci-sysfs creates for the PCI function, and the file `p2p` of AWS's own driver.
const FUNCTION: &str = "ari_enabled:444 broken_parity_status:644 class:444 config:644 consistent_dma_mask_bits:444 \
    current_link_speed:444 current_link_width:444 d3cold_allowed:644 device:444 dma_mask_bits:444 driver \
    driver_override:644 enable:644 irq:444 local_cpulist:444 local_cpus:444 max_link_speed:444 max_link_width:444 \
    modalias:444 msi_bus:644 numa_node:644 p2p:444 power_state:444 remove:200 rescan:200 reset:200 reset_method:644 \
    resource:444 revision:444 subsystem subsystem_device:444 subsystem_vendor:444 uevent:644 vendor:444";

#[test]
fn interface_has_exactly_the_files_of_its_driver() {
    let tree = tempfile::tempdir().unwrap();
    write_tree(InstanceTable::find("p5.48xlarge").unwrap(), tree.path()).unwrap();
    let function = tree.path().join("sys/bus/pci/devices/0000:4f:00.0").canonicalize().unwrap();
    let all = entries(&function, "");
    let below = |folder: &str| -> BTreeSet<String> {
        all.iter().filter_map(|path| Some(path.strip_prefix(folder)?.to_owned())).collect()
    };
    let rdma = below("infiniband/rdmap79s0/");
    let (counters, rdma): (BTreeSet<_>, BTreeSet<_>) = rdma.into_iter().partition(|path| path.contains("hw_counters/"));
    let is_power = |path: &String| path.starts_with("power/");
    assert_eq!(rdma.into_iter().filter(|path| !is_power(path)).collect::<BTreeSet<_>>(), set(RDMA));
    let verbs = below("infiniband_verbs/uverbs0/");
    assert_eq!(verbs.iter().filter(|path| is_power(path)).count(), 9);
    assert_eq!(verbs.into_iter().filter(|path| !is_power(path)).collect::<BTreeSet<_>>(), set(VERBS));
    let own = all.iter().filter(|path| !path.starts_with("infiniband")).cloned().collect::<BTreeSet<_>>();
    assert_eq!(own, set(FUNCTION));

    // The counters were captured with an older driver. The older driver has all counters in one folder.
    let captures = include_str!("../../tests/captured/captures.json");
    let captures: Vec<serde_json::Value> = serde_json::from_str(captures).unwrap();
    let listing = captures.iter().find(|capture| capture["kind"] == "hw_counters listing").unwrap();
    let names: BTreeSet<&str> =
        counters.iter().map(|path| path.rsplit('/').next().unwrap().split(':').next().unwrap()).collect();
    for name in listing["data"]["names"].as_array().unwrap() {
        assert!(names.contains(name.as_str().unwrap()), "{name}");
    }
    assert!(counters.contains("hw_counters/lifespan:644") && counters.contains("ports/1/hw_counters/tx_bytes:444"));
}

#[test]
fn connectx_devices_have_the_attributes_that_an_efa_lacks() {
    let tree = tempfile::tempdir().unwrap();
    write_tree(InstanceTable::find("p6-b200.48xlarge").unwrap(), tree.path()).unwrap();
    let class = tree.path().join("sys/class/infiniband");
    for name in ["hca_type", "hw_rev", "board_id"] {
        let devices: Vec<_> =
            fs::read_dir(&class).unwrap().filter(|d| d.as_ref().unwrap().path().join(name).exists()).collect();
        assert_eq!(devices.len(), 2, "{name}");
    }
}

#[test]
fn port_rate_is_the_rate_of_the_generation() {
    for (instance_type, rdma, rate) in [
        ("p4d.24xlarge", "rdmap16s27", "100 Gb/sec (4X EDR)\n"),
        ("p5.48xlarge", "rdmap79s0", "100 Gb/sec (4X EDR)\n"),
        ("p5en.48xlarge", "rdmap85s0", "200 Gb/sec (4X HDR)\n"),
        ("p6-b200.48xlarge", "rdmap79s0", "400 Gb/sec (8X HDR)\n"),
    ] {
        let tree = tempfile::tempdir().unwrap();
        write_tree(InstanceTable::find(instance_type).unwrap(), tree.path()).unwrap();
        let port = tree.path().join("sys/class/infiniband").join(rdma).join("ports/1");
        assert_eq!(fs::read_to_string(port.join("rate")).unwrap(), rate, "{instance_type}");
    }
}

#[test]
fn node_guid_names_the_card_as_captured() {
    let captures = include_str!("../../tests/captured/captures.json");
    let captures: Vec<serde_json::Value> = serde_json::from_str(captures).unwrap();
    let captured = captures.iter().find_map(|capture| capture["data"]["node_guid"].as_str()).unwrap();
    let (_, captured_card) = captured.split_at(10);
    for (instance_type, cards, functions_of_card) in [("p5.48xlarge", 16, 2), ("p5en.48xlarge", 16, 1)] {
        let tree = tempfile::tempdir().unwrap();
        write_tree(InstanceTable::find(instance_type).unwrap(), tree.path()).unwrap();
        let host = nearfab::Host::from_root(tree.path()).unwrap();
        let guids: Vec<String> = host.efa_interfaces().iter().map(|efa| efa.node_guid.unwrap().to_string()).collect();
        assert_eq!(guids.iter().collect::<BTreeSet<_>>().len(), guids.len(), "{instance_type}: {guids:?}");
        let of_cards: BTreeSet<&str> = guids.iter().map(|guid| &guid[10..17]).collect();
        assert_eq!((of_cards.len(), guids.len()), (cards, cards * functions_of_card), "{instance_type}: {guids:?}");
        if instance_type == "p5.48xlarge" {
            let first = fs::read_to_string(tree.path().join("sys/class/infiniband/rdmap79s0/node_guid")).unwrap();
            assert_eq!(&first[10..19], captured_card);
        }
    }
    // The GUID has the MAC address of the GID in reverse order.
    let tree = tempfile::tempdir().unwrap();
    write_tree(InstanceTable::find("p5en.48xlarge").unwrap(), tree.path()).unwrap();
    let device = tree.path().join("sys/class/infiniband/rdmap85s0");
    assert!(fs::read_to_string(device.join("node_guid")).unwrap().starts_with("0000:5500:"));
    assert!(fs::read_to_string(device.join("ports/1/gids/0")).unwrap().ends_with(":00ff:fe55:0000\n"));
}

fn set(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Returns the files and links below a folder, the files with their permissions.
fn entries(folder: &Path, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_symlink() {
            found.insert(name);
        } else if path.is_dir() {
            found.extend(entries(&path, &format!("{name}/")));
        } else {
            found.insert(format!("{name}:{:o}", fs::metadata(&path).unwrap().permissions().mode() & 0o7777));
        }
    }
    found
}
