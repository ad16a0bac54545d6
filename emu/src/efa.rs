//! RDMA devices of EFA interfaces and ConnectX devices, as their drivers and ib_uverbs show them.

use nearfab::Bdf;

use crate::class::{self, Node};
use crate::function::{EFA_DRIVER, Function, is_efa};
use crate::plan::{Card, Plan};
use crate::tree::{Error, Tree};

const VERBS: &str = "sys/class/infiniband_verbs";

/// The values that differ between the RDMA device of an EFA interface and the RDMA device of a ConnectX function.
struct Kind {
    /// The beginning of the device's name by udev's rule.
    prefix: &'static str,
    /// The attributes of the device. An EFA has no `hca_type`, no `hw_rev` and no `board_id`, and the `fw_ver` of an
    /// EFA is empty: the efa driver implements none of these attributes.
    device: &'static [(&'static str, &'static str)],
    link_layer: &'static str,
}

const EFA: Kind =
    Kind { prefix: "rdma", device: &[("node_type", "7: unspecified"), ("fw_ver", "")], link_layer: "Unknown" };
/// ConnectX-7, as on p6-b200.
const INFINIBAND: Kind = Kind {
    prefix: "ib",
    device: &[
        ("node_type", "1: CA"),
        ("fw_ver", "28.39.1002"),
        ("hca_type", "MT4129"),
        ("hw_rev", "0"),
        ("board_id", "MT_0000000838"),
    ],
    link_layer: "InfiniBand",
};

/// Attributes of a port with the same value on all hosts. `gid_attrs/ndevs/0` is left out: this attribute names the
/// network device of a GID, and the GID of an EFA has no network device.
const PORT: [(&str, &str); 9] = [
    ("state", "4: ACTIVE"),
    ("phys_state", "5: LinkUp"),
    ("lid", "0x0"),
    ("lid_mask_count", "1"),
    ("sm_lid", "0x0"),
    ("sm_sl", "0"),
    ("cap_mask", "0x00000000"),
    ("gid_attrs/types/0", "IB/RoCE v1"),
    ("pkeys/0", "0xffff"),
];

pub(crate) fn write(tree: &Tree, plan: &Plan) -> Result<(), Error> {
    if plan.functions.iter().any(|function| function.driver == Some(EFA_DRIVER)) {
        // The efa driver in the kernel shows no version. The written version is the version of AWS's own driver.
        tree.attribute("sys/module/efa/version", 0o444, "3.1.0g")?;
        tree.link(&format!("sys/bus/pci/drivers/{EFA_DRIVER}/module"), "sys/module/efa")?;
    }
    for function in plan.functions.iter().filter(|function| function.driver == Some(EFA_DRIVER)) {
        // Only AWS's driver has this file, which names the device memory that the driver can register. The emulated
        // driver can register no device memory.
        tree.attribute(&format!("{}/p2p", function.folder()), 0o444, "")?;
    }
    if !plan.rdma.is_empty() {
        tree.attribute(&format!("{VERBS}/abi_version"), 0o444, 6)?;
    }
    for (number, function) in (0..).zip(plan.rdma()) {
        write_rdma(tree, plan, function)?;
        write_verbs(tree, function, number)?;
    }
    Ok(())
}

/// Returns the folder of a function's RDMA device. The folder's name follows udev's rule: the domain if the domain is
/// not zero, then bus and device in decimal, then the function if the function is not zero or the device can have
/// several functions, like ConnectX.
pub(crate) fn rdma_folder(function: &Function) -> String {
    let (kind, address) = (kind(function), function.address);
    let domain = if address.domain() == 0 { String::new() } else { format!("P{}", address.domain()) };
    let multifunction = address.function() != 0 || kind.prefix != EFA.prefix;
    let suffix = if multifunction { format!("f{}", address.function()) } else { String::new() };
    let name = format!("{}{domain}p{}s{}{suffix}", kind.prefix, address.bus(), address.device());
    format!("{}/infiniband/{name}", function.folder())
}

