//! The PCI functions of a host, bridges apart.

use nearfab::instances::{FunctionRow, InstanceTable};
use nearfab::{Bdf, PciId};

pub(crate) const AMAZON: u16 = 0x1d0f;

const CLASS_ETHERNET: u32 = 0x02_0000;
pub(crate) const CLASS_INFINIBAND: u32 = 0x02_0700;
const CLASS_3D_CONTROLLER: u32 = 0x03_0200;
const CLASS_SYSTEM_PERIPHERAL: u32 = 0x08_8000;

/// The efa driver's name on the PCI bus, and its module's.
pub(crate) const EFA_DRIVER: &str = "efa";
/// The Neuron driver's name on the PCI bus.
pub(crate) const NEURON_DRIVER: &str = "neuron-driver";

pub(crate) struct Function {
    pub(crate) address: Bdf,
    pub(crate) id: PciId,
    pub(crate) class: u32,
    pub(crate) numa: Option<u32>,
    pub(crate) bridges: Vec<Bdf>,
    pub(crate) driver: Option<&'static str>,
    /// Lowest and highest bus below a bridge.
    pub(crate) below: Option<(u8, u8)>,
}

impl Function {
    /// Its folder in `sys/devices`. Where a table does not know the bridges there are none here: each function stands on
    /// its own bus, and no two of them look nearer than they are known to be.
    pub(crate) fn folder(&self) -> String {
        let root = self.bridges.first().unwrap_or(&self.address);
        let mut path = format!("sys/devices/pci{:04x}:{:02x}", root.domain(), root.bus());
        for part in self.bridges.iter().chain([&self.address]) {
            path.push_str(&format!("/{part}"));
        }
        path
    }
}

/// The devices of a table; its drivers are loaded.
pub(crate) fn functions(table: &InstanceTable) -> Vec<Function> {
    let neuron_id = table.product().map_or(0, |product| product.device_ids[0]);
    let neuron = table.neuron.iter().map(|row| Function {
        address: row.address,
        id: PciId { vendor: AMAZON, device: neuron_id },
        class: CLASS_SYSTEM_PERIPHERAL,
        numa: row.numa,
        bridges: row.bridges.to_vec(),
        driver: Some(NEURON_DRIVER),
        below: None,
    });
    let of = |rows: &'static [FunctionRow], class, driver| {
        rows.iter().map(move |row| Function {
            address: row.address,
            id: row.id,
            class,
            numa: row.numa,
            bridges: row.bridges.to_vec(),
            driver: Some(driver),
            below: None,
        })
    };
    neuron
        .chain(of(table.efa, CLASS_ETHERNET, EFA_DRIVER))
        .chain(of(table.gpu, CLASS_3D_CONTROLLER, "nvidia"))
        .chain(of(table.foreign, CLASS_INFINIBAND, "mlx5_core"))
        .collect()
}

/// The functions with an RDMA device as the kernel numbers their verbs nodes, which is as drivers find them: in order of
/// address, and on p6-b200 the foreign first.
pub(crate) fn in_order(functions: &[Function]) -> Vec<Bdf> {
    let has_rdma = |function: &&Function| is_efa(function.id) || function.class == CLASS_INFINIBAND;
    let mut all: Vec<(bool, Bdf)> =
        functions.iter().filter(has_rdma).map(|function| (is_efa(function.id), function.address)).collect();
    all.sort_unstable();
    all.into_iter().map(|(_, address)| address).collect()
}

/// Whether the id is an EFA interface's.
pub(crate) fn is_efa(id: PciId) -> bool {
    id.vendor == AMAZON && id.device & 0xfff0 == 0xefa0
}
