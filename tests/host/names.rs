//! Each name that nearfab prints for a device, and each name that other tools print, leads back to the device.

use std::fs;

use nearfab::instances::{InstanceTable, tables};
use nearfab::{Anchor, Bdf, ErrorCode, Gpu, Host, HostDevice, MemberKind};

use crate::tree::tree_of;

/// Asserts that each name resolves to the anchor.
fn assert_names(host: &Host, names: impl IntoIterator<Item = String>, anchor: Anchor) {
    for name in names {
        assert_eq!(host.anchor(&name).ok(), Some(anchor), "{name} on {:?}", host.instance_type());
    }
}

/// Returns the anchor that the PCI address of a function resolves to.
fn at(host: &Host, address: Bdf) -> Anchor {
    host.anchor(&address.to_string()).unwrap()
}

/// An address as lspci, nvidia-smi and hwloc write it.
fn spellings(address: Bdf) -> [String; 4] {
    let rest = format!("{:02x}:{:02x}.{:x}", address.bus(), address.device(), address.function());
    let domain = address.domain();
    [
        address.to_string(),
        format!("{domain:08X}:{}", rest.to_uppercase()),
        format!("{domain:x}:{rest}"),
        format!("{domain:05x}:{rest}"),
    ]
}

fn check(host: &Host) {
    for member in host.matrix().members {
        let anchor = match (member.kind, member.address) {
            (MemberKind::Neuron, _) => host.anchor(&member.name).unwrap(),
            (_, address) => at(host, address.unwrap()),
        };
        assert_names(host, [member.id, member.name], anchor);
        assert_names(host, member.address.into_iter().flat_map(spellings), anchor);
    }
    for device in host.neuron_devices() {
        let HostDevice(n) = device.index;
        let anchor = Anchor::Device { device: device.index };
        assert_names(host, [device.node(), format!("nd{n}"), format!("N{n}")], anchor);
        for core in device.cores() {
            let k = core.core.0;
            assert_names(host, [core.to_string(), format!("{n}:{k}"), format!("nd{n}:{k}")], Anchor::Core { core });
        }
    }
    for row in host.numbering().rows {
        assert_names(host, [format!("nc{}", row.logical)], Anchor::LogicalCore { logical: row.logical });
    }
    for efa in host.efa_interfaces() {
        let anchor = Anchor::Efa { address: efa.address() };
        let rdma = efa.rdma.iter().flat_map(|name| [name.clone(), format!("{name}-rdm"), format!("{name}-dgrm")]);
        let verbs = efa.uverbs.map(|number| format!("uverbs{number}"));
        assert_names(host, rdma.chain(efa.node()).chain(verbs), anchor);
    }
    for (position, gpu) in host.gpus().iter().enumerate() {
        let anchor = Anchor::Function { address: gpu.address() };
        let names = [format!("gpu{position}"), format!("GPU{position}"), format!("G{position}")];
        assert_names(host, names.into_iter().chain(gpu.node()).chain(gpu.uuid.clone()), anchor);
        assert!(gpu.uuid.is_none() || position == 0 || host.gpus()[0].uuid != gpu.uuid);
    }
}

#[test]
fn printed_names_lead_back_to_the_device_on_every_type() {
    for table in tables() {
        check(&Host::from_instance(table.instance_type).unwrap());
        let tree = tree_of(table, &[]);
        check(&Host::from_root(tree.path()).unwrap());
    }
}

#[test]
fn uuid_may_be_given_by_a_unique_beginning() {
    let tree = tree_of(InstanceTable::find("p4d.24xlarge").unwrap(), &[]);
    let driver = tree.path().join("proc/driver/nvidia/gpus");
    let addresses: Vec<Bdf> = Host::from_root(tree.path()).unwrap().gpus().iter().map(Gpu::address).collect();
    for (minor, address) in addresses.iter().enumerate() {
        let folder = driver.join(address.to_string());
        fs::create_dir_all(&folder).unwrap();
        let text = format!("GPU UUID: \t GPU-0{minor}aa-4000\nDevice Minor: \t {minor}\n");
        fs::write(folder.join("information"), text).unwrap();
    }
    let host = Host::from_root(tree.path()).unwrap();
    for (minor, &address) in addresses.iter().enumerate() {
        let anchor = Anchor::Function { address };
        let names = [format!("GPU-0{minor}"), format!("GPU-0{minor}AA"), format!("GPU-0{minor}aa-4000")];
        assert_names(&host, names, anchor);
    }
    let refusal = |name: &str| host.anchor(name).unwrap_err();
    assert!(refusal("GPU-0").to_string().contains("several GPUs whose UUID begins so"));
    assert_eq!(refusal("GPU-09").code(), ErrorCode::NoSuchDevice);
    assert_eq!(refusal("GPU-00aa-4000-1").code(), ErrorCode::NoSuchDevice);
}

#[test]
fn unknown_names_list_what_the_host_has_and_the_forms() {
    let host = Host::from_instance("p4d.24xlarge").unwrap();
    for name in
        ["eth0", "gpu8", "G8", "E4", "uverbs9", "GPU-1", "/dev/nvidia9", "rdmap1s0-rdm", "cuda:0", "5", "neuron"]
    {
        let error = host.anchor(name).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.code(), ErrorCode::NoSuchDevice, "{name}");
        assert!(text.contains(&format!("{name:?}")) && text.contains("gpu0 by PCI order"), "{text}");
        assert!(text.contains(&host.gpus()[7].address().to_string()), "{text}");
    }
    for name in ["", " neuron5", "neuron5 ", "a\nb"] {
        assert_eq!(host.anchor(name).unwrap_err().code(), ErrorCode::BadName, "{name:?}");
    }
    // A PCI address is no core, and a core is no address.
    let trn2 = Host::from_instance("trn2.48xlarge").unwrap();
    assert!(matches!(trn2.anchor("5:0").unwrap(), Anchor::Core { .. }));
    assert!(matches!(trn2.anchor("57:00.0").unwrap(), Anchor::Efa { .. }));
    assert!(matches!(trn2.anchor("58:00.0").unwrap(), Anchor::Device { .. }));
}
