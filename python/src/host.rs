//! Hosts.

use std::path::PathBuf;

use nearfab::{Basis, Core, HostDevice, PhysicalCore};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::device::{EfaInterface, NeuronDevice};
use crate::error::raise;
use crate::near::{NearEfa, NearNeuron, near_list};

/// A snapshot of the EFA interfaces and Neuron devices of one machine, with their places, and whether this process may
/// use each device.
///
/// A host never changes: to see a change of the machine, make a new host. Making a host opens no device, and needs no
/// privilege and no vendor library.
#[pyclass(frozen, eq, module = "nearfab")]
#[derive(PartialEq)]
pub(crate) struct Host(pub(crate) nearfab::Host);

#[pymethods]
impl Host {
    /// Discovers this machine. A machine without devices gives a host without devices.
    #[staticmethod]
    fn discover(py: Python<'_>) -> PyResult<Self> {
        make(py, nearfab::Host::discover)
    }

    /// Makes a host from the file tree below a folder: the machine's root at /host in a container, or a folder with
    /// copied or emulated folders sys and dev.
    #[staticmethod]
    fn from_root(py: Python<'_>, root: PathBuf) -> PyResult<Self> {
        make(py, || nearfab::Host::from_root(root))
    }

    /// Makes a host of an instance type from nearfab's table of the type, with every EFA interface attached.
    #[staticmethod]
    fn from_instance(py: Python<'_>, instance_type: &str) -> PyResult<Self> {
        make(py, || nearfab::Host::from_instance(instance_type))
    }

    /// Reads a host that was recorded as JSON in a file.
    #[staticmethod]
    fn from_file(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        make(py, || nearfab::Host::from_file(path))
    }

    /// Reads a host from text that to_json returned.
    #[staticmethod]
    fn from_json(py: Python<'_>, text: &str) -> PyResult<Self> {
        make(py, || nearfab::Host::from_json(text))
    }

    /// Returns the whole host as JSON. from_json makes an equal host of this text, except that the new host is not
    /// live.
    fn to_json(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.to_json())
    }

    /// Returns the content of to_json as dictionaries and lists.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("json")?.call_method1("loads", (self.to_json(py),))
    }

    /// The origin of this host as text for people, such as "this machine" or "the instance table trn2.48xlarge".
    #[getter]
    fn origin(&self) -> String {
        if self.0.is_live() { "this machine".to_owned() } else { self.0.origin().to_string() }
    }

    /// Whether this host is the machine on which the process runs. Only the devices of a live host can be opened.
    #[getter]
    fn is_live(&self) -> bool {
        self.0.is_live()
    }

    /// The product name that the machine's firmware reports, or None if the firmware reports no product name. On EC2
    /// the product name is the instance type.
    #[getter]
    fn instance_type(&self) -> Option<&str> {
        self.0.instance_type()
    }

    /// The EFA interfaces, in the order of their PCI addresses.
    #[getter]
    fn efa<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.efa_interfaces().iter().map(EfaInterface::from).collect::<Vec<_>>())
    }

    /// The Neuron devices that the Neuron driver shows, in the order of their numbers.
    #[getter]
    fn neuron<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.neuron_devices().iter().map(NeuronDevice::from).collect::<Vec<_>>())
    }

    /// The problems of the host: values that discovery could not read, and inconsistent values. Each problem is one
    /// sentence.
    #[getter]
    fn problems<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.problems())
    }

    /// Lists the EFA interfaces by their nearness to a physical core: core number core of the Neuron device that has
    /// the number device on the host. The basis "pairing" puts the vendor's pairing first. The basis "place" ignores
    /// the pairing.
    #[pyo3(signature = (device, core, *, basis = "pairing"))]
    fn near_core<'py>(&self, py: Python<'py>, device: u32, core: u32, basis: &str) -> PyResult<Bound<'py, PyAny>> {
        let core = Core { device: HostDevice(device), core: PhysicalCore(core) };
        let near = self.0.near_core(core, to_basis(basis)?).map_err(|error| raise(py, &error))?;
        near_list::<_, NearEfa>(py, &near)
    }

    /// Lists the Neuron devices by their nearness to the EFA interface at a PCI address such as "0000:cc:00.0". The
    /// basis "pairing" puts the vendor's pairing first. The basis "place" ignores the pairing.
    #[pyo3(signature = (address, *, basis = "pairing"))]
    fn near_efa<'py>(&self, py: Python<'py>, address: &str, basis: &str) -> PyResult<Bound<'py, PyAny>> {
        let address = to_address(py, address)?;
        let near = self.0.near_efa(address, to_basis(basis)?).map_err(|error| raise(py, &error))?;
        near_list::<_, NearNeuron>(py, &near)
    }

    /// Returns the PCI address of the EFA interface that the vendor pairs with a Neuron device, if this host lacks the
    /// interface. A host lacks paired interfaces if fewer interfaces than possible were attached at launch. Without the
    /// paired interface, only the places decide nearness.
    fn missing_pair(&self, py: Python<'_>, device: u32) -> PyResult<Option<String>> {
        let near = self.0.near_device(HostDevice(device), Basis::Pairing).map_err(|error| raise(py, &error))?;
        Ok(near.missing_pair.map(|address| address.to_string()))
    }

    fn __repr__(&self) -> String {
        let (neuron, efa) = (self.0.neuron_devices().len(), self.0.efa_interfaces().len());
        format!("<nearfab.Host of {}: {neuron} Neuron devices, {efa} EFA interfaces>", self.origin())
    }
}

/// Makes a host while other Python threads run.
fn make(py: Python<'_>, make: impl FnOnce() -> nearfab::Result<nearfab::Host> + Send) -> PyResult<Host> {
    py.detach(make).map(Host).map_err(|error| raise(py, &error))
}

/// Reads a PCI address from text.
pub(crate) fn to_address(py: Python<'_>, text: &str) -> PyResult<nearfab::Bdf> {
    let expected = "a PCI address such as 0000:cc:00.0";
    text.parse().map_err(|_| raise(py, &nearfab::Error::BadName { text: text.to_owned(), expected }))
}

fn to_basis(name: &str) -> PyResult<Basis> {
    match name {
        "pairing" => Ok(Basis::Pairing),
        "place" => Ok(Basis::Place),
        _ => Err(PyValueError::new_err(format!("basis {name:?} does not exist: expected \"pairing\" or \"place\""))),
    }
}
