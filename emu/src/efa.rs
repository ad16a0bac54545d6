//! RDMA devices as their drivers and ib_uverbs show them: EFA interfaces, and others that stand beside them.

use nearfab::Bdf;
use nearfab::instances::{FunctionRow, InstanceTable};

use crate::pci;
use crate::tree::{Error, Tree};

/// What differs between an EFA interface's RDMA device and another one's.
struct Kind {
    /// How udev's rule begins its name.
    prefix: &'static str,
    node_type: &'static str,
    link_layer: &'static str,
    rate: &'static str,
}

const EFA: Kind =
    Kind { prefix: "rdma", node_type: "7: unspecified", link_layer: "Unknown", rate: "100 Gb/sec (4X EDR)" };
/// ConnectX-7, as on p6-b200.
const INFINIBAND: Kind =
    Kind { prefix: "ib", node_type: "1: CA", link_layer: "InfiniBand", rate: "400 Gb/sec (4X NDR)" };

pub(crate) fn write(tree: &Tree, table: &InstanceTable) -> Result<(), Error> {
    if table.efa.is_empty() && table.foreign.is_empty() {
        return Ok(());
    }
    if !table.efa.is_empty() {
        tree.attribute("sys/module/efa/version", "3.1.0g")?;
    }
    tree.attribute("sys/class/infiniband_verbs/abi_version", 6)?;
    // The kernel numbers verbs nodes as drivers find functions: in order of address, and on p6-b200 the foreign first.
    let by_address = |rows: &'static [FunctionRow]| {
        let mut rows: Vec<_> = rows.iter().collect();
        rows.sort_by_key(|row| row.address);
        rows
    };
    let foreign = by_address(table.foreign).into_iter().map(|row| (row, &INFINIBAND));
    let efa = by_address(table.efa).into_iter().map(|row| (row, &EFA));
    for (number, (row, kind)) in foreign.chain(efa).enumerate() {
        let function = pci::folder(row.address, row.bridges);
        let name = rdma_name(row.address, kind);
        if row.id.vendor == pci::AMAZON {
            // Only the driver that comes apart from the kernel says whose memory it can register; no one's here.
            tree.attribute(&format!("{function}/p2p"), "")?;
        }
        write_rdma(tree, &function, &name, row, kind)?;
        write_verbs(tree, &function, &name, number)?;
    }
    Ok(())
}

/// The name of an EFA interface's RDMA device.
pub(crate) fn efa_name(address: Bdf) -> String {
    rdma_name(address, &EFA)
}

/// The name that udev's rule gives: bus and device in decimal, the domain where not zero, the function where not zero
/// or where the device could have several, as ConnectX does.
fn rdma_name(address: Bdf, kind: &Kind) -> String {
    let domain = if address.domain() == 0 { String::new() } else { format!("P{}", address.domain()) };
    let several = address.function() != 0 || kind.prefix != EFA.prefix;
    let function = if several { format!("f{}", address.function()) } else { String::new() };
    format!("{}{domain}p{}s{}{function}", kind.prefix, address.bus(), address.device())
}

fn write_rdma(tree: &Tree, function: &str, name: &str, row: &FunctionRow, kind: &Kind) -> Result<(), Error> {
    let path = format!("{function}/infiniband/{name}");
    tree.link(&format!("{path}/device"), function)?;
    tree.link(&format!("{path}/subsystem"), "sys/class/infiniband")?;
    tree.attribute(&format!("{path}/node_type"), kind.node_type)?;
    tree.attribute(&format!("{path}/node_guid"), node_guid(row.address, row.id.device))?;
    tree.attribute(&format!("{path}/sys_image_guid"), "0000:0000:0000:0000")?;
    tree.attribute(&format!("{path}/node_desc"), "")?;
    tree.attribute(&format!("{path}/fw_ver"), "")?;
    let port = format!("{path}/ports/1");
    tree.attribute(&format!("{port}/state"), "4: ACTIVE")?;
    tree.attribute(&format!("{port}/phys_state"), "5: LinkUp")?;
    tree.attribute(&format!("{port}/rate"), kind.rate)?;
    tree.attribute(&format!("{port}/link_layer"), kind.link_layer)?;
    let gid = format!("fe80:0000:0000:0000:0000:00ff:fe{:02x}:{:02x}00", row.address.bus(), row.address.device());
    tree.attribute(&format!("{port}/gids/0"), gid)?;
    tree.link(&format!("sys/class/infiniband/{name}"), &path)
}

/// The first generation has none. In the others the upper half is from the MAC address, reversed, which is made up here
/// of bus and device; the lower names a card of the host's.
fn node_guid(address: Bdf, device: u16) -> String {
    if device == 0xefa0 {
        return "0000:0000:0000:0000".to_owned();
    }
    format!("00{:02x}:{:02x}00:0000:1000", address.device(), address.bus())
}

fn write_verbs(tree: &Tree, function: &str, name: &str, number: usize) -> Result<(), Error> {
    let path = format!("{function}/infiniband_verbs/uverbs{number}");
    tree.link(&format!("{path}/device"), function)?;
    tree.link(&format!("{path}/subsystem"), "sys/class/infiniband_verbs")?;
    tree.attribute(&format!("{path}/ibdev"), name)?;
    tree.attribute(&format!("{path}/abi_version"), 1)?;
    tree.attribute(&format!("{path}/dev"), format!("231:{}", 192 + number))?;
    tree.link(&format!("sys/class/infiniband_verbs/uverbs{number}"), &path)?;
    tree.device_node(&format!("dev/infiniband/uverbs{number}"))
}
