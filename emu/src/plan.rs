//! The plan of a tree: the host of a table, changed by defects.

use nearfab::Bdf;
use nearfab::instances::{InstanceTable, NeuronRow, NumaRow, Product};

use crate::driver::NeuronDriver;
use crate::function::{self, Function};
use crate::tree::Edit;

/// The host that is written.
pub(crate) struct Plan {
    pub(crate) product_name: Option<String>,
    pub(crate) numa: &'static [NumaRow],
    /// The PCI functions, which also name the bridges above them.
    pub(crate) functions: Vec<Function>,
    /// The addresses of the functions with an RDMA device, in the order of their verbs nodes.
    pub(crate) rdma: Vec<Bdf>,
    /// The card of each EFA interface of the instance type, attached or not.
    pub(crate) cards: Vec<(Bdf, Card)>,
    pub(crate) gpus: GpuView,
    /// The Neuron devices; `None` if the Neuron driver is not loaded.
    pub(crate) neuron: Option<Neuron>,
    /// True if the host is a container with a limit of huge pages and of CPUs.
    pub(crate) cgroup_limits: bool,
    /// Changes to the files, made after all files are written.
    pub(crate) edits: Vec<Edit>,
}

/// The place of a card on the machine below the guest, and the number of an EFA interface on the card.
#[derive(Clone, Copy, Default)]
pub(crate) struct Card {
    pub(crate) domain: u16,
    pub(crate) bus: u8,
    pub(crate) function: u8,
}

/// The GPUs that a process finds, by number. `None` means all GPUs.
#[derive(Default)]
pub(crate) struct GpuView {
    /// The GPUs with a node `/dev/nvidiaN`.
    pub(crate) nodes: Option<Vec<u32>>,
    /// The GPUs in `/proc/driver/nvidia/gpus`.
    pub(crate) listed: Option<Vec<u32>>,
}

/// The Neuron devices and their driver.
pub(crate) struct Neuron {
    pub(crate) driver: NeuronDriver,
    pub(crate) product: &'static Product,
    pub(crate) rows: &'static [NeuronRow],
    pub(crate) core_statistics: bool,
}

impl Plan {
    /// Returns the plan of a host with every EFA interface attached, and with the newest release of every driver
    /// loaded.
    pub(crate) fn new(table: &InstanceTable) -> Self {
        let functions = function::functions(table);
        let neuron = table.product().map(|product| Neuron {
            driver: NeuronDriver::newest_for(product),
            product,
            rows: table.neuron,
            core_statistics: true,
        });
        Self {
            product_name: Some(table.instance_type.to_owned()),
            numa: table.numa,
            rdma: function::verbs_order(&functions),
            cards: cards(table),
            gpus: GpuView::default(),
            functions,
            neuron,
            cgroup_limits: false,
            edits: Vec::new(),
        }
    }

    /// Returns the functions with an RDMA device, in the order of their verbs nodes.
    pub(crate) fn rdma(&self) -> impl Iterator<Item = &Function> {
        self.rdma.iter().filter_map(|address| self.functions.iter().find(|function| function.address == *address))
    }

    /// Binds one function to vfio-pci instead of the driver of the device, so that the function has no RDMA device and no GPU.
    pub(crate) fn bind_to_vfio(&mut self, address: Bdf) {
        let bound = self.functions.iter_mut().filter(|function| function.address == address);
        bound.for_each(|function| function.driver = Some(function::VFIO_DRIVER));
        self.rdma.retain(|other| *other != address);
    }

    /// Unloads a driver, so that the driver's functions have no driver.
    pub(crate) fn unbind(&mut self, driver: &str) {
        let bound = self.functions.iter_mut().filter(|function| function.driver == Some(driver));
        bound.for_each(|function| function.driver = None);
    }
}

/// Returns the card of each EFA interface. On p5en the cards of the first NUMA node are in domain 0, and the cards of the
/// second NUMA node are in domain 1. On p5 two interfaces share a card: 0000:4f:00.0 is function 1 of the card on bus 10.
/// The buses of all other cards are made up.
fn cards(table: &InstanceTable) -> Vec<(Bdf, Card)> {
    const MOST_INTERFACES_WITH_OWN_CARDS: usize = 16;
    let interfaces_of_card = if table.efa.len() > MOST_INTERFACES_WITH_OWN_CARDS { 2 } else { 1 };
    let mut rows: Vec<_> = table.efa.iter().collect();
    rows.sort_unstable_by_key(|row| row.address);
    let mut found: Vec<(Bdf, Card)> = Vec::new();
    for row in rows {
        let domain = row.numa.map_or(0, |node| u16::try_from(node).unwrap_or(u16::MAX));
        let earlier = found.iter().filter(|(_, card)| card.domain == domain).count();
        let card = u8::try_from(earlier / interfaces_of_card).unwrap_or(u8::MAX);
        let function = u8::from((earlier + 1) % interfaces_of_card != 0);
        found.push((row.address, Card { domain, bus: card.saturating_mul(8).saturating_add(0x10), function }));
    }
    found
}
