//! EFA interfaces as the efa driver and ib_uverbs show them.

use nearfab::Bdf;
use nearfab::instances::InstanceTable;

use crate::pci;
use crate::tree::{Error, Tree};

pub(crate) fn write(tree: &Tree, table: &InstanceTable) -> Result<(), Error> {
    tree.attribute("sys/module/efa/version", "3.1.0g")?;
    tree.attribute("sys/class/infiniband_verbs/abi_version", 6)?;
    // The kernel numbers verbs nodes in the order in which it finds the functions.
    let mut rows: Vec<_> = table.efa.iter().collect();
    rows.sort_by_key(|row| row.address);
    for (number, row) in rows.into_iter().enumerate() {
        let function = pci::folder(row.address, row.bridges);
        write_rdma(tree, &function, &rdma_name(row.address))?;
        write_verbs(tree, &function, &rdma_name(row.address), number)?;
    }
    Ok(())
}

/// The name that udev's rule gives: bus and device in decimal, the domain and the function where not zero.
pub(crate) fn rdma_name(address: Bdf) -> String {
    let domain = if address.domain() == 0 { String::new() } else { format!("P{}", address.domain()) };
    let function = if address.function() == 0 { String::new() } else { format!("f{}", address.function()) };
    format!("rdma{domain}p{}s{}{function}", address.bus(), address.device())
}

fn write_rdma(tree: &Tree, function: &str, name: &str) -> Result<(), Error> {
    let path = format!("{function}/infiniband/{name}");
    tree.link(&format!("{path}/device"), function)?;
    tree.link(&format!("{path}/subsystem"), "sys/class/infiniband")?;
    tree.attribute(&format!("{path}/node_type"), "7: unspecified")?;
    tree.attribute(&format!("{path}/node_guid"), "0000:0000:0000:0000")?;
    tree.attribute(&format!("{path}/sys_image_guid"), "0000:0000:0000:0000")?;
    tree.attribute(&format!("{path}/node_desc"), "")?;
    tree.attribute(&format!("{path}/fw_ver"), "")?;
    let port = format!("{path}/ports/1");
    tree.attribute(&format!("{port}/state"), "4: ACTIVE")?;
    tree.attribute(&format!("{port}/phys_state"), "5: LinkUp")?;
    tree.attribute(&format!("{port}/rate"), "100 Gb/sec (4X EDR)")?;
    tree.attribute(&format!("{port}/link_layer"), "Unknown")?;
    tree.attribute(&format!("{port}/gids/0"), "fe80:0000:0000:0000:0000:00ff:fe00:0000")?;
    tree.link(&format!("sys/class/infiniband/{name}"), &path)
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
