//! The PCI functions of a host, without its bridges.

use nearfab::instances::{FunctionRow, InstanceTable};
use nearfab::{Bdf, PciId};

pub(crate) const AMAZON: u16 = 0x1d0f;

const CLASS_ETHERNET: u32 = 0x02_0000;
pub(crate) const CLASS_INFINIBAND: u32 = 0x02_0700;
const CLASS_3D_CONTROLLER: u32 = 0x03_0200;
const CLASS_SYSTEM_PERIPHERAL: u32 = 0x08_8000;

/// The name of the efa driver on the PCI bus. The kernel module of the efa driver has the same name.
pub(crate) const EFA_DRIVER: &str = "efa";
/// The name of the Neuron driver on the PCI bus.
pub(crate) const NEURON_DRIVER: &str = "neuron-driver";

/// The name of the NVIDIA driver on the PCI bus.
pub(crate) const NVIDIA_DRIVER: &str = "nvidia";
/// The driver that gives a function to a virtual machine or to a program in user space.
pub(crate) const VFIO_DRIVER: &str = "vfio-pci";

pub(crate) struct Function {
    pub(crate) address: Bdf,
    pub(crate) id: PciId,
    pub(crate) class: u32,
    pub(crate) numa: Option<u32>,
    pub(crate) bridges: Vec<Bdf>,
    pub(crate) driver: Option<&'static str>,
    /// The lowest and highest bus below a bridge; `None` for other functions.
    pub(crate) buses_below: Option<(u8, u8)>,
}

impl Function {
    /// Returns the function's folder in `sys/devices`. If the table does not know the bridges, the tree has no bridges.
    /// Without bridges each function is on its own root bus, so no two functions look nearer than they are known to be.
    pub(crate) fn folder(&self) -> String {
        let root = self.bridges.first().unwrap_or(&self.address);
        let mut path = format!("sys/devices/pci{:04x}:{:02x}", root.domain(), root.bus());
        for part in self.bridges.iter().chain([&self.address]) {
            path.push_str(&format!("/{part}"));
        }
        path
    }
}

/// Returns the PCI functions of a table's devices, each bound to its driver.
pub(crate) fn functions(table: &InstanceTable) -> Vec<Function> {
    let neuron_id = table.product().map_or(0, |product| product.device_ids[0]);
    let neuron = table.neuron.iter().map(|row| Function {
        address: row.address,
        id: PciId { vendor: AMAZON, device: neuron_id },
        class: CLASS_SYSTEM_PERIPHERAL,
        numa: row.numa,
        bridges: row.bridges.to_vec(),
        driver: Some(NEURON_DRIVER),
        buses_below: None,
    });
    let from_rows = |rows: &'static [FunctionRow], class, driver| {
        rows.iter().map(move |row| Function {
            address: row.address,
            id: row.id,
            class,
            numa: row.numa,
            bridges: row.bridges.to_vec(),
            driver: Some(driver),
            buses_below: None,
        })
    };
    neuron
        .chain(from_rows(table.efa, CLASS_ETHERNET, EFA_DRIVER))
        .chain(from_rows(table.gpu, CLASS_3D_CONTROLLER, NVIDIA_DRIVER))
        .chain(from_rows(table.foreign, CLASS_INFINIBAND, "mlx5_core"))
        .collect()
}

/// Returns the functions with an RDMA device in the order of their verbs nodes. The kernel numbers these nodes in the
/// order in which drivers find the functions. Drivers find functions in the order of the addresses, but the ConnectX
/// functions of p6-b200 first.
pub(crate) fn verbs_order(functions: &[Function]) -> Vec<Bdf> {
    let has_rdma = |function: &&Function| is_efa(function.id) || function.class == CLASS_INFINIBAND;
    let mut all: Vec<(bool, Bdf)> =
        functions.iter().filter(has_rdma).map(|function| (is_efa(function.id), function.address)).collect();
    all.sort_unstable();
    all.into_iter().map(|(_, address)| address).collect()
}

/// Returns true if the id belongs to an EFA interface.
pub(crate) fn is_efa(id: PciId) -> bool {
    id.vendor == AMAZON && id.device & 0xfff0 == 0xefa0
}
