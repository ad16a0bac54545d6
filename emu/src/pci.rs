//! PCI functions, and the bridges above them.

use std::collections::BTreeMap;
use std::fmt::Display;

use nearfab::instances::NumaRow;
use nearfab::{Bdf, CpuList, PciId};

use crate::function::{AMAZON, Function};
use crate::machine::{all_cpus, cpus, mask};
use crate::plan::Plan;
use crate::tree::{Error, Tree};

/// The id of the ports of EC2's virtual PCIe switches, as captured on p5en and p6.
const BRIDGE: PciId = PciId { vendor: AMAZON, device: 0x0200 };
const CLASS_PCI_BRIDGE: u32 = 0x06_0400;

/// Attributes with the same value on every function of a tree.
const COMMON: [(&str, u32, &str); 15] = [
    ("ari_enabled", 0o444, "0\n"),
    ("broken_parity_status", 0o644, "0\n"),
    ("consistent_dma_mask_bits", 0o444, "64\n"),
    ("d3cold_allowed", 0o644, "1\n"),
    ("dma_mask_bits", 0o444, "64\n"),
    ("driver_override", 0o644, "(null)\n"),
    // The functions of a tree have only message-signalled interrupts.
    ("irq", 0o444, "0\n"),
    ("msi_bus", 0o644, "1\n"),
    ("power_state", 0o444, "D0\n"),
    ("remove", 0o200, ""),
    ("rescan", 0o200, ""),
    ("reset", 0o200, ""),
    ("reset_method", 0o644, "flr\n"),
    // No region is assigned, because the sizes of the regions are not public for any device.
    ("resource", 0o444, RESOURCE),
    ("revision", 0o444, "0x00\n"),
];
const RESOURCE: &str = "\
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
0x0000000000000000 0x0000000000000000 0x0000000000000000
";

pub(crate) fn write(tree: &Tree, plan: &Plan) -> Result<(), Error> {
    for function in plan.functions.iter().chain(&bridges(&plan.functions)) {
        write_function(tree, plan.numa, function)?;
    }
    Ok(())
}

/// Returns each bridge once, with the range of the buses below it.
fn bridges(endpoints: &[Function]) -> Vec<Function> {
    let mut found: BTreeMap<Bdf, Function> = BTreeMap::new();
    for endpoint in endpoints {
        for (depth, &address) in endpoint.bridges.iter().enumerate() {
            let child = endpoint.bridges.get(depth + 1).unwrap_or(&endpoint.address);
            let bridge = found.entry(address).or_insert_with(|| Function {
                address,
                id: BRIDGE,
                class: CLASS_PCI_BRIDGE,
                numa: endpoint.numa,
                bridges: endpoint.bridges[..depth].to_vec(),
                driver: Some("pcieport"),
                buses_below: Some((child.bus(), endpoint.address.bus())),
            });
            if let Some((lowest, highest)) = &mut bridge.buses_below {
                *lowest = child.bus().min(*lowest);
                *highest = endpoint.address.bus().max(*highest);
            }
        }
    }
    found.into_values().collect()
}

fn write_function(tree: &Tree, nodes: &[NumaRow], function: &Function) -> Result<(), Error> {
    let Function { address, id: PciId { vendor, device }, class, numa, driver, .. } = function;
    let path = function.folder();
    let attribute = |name: &str, mode, value: &dyn Display| tree.attribute(&format!("{path}/{name}"), mode, value);
    let local_cpus = local_cpus(nodes, *numa);
    let modalias = format!(
        "pci:v{vendor:08X}d{device:08X}sv{vendor:08X}sd{device:08X}bc{:02X}sc{:02X}i{:02X}",
        class >> 16,
        class >> 8 & 0xff,
        class & 0xff
    );
    let driver_line = driver.map(|driver| format!("DRIVER={driver}\n")).unwrap_or_default();
    let uevent = format!(
        "{driver_line}PCI_CLASS={class:X}\nPCI_ID={vendor:04X}:{device:04X}\n\
         PCI_SUBSYS_ID={vendor:04X}:{device:04X}\nPCI_SLOT_NAME={address}\nMODALIAS={modalias}"
    );
    attribute("uevent", 0o644, &uevent)?;
    attribute("modalias", 0o444, &modalias)?;
    for (name, id) in
        [("vendor", vendor), ("device", device), ("subsystem_vendor", vendor), ("subsystem_device", device)]
    {
        attribute(name, 0o444, &format_args!("{id:#06x}"))?;
    }
    attribute("class", 0o444, &format_args!("{class:#08x}"))?;
    attribute("enable", 0o644, &u8::from(driver.is_some()))?;
    attribute("numa_node", 0o644, &numa.map_or_else(|| "-1".to_owned(), |node| node.to_string()))?;
    attribute("local_cpus", 0o444, &mask(&local_cpus))?;
    attribute("local_cpulist", 0o444, &local_cpus)?;
    let names = ["current_link_speed", "current_link_width", "max_link_speed", "max_link_width"];
    for (name, value) in names.into_iter().zip(link(function.id)) {
        attribute(name, 0o444, &value)?;
    }
    if let Some((secondary, subordinate)) = function.buses_below {
        attribute("secondary_bus_number", 0o444, &secondary)?;
        attribute("subordinate_bus_number", 0o444, &subordinate)?;
    }
    for (name, mode, content) in COMMON {
        tree.bytes(&format!("{path}/{name}"), mode, content.as_bytes())?;
    }
    tree.bytes(&format!("{path}/config"), 0o644, &config(function))?;
    tree.link(&format!("{path}/subsystem"), "sys/bus/pci")?;
    if let Some(driver) = driver {
        tree.link(&format!("{path}/driver"), &format!("sys/bus/pci/drivers/{driver}"))?;
        tree.link(&format!("sys/bus/pci/drivers/{driver}/{address}"), &path)?;
    }
    tree.link(&format!("sys/bus/pci/devices/{address}"), &path)
}

