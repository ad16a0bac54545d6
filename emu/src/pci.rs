//! PCI functions and the bridges above them.

use std::collections::BTreeMap;

use nearfab::Bdf;
use nearfab::instances::InstanceTable;

use crate::machine::{cpus, mask};
use crate::tree::{Error, Tree};

const AMAZON: u16 = 0x1d0f;
/// The id that the ports of EC2's virtual PCIe switches carry, as captured on p5en and p6.
const BRIDGE: u16 = 0x0200;

const CLASS_ETHERNET: u32 = 0x02_0000;
const CLASS_PCI_BRIDGE: u32 = 0x06_0400;
const CLASS_SYSTEM_PERIPHERAL: u32 = 0x08_8000;

struct Function {
    address: Bdf,
    device: u16,
    class: u32,
    numa: u32,
    bridges: Vec<Bdf>,
    driver: &'static str,
    /// Lowest and highest bus below a bridge.
    below: Option<(u8, u8)>,
}

pub(crate) fn write(tree: &Tree, table: &InstanceTable) -> Result<(), Error> {
    for function in functions(table) {
        write_function(tree, table, &function)?;
    }
    Ok(())
}

/// The folder of a function below `bridges`, in `sys/devices`.
pub(crate) fn folder(address: Bdf, bridges: &[Bdf]) -> String {
    let root = bridges.first().unwrap_or(&address);
    let mut path = format!("sys/devices/pci{:04x}:{:02x}", root.domain(), root.bus());
    for part in bridges.iter().chain([&address]) {
        path.push_str(&format!("/{part}"));
    }
    path
}

fn functions(table: &InstanceTable) -> Vec<Function> {
    let neuron_id = table.product().map_or(0, |product| product.device_ids[0]);
    let neuron = table.neuron.iter().map(|row| Function {
        address: row.address,
        device: neuron_id,
        class: CLASS_SYSTEM_PERIPHERAL,
        numa: row.numa,
        bridges: row.bridges.to_vec(),
        driver: "neuron-driver",
        below: None,
    });
    let efa = table.efa.iter().map(|row| Function {
        address: row.address,
        device: table.efa_device_id,
        class: CLASS_ETHERNET,
        numa: row.numa,
        bridges: row.bridges.to_vec(),
        driver: "efa",
        below: None,
    });
    let mut all: Vec<Function> = neuron.chain(efa).collect();
    let bridges = bridges(&all);
    all.extend(bridges);
    all
}

/// Each bridge once, with the range of buses that its children are on.
fn bridges(endpoints: &[Function]) -> Vec<Function> {
    let mut found: BTreeMap<Bdf, Function> = BTreeMap::new();
    for endpoint in endpoints {
        for (depth, &address) in endpoint.bridges.iter().enumerate() {
            let child = endpoint.bridges.get(depth + 1).unwrap_or(&endpoint.address);
            let bridge = found.entry(address).or_insert_with(|| Function {
                address,
                device: BRIDGE,
                class: CLASS_PCI_BRIDGE,
                numa: endpoint.numa,
                bridges: endpoint.bridges[..depth].to_vec(),
                driver: "pcieport",
                below: Some((child.bus(), endpoint.address.bus())),
            });
            if let Some((lowest, highest)) = &mut bridge.below {
                *lowest = child.bus().min(*lowest);
                *highest = endpoint.address.bus().max(*highest);
            }
        }
    }
    found.into_values().collect()
}

fn write_function(tree: &Tree, table: &InstanceTable, function: &Function) -> Result<(), Error> {
    let Function { address, device, class, numa, driver, .. } = function;
    let path = folder(*address, &function.bridges);
    let near = table.numa.iter().find(|row| row.node == *numa).map(|row| cpus(row.cpus)).unwrap_or_default();
    let modalias = format!(
        "pci:v{AMAZON:08X}d{device:08X}sv{AMAZON:08X}sd{device:08X}bc{:02X}sc{:02X}i{:02X}",
        class >> 16,
        class >> 8 & 0xff,
        class & 0xff
    );
    let uevent = format!(
        "DRIVER={driver}\nPCI_CLASS={class:X}\nPCI_ID={AMAZON:04X}:{device:04X}\n\
         PCI_SUBSYS_ID={AMAZON:04X}:{device:04X}\nPCI_SLOT_NAME={address}\nMODALIAS={modalias}"
    );
    tree.attribute(&format!("{path}/uevent"), uevent)?;
    tree.attribute(&format!("{path}/modalias"), modalias)?;
    tree.attribute(&format!("{path}/vendor"), format!("{AMAZON:#06x}"))?;
    tree.attribute(&format!("{path}/device"), format!("{device:#06x}"))?;
    tree.attribute(&format!("{path}/subsystem_vendor"), format!("{AMAZON:#06x}"))?;
    tree.attribute(&format!("{path}/subsystem_device"), format!("{device:#06x}"))?;
    tree.attribute(&format!("{path}/class"), format!("{class:#08x}"))?;
    tree.attribute(&format!("{path}/numa_node"), numa)?;
    tree.attribute(&format!("{path}/local_cpus"), mask(&near))?;
    tree.attribute(&format!("{path}/local_cpulist"), &near)?;
    let [speed, width, max_speed, max_width] = link(*device);
    tree.attribute(&format!("{path}/current_link_speed"), speed)?;
    tree.attribute(&format!("{path}/current_link_width"), width)?;
    tree.attribute(&format!("{path}/max_link_speed"), max_speed)?;
    tree.attribute(&format!("{path}/max_link_width"), max_width)?;
    tree.bytes(&format!("{path}/config"), &config(function))?;
    tree.link(&format!("{path}/subsystem"), "sys/bus/pci")?;
    tree.link(&format!("{path}/driver"), &format!("sys/bus/pci/drivers/{driver}"))?;
    tree.link(&format!("sys/bus/pci/drivers/{driver}/{address}"), &path)?;
    tree.link(&format!("sys/bus/pci/devices/{address}"), &path)
}

/// Speed and width of a link, now and at most. EFA interfaces as captured: nothing known on p4d, then 15.75 GB/s on p5,
/// 31.5 on p5en, 63 on p6. Neuron devices as captured on inf2.
fn link(device: u16) -> [&'static str; 4] {
    match device {
        BRIDGE | 0xefa0 => ["Unknown", "255", "Unknown", "255"],
        0xefa1 => ["16.0 GT/s PCIe", "8", "16.0 GT/s PCIe", "8"],
        0xefa2 => ["32.0 GT/s PCIe", "8", "32.0 GT/s PCIe", "8"],
        0xefa3 => ["32.0 GT/s PCIe", "16", "32.0 GT/s PCIe", "16"],
        _ => ["16.0 GT/s PCIe", "8", "32.0 GT/s PCIe", "8"],
    }
}

/// The configuration space as far as lstopo reads it: ids, class, header type, and a bridge's bus numbers.
fn config(function: &Function) -> [u8; 256] {
    let mut space = [0; 256];
    space[0x00..0x02].copy_from_slice(&AMAZON.to_le_bytes());
    space[0x02..0x04].copy_from_slice(&function.device.to_le_bytes());
    space[0x09..0x0c].copy_from_slice(&function.class.to_le_bytes()[..3]);
    if let Some((secondary, subordinate)) = function.below {
        space[0x0e] = 1;
        space[0x18..0x1b].copy_from_slice(&[function.address.bus(), secondary, subordinate]);
    } else {
        space[0x2c..0x2e].copy_from_slice(&AMAZON.to_le_bytes());
        space[0x2e..0x30].copy_from_slice(&function.device.to_le_bytes());
    }
    space
}
