//! The devices of a host.

use nearfab::NodeAccess;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// An EFA interface.
#[pyclass(frozen, eq, hash, get_all, module = "nearfab")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct EfaInterface {
    /// The PCI address, which identifies the interface.
    address: String,
    /// The NUMA node, or None if the node is unknown.
    numa_node: Option<u32>,
    /// The name of the RDMA device, such as "rdmap201s0", for use with other tools, or None if the driver made no RDMA
    /// device. The name can change, so the name does not identify the interface.
    rdma: Option<String>,
    /// The path of the verbs device node on the host, or None if the driver made no such node.
    node: Option<String>,
    /// Whether this process may use the device node: "granted", "refused", "missing" or "unknown".
    access: &'static str,
}

/// A Neuron device: a chip with its cores.
#[pyclass(frozen, eq, hash, module = "nearfab")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct NeuronDevice {
    /// The host's number of the device: N in /dev/neuronN.
    #[pyo3(get)]
    index: u32,
    /// The driver's name of the product, such as "Trainium2", or None if the driver does not name the product.
    #[pyo3(get)]
    product: Option<String>,
    /// The number of physical NeuronCores.
    #[pyo3(get)]
    cores: u32,
    links: Option<Vec<u32>>,
    /// The PCI address, or None if the address is unknown.
    #[pyo3(get)]
    address: Option<String>,
    /// The evidence for the PCI address, such as "table trn2.48xlarge", or None if the address is unknown.
    #[pyo3(get)]
    address_evidence: Option<String>,
    /// The NUMA node, or None if the node is unknown.
    #[pyo3(get)]
    numa_node: Option<u32>,
    /// The path of the device node on the host.
    #[pyo3(get)]
    node: String,
    /// Whether this process may use the device node: "granted", "refused", "missing" or "unknown".
    #[pyo3(get)]
    access: &'static str,
}

#[pymethods]
impl EfaInterface {
    fn __repr__(&self) -> String {
        format!("<nearfab.EfaInterface {}>", self.address)
    }
}

#[pymethods]
impl NeuronDevice {
    /// The numbers of the devices to which NeuronLink connects this device, without order or repetition, or None if the
    /// driver does not show the numbers to this user.
    #[getter]
    fn links<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        self.links.as_ref().map(|links| PyTuple::new(py, links)).transpose()
    }

    fn __repr__(&self) -> String {
        format!("<nearfab.NeuronDevice {}: {} cores>", self.index, self.cores)
    }
}

impl From<&nearfab::EfaInterface> for EfaInterface {
    fn from(efa: &nearfab::EfaInterface) -> Self {
        Self {
            address: efa.address().to_string(),
            numa_node: efa.function.numa,
            rdma: efa.rdma.clone(),
            node: efa.node(),
            access: access(efa.access),
        }
    }
}

impl From<&nearfab::NeuronDevice> for NeuronDevice {
    fn from(device: &nearfab::NeuronDevice) -> Self {
        Self {
            index: device.index.0,
            product: device.product.clone(),
            cores: device.cores,
            links: device.links.as_ref().map(|links| links.iter().map(|link| link.0).collect()),
            address: device.address().map(|address| address.to_string()),
            address_evidence: device.location.as_ref().map(|location| location.evidence.to_string()),
            numa_node: device.function().and_then(|function| function.numa),
            node: device.node(),
            access: access(device.access),
        }
    }
}

fn access(access: NodeAccess) -> &'static str {
    match access {
        NodeAccess::Granted => "granted",
        NodeAccess::Refused => "refused",
        NodeAccess::Missing => "missing",
        _ => "unknown",
    }
}
