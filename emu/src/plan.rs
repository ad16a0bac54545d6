//! The host that is to be written: that of a table, as defects change it.

use nearfab::Bdf;
use nearfab::instances::{InstanceTable, NeuronRow, NumaRow, Product};

use crate::driver::NeuronDriver;
use crate::function::{self, Function};
use crate::tree::Edit;

pub(crate) struct Plan {
    pub(crate) product_name: Option<String>,
    pub(crate) numa: &'static [NumaRow],
    /// PCI functions; the bridges above them follow from them.
    pub(crate) functions: Vec<Function>,
    /// The functions that have an RDMA device, in the order of their verbs nodes.
    pub(crate) rdma: Vec<Bdf>,
    /// What the Neuron driver shows, where it is loaded.
    pub(crate) neuron: Option<Neuron>,
    /// What is changed when all is written.
    pub(crate) edits: Vec<Edit>,
}

pub(crate) struct Neuron {
    pub(crate) driver: NeuronDriver,
    pub(crate) product: &'static Product,
    pub(crate) rows: &'static [NeuronRow],
    pub(crate) core_statistics: bool,
}

impl Plan {
    /// Every EFA interface attached, every driver loaded and new.
    pub(crate) fn of(table: &InstanceTable) -> Self {
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
            rdma: function::in_order(&functions),
            functions,
            neuron,
            edits: Vec::new(),
        }
    }

    /// The RDMA devices' functions, in the order of their verbs nodes.
    pub(crate) fn rdma(&self) -> impl Iterator<Item = &Function> {
        self.rdma.iter().filter_map(|address| self.functions.iter().find(|function| function.address == *address))
    }

    /// A driver is loaded no more: its functions have none.
    pub(crate) fn unbind(&mut self, driver: &str) {
        let bound = self.functions.iter_mut().filter(|function| function.driver == Some(driver));
        bound.for_each(|function| function.driver = None);
    }
}