/// Returns the CPUs of a NUMA node, or all CPUs if the function has no node, as the kernel shows them.
fn local_cpus(nodes: &[NumaRow], numa: Option<u32>) -> CpuList {
    let node_cpus = nodes.iter().find(|row| Some(row.node) == numa).map(|row| cpus(row.cpus));
    node_cpus.unwrap_or_else(|| all_cpus(nodes))
}

/// Returns the current speed and width of a link, and the link's maximum speed and width. The values of EFA interfaces
/// are captured: unknown on p4d, 15.75 GB/s on p5, 31.5 GB/s on p5en, 63 GB/s on p6. The values of GPUs and of the
/// ConnectX-7 of p6 are captured too. The values of Neuron devices are captured on inf2.
fn link(id: PciId) -> [&'static str; 4] {
    match id.device {
        _ if id == BRIDGE => ["Unknown", "255", "Unknown", "255"],
        0xefa0 => ["Unknown", "255", "Unknown", "255"],
        0xefa1 => ["16.0 GT/s PCIe", "8", "16.0 GT/s PCIe", "8"],
        0xefa2 => ["32.0 GT/s PCIe", "8", "32.0 GT/s PCIe", "8"],
        0x3182 => ["64.0 GT/s PCIe", "16", "64.0 GT/s PCIe", "16"],
        0xefa3 | 0x2330 | 0x2335 | 0x2901 | 0x2941 => ["32.0 GT/s PCIe", "16", "32.0 GT/s PCIe", "16"],
        0x20b0 | 0x20b2 | 0x2237 => ["16.0 GT/s PCIe", "16", "16.0 GT/s PCIe", "16"],
        0x1db5 => ["8.0 GT/s PCIe", "16", "8.0 GT/s PCIe", "16"],
        // The link of an idle L4 is slow. The maximum is not captured.
        0x27b8 => ["2.5 GT/s PCIe", "8", "16.0 GT/s PCIe", "8"],
        0x1021 => ["8.0 GT/s PCIe", "4", "8.0 GT/s PCIe", "4"],
        _ => ["16.0 GT/s PCIe", "8", "32.0 GT/s PCIe", "8"],
    }
}

/// Returns the configuration space with the fields that lstopo reads: ids, class, header type, and a bridge's bus
/// numbers.
fn config(function: &Function) -> [u8; 256] {
    let mut space = [0; 256];
    let PciId { vendor, device } = function.id;
    space[0x00..0x02].copy_from_slice(&vendor.to_le_bytes());
    space[0x02..0x04].copy_from_slice(&device.to_le_bytes());
    space[0x09..0x0c].copy_from_slice(&function.class.to_le_bytes()[..3]);
    if let Some((secondary, subordinate)) = function.buses_below {
        space[0x0e] = 1;
        space[0x18..0x1b].copy_from_slice(&[function.address.bus(), secondary, subordinate]);
    } else {
        space[0x2c..0x2e].copy_from_slice(&vendor.to_le_bytes());
        space[0x2e..0x30].copy_from_slice(&device.to_le_bytes());
    }
    space
}