fn kind(function: &Function) -> &'static Kind {
    if is_efa(function.id) { &EFA } else { &INFINIBAND }
}

/// Returns the rate of a device's port. The efa driver shows the link speed of the device since 2.13: 400 Gb/s as eight
/// lanes of HDR, 200 Gb/s as four lanes of HDR, 100 Gb/s as four lanes of EDR. The rate of the ConnectX-7 functions of p6
/// is not captured.
fn rate(function: &Function) -> &'static str {
    match function.id.device {
        0xefa0 | 0xefa1 => "100 Gb/sec (4X EDR)",
        0xefa2 => "200 Gb/sec (4X HDR)",
        _ if is_efa(function.id) => "400 Gb/sec (8X HDR)",
        _ => "400 Gb/sec (4X NDR)",
    }
}

fn write_rdma(tree: &Tree, plan: &Plan, function: &Function) -> Result<(), Error> {
    let (path, kind, address) = (rdma_folder(function), kind(function), function.address);
    for (name, value) in kind.device {
        tree.attribute(&format!("{path}/{name}"), 0o444, value)?;
    }
    tree.attribute(&format!("{path}/node_desc"), 0o644, "")?;
    tree.attribute(&format!("{path}/node_guid"), 0o444, node_guid(plan, function))?;
    tree.attribute(&format!("{path}/sys_image_guid"), 0o444, "0000:0000:0000:0000")?;
    let port = format!("{path}/ports/1");
    for (name, value) in PORT.into_iter().chain([("rate", rate(function)), ("link_layer", kind.link_layer)]) {
        tree.attribute(&format!("{port}/{name}"), 0o444, value)?;
    }
    let [_, third, bus, slot] = mac(address);
    let gid = format!("fe80:0000:0000:0000:0000:{third:02x}ff:fe{bus:02x}:{slot:02x}00");
    tree.attribute(&format!("{port}/gids/0"), 0o444, gid)?;
    tree.link(&format!("{path}/device"), &function.folder())?;
    class::device(tree, "sys/class/infiniband", &path, None)
}

/// Returns the second to fifth byte of a function's MAC address. The first byte is 2, and the last byte is zero. The
/// emulated address is made up from the domain, the bus and the device.
fn mac(address: Bdf) -> [u8; 4] {
    [0, address.domain().to_le_bytes()[0], address.bus(), address.device()]
}

/// Returns the GUID of a node. The first generation of EFA has no GUID. In later generations the upper half of the GUID
/// has the last four bytes of the MAC address in reverse order. The lower half identifies the card on the machine below
/// the guest, and the function of the card.
fn node_guid(plan: &Plan, function: &Function) -> String {
    if function.id.device == 0xefa0 {
        return "0000:0000:0000:0000".to_owned();
    }
    let [_, third, bus, slot] = mac(function.address);
    let card = plan.cards.iter().find(|(address, _)| *address == function.address);
    let Card { domain, bus: card_bus, function } = card.map(|(_, card)| *card).unwrap_or_default();
    format!("00{slot:02x}:{bus:02x}{third:02x}:{domain:04x}:{card_bus:02x}{function:02x}")
}

fn write_verbs(tree: &Tree, function: &Function, number: u32) -> Result<(), Error> {
    let path = format!("{}/infiniband_verbs/uverbs{number}", function.folder());
    let device = rdma_folder(function);
    tree.attribute(&format!("{path}/ibdev"), 0o444, device.rsplit('/').next().unwrap_or_default())?;
    tree.attribute(&format!("{path}/abi_version"), 0o444, 1)?;
    tree.link(&format!("{path}/device"), &function.folder())?;
    let name = format!("infiniband/uverbs{number}");
    class::device(tree, VERBS, &path, Some(&Node { major: 231, minor: 192 + number, name: &name }))
}
