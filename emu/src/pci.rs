//! PCI functions and the bridges above them.

use std::collections::BTreeMap;

use nearfab::instances::{FunctionRow, InstanceTable};
use nearfab::{Bdf, CpuList, PciId};

use crate::machine::{cpus, mask};
use crate::tree::{Error, Tree};

pub(crate) const AMAZON: u16 = 0x1d0f;
/// The id that the ports of EC2's virtual PCIe switches carry, as captured on p5en and p6.
const BRIDGE: PciId = PciId { vendor: AMAZON, device: 0x0200 };

const CLASS_ETHERNET: u32 = 0x02_0000;
const CLASS_INFINIBAND: u32 = 0x02_0700;
const CLASS_3D_CONTROLLER: u32 = 0x03_0200;
const CLASS_PCI_BRIDGE: u32 = 0x06_0400;
const CLASS_SYSTEM_PERIPHERAL: u32 = 0x08_8000;

struct Function {
    address: Bdf,
    id: PciId,
    class: u32,
    numa: Option<u32>,
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

/// The folder of a function below `bridges`, in `sys/devices`. Where a table does not know the bridges there are none
/// here: each function stands on its own bus, and no two of them look nearer than they are known to be.
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
        id: PciId { vendor: AMAZON, device: neuron_id },
        class: CLASS_SYSTEM_PERIPHERAL,
        numa: row.numa,
        bridges: row.bridges.to_vec(),
        driver: "neuron-driver",
        below: None,
    });
    let of = |rows: &'static [FunctionRow], class, driver| {
        rows.iter().map(move |row| Function {
            address: row.address,
            id: row.id,
            class,
            numa: row.numa,
            bridges: row.bridges.to_vec(),
            driver,
            below: None,
        })
    };
    let mut all: Vec<Function> = neuron
        .chain(of(table.efa, CLASS_ETHERNET, "efa"))
        .chain(of(table.gpu, CLASS_3D_CONTROLLER, "nvidia"))
        .chain(of(table.foreign, CLASS_INFINIBAND, "mlx5_core"))
        .collect();
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
                id: BRIDGE,
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
    let Function { address, id: PciId { vendor, device }, class, numa, driver, .. } = function;
    let path = folder(*address, &function.bridges);
    let near = near(table, *numa);
    let modalias = format!(
        "pci:v{vendor:08X}d{device:08X}sv{vendor:08X}sd{device:08X}bc{:02X}sc{:02X}i{:02X}",
        class >> 16,
        class >> 8 & 0xff,
        class & 0xff
    );
    let uevent = format!(
        "DRIVER={driver}\nPCI_CLASS={class:X}\nPCI_ID={vendor:04X}:{device:04X}\n\
         PCI_SUBSYS_ID={vendor:04X}:{device:04X}\nPCI_SLOT_NAME={address}\nMODALIAS={modalias}"
    );
    tree.attribute(&format!("{path}/uevent"), uevent)?;
    tree.attribute(&format!("{path}/modalias"), modalias)?;
    tree.attribute(&format!("{path}/vendor"), format!("{vendor:#06x}"))?;
    tree.attribute(&format!("{path}/device"), format!("{device:#06x}"))?;
    tree.attribute(&format!("{path}/subsystem_vendor"), format!("{vendor:#06x}"))?;
    tree.attribute(&format!("{path}/subsystem_device"), format!("{device:#06x}"))?;
    tree.attribute(&format!("{path}/class"), format!("{class:#08x}"))?;
    tree.attribute(&format!("{path}/numa_node"), numa.map_or_else(|| "-1".to_owned(), |node| node.to_string()))?;
    tree.attribute(&format!("{path}/local_cpus"), mask(&near))?;
    tree.attribute(&format!("{path}/local_cpulist"), &near)?;
    let [speed, width, max_speed, max_width] = link(function.id);
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

/// The CPUs of a node; all of them where a function belongs to none, as the kernel says it.
fn near(table: &InstanceTable, numa: Option<u32>) -> CpuList {
    let of_node = table.numa.iter().find(|row| Some(row.node) == numa).map(|row| cpus(row.cpus));
    of_node.unwrap_or_else(|| cpus(&table.numa.iter().map(|row| row.cpus).collect::<Vec<_>>().join(",")))
}

/// Speed and width of a link, now and at most. EFA interfaces as captured: nothing known on p4d, then 15.75 GB/s on p5,
/// 31.5 on p5en, 63 on p6; so are GPUs and the ConnectX-7 of p6. Neuron devices as captured on inf2.
fn link(id: PciId) -> [&'static str; 4] {
    match id.device {
        _ if id == BRIDGE => ["Unknown", "255", "Unknown", "255"],
        0xefa0 => ["Unknown", "255", "Unknown", "255"],
        0xefa1 => ["16.0 GT/s PCIe", "8", "16.0 GT/s PCIe", "8"],
        0xefa2 => ["32.0 GT/s PCIe", "8", "32.0 GT/s PCIe", "8"],
        0xefa3 | 0x2330 | 0x2335 | 0x2901 => ["32.0 GT/s PCIe", "16", "32.0 GT/s PCIe", "16"],
        0x20b0 | 0x20b2 | 0x2237 => ["16.0 GT/s PCIe", "16", "16.0 GT/s PCIe", "16"],
        0x1021 => ["8.0 GT/s PCIe", "4", "8.0 GT/s PCIe", "4"],
        _ => ["16.0 GT/s PCIe", "8", "32.0 GT/s PCIe", "8"],
    }
}

/// The configuration space as far as lstopo reads it: ids, class, header type, and a bridge's bus numbers.
fn config(function: &Function) -> [u8; 256] {
    let mut space = [0; 256];
    let PciId { vendor, device } = function.id;
    space[0x00..0x02].copy_from_slice(&vendor.to_le_bytes());
    space[0x02..0x04].copy_from_slice(&device.to_le_bytes());
    space[0x09..0x0c].copy_from_slice(&function.class.to_le_bytes()[..3]);
    if let Some((secondary, subordinate)) = function.below {
        space[0x0e] = 1;
        space[0x18..0x1b].copy_from_slice(&[function.address.bus(), secondary, subordinate]);
    } else {
        space[0x2c..0x2e].copy_from_slice(&vendor.to_le_bytes());
        space[0x2e..0x30].copy_from_slice(&device.to_le_bytes());
    }
    space
}
