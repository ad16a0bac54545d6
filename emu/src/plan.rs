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
    /// The Neuron devices; `None` if the Neuron driver is not loaded.
    pub(crate) neuron: Option<Neuron>,
    /// Changes to the files, made after all files are written.
    pub(crate) edits: Vec<Edit>,
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
            functions,
            neuron,
            edits: Vec::new(),
        }
    }

    /// Returns the functions with an RDMA device, in the order of their verbs nodes.
    pub(crate) fn rdma(&self) -> impl Iterator<Item = &Function> {
        self.rdma.iter().filter_map(|address| self.functions.iter().find(|function| function.address == *address))
    }

    /// Unloads a driver, so that the driver's functions have no driver.
    pub(crate) fn unbind(&mut self, driver: &str) {
        let bound = self.functions.iter_mut().filter(|function| function.driver == Some(driver));
        bound.for_each(|function| function.driver = None);
    }
}
