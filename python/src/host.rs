//! Hosts.

use std::path::PathBuf;

use nearfab::{Basis, Core, HostDevice, PhysicalCore};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::device::{EfaInterface, NeuronDevice};
use crate::error::raise;
use crate::near::{NearEfa, NearNeuron};

/// EFA interfaces and Neuron devices of one machine, where they are, and who may use them, as seen at one moment.
///
/// A host never changes; look again by making a new one. Making one opens no device, needs no privilege and no vendor
/// library.
#[pyclass(frozen, eq, module = "nearfab")]
#[derive(PartialEq)]
pub(crate) struct Host(pub(crate) nearfab::Host);

#[pymethods]
impl Host {
    /// Look at this machine. A machine without devices is a host without devices.
    #[staticmethod]
    fn discover(py: Python<'_>) -> PyResult<Self> {
        make(py, nearfab::Host::discover)
    }

    /// Look at the tree below a folder: /host in a container, or a recorded or synthetic sys and dev.
    #[staticmethod]
    fn from_root(py: Python<'_>, root: PathBuf) -> PyResult<Self> {
        make(py, || nearfab::Host::from_root(root))
    }

    /// What a host of this instance type looks like with every EFA interface attached, by nearfab's table of the type.
    #[staticmethod]
    fn from_instance(py: Python<'_>, instance_type: &str) -> PyResult<Self> {
        make(py, || nearfab::Host::from_instance(instance_type))
    }

    /// Read a host that was recorded as JSON in a file.
    #[staticmethod]
    fn from_file(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        make(py, || nearfab::Host::from_file(path))
    }

    /// Read back what to_json wrote.
    #[staticmethod]
    fn from_json(py: Python<'_>, text: &str) -> PyResult<Self> {
        make(py, || nearfab::Host::from_json(text))
    }

    /// The host as JSON, complete: from_json gives an equal host, except that it is not live.
    fn to_json(&self, py: Python<'_>) -> String {
        py.detach(|| self.0.to_json())
    }

    /// What to_json writes, as dictionaries and lists.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("json")?.call_method1("loads", (self.to_json(py),))
    }

    /// Where this host comes from, for people.
    #[getter]
    fn origin(&self) -> String {
        if self.0.is_live() { "this machine".to_owned() } else { self.0.origin().to_string() }
    }

    /// Whether this is the machine that the process runs on, so that its devices can be opened.
    #[getter]
    fn is_live(&self) -> bool {
        self.0.is_live()
    }

    /// What the machine's firmware says it is: on EC2 the instance type.
    #[getter]
    fn instance_type(&self) -> Option<&str> {
        self.0.instance_type()
    }

    /// The EFA interfaces, by PCI address.
    #[getter]
    fn efa<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.efa().iter().map(EfaInterface::from).collect::<Vec<_>>())
    }

    /// The Neuron devices that the driver shows, by number.
    #[getter]
    fn neuron<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.neuron().iter().map(NeuronDevice::from).collect::<Vec<_>>())
    }

    /// What could not be read or did not fit together, one sentence each.
    #[getter]
    fn problems<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.problems())
    }

    /// The EFA interfaces by their nearness to a physical core: core number core of the Neuron device that the host
    /// numbers device. The basis "place" leaves the vendor's pairing aside.
    #[pyo3(signature = (device, core, *, basis = "pairing"))]
    fn near_core(&self, py: Python<'_>, device: u32, core: u32, basis: &str) -> PyResult<Vec<NearEfa>> {
        let core = Core { device: HostDevice(device), core: PhysicalCore(core) };
        let near = self.0.near_core(core, to_basis(basis)?).map_err(|error| raise(py, &error))?;
        Ok(near.entries.iter().map(NearEfa::from).collect())
    }

    /// The Neuron devices by their nearness to the EFA interface at an address such as "0000:cc:00.0". The basis
    /// "place" leaves the vendor's pairing aside.
    #[pyo3(signature = (address, *, basis = "pairing"))]
    fn near_efa(&self, py: Python<'_>, address: &str, basis: &str) -> PyResult<Vec<NearNeuron>> {
        let address = to_address(py, address)?;
        let near = self.0.near_efa(address, to_basis(basis)?).map_err(|error| raise(py, &error))?;
        Ok(near.entries.iter().map(NearNeuron::from).collect())
    }

    /// The address of the EFA interface that the vendor pairs with a Neuron device and that this host lacks, as when
    /// fewer interfaces than possible were attached at launch: nearness is by place alone then.
    fn missing_pair(&self, py: Python<'_>, device: u32) -> PyResult<Option<String>> {
        let near = self.0.near_device(HostDevice(device), Basis::Pairing).map_err(|error| raise(py, &error))?;
        Ok(near.missing_pair.map(|address| address.to_string()))
    }

    fn __repr__(&self) -> String {
        let (neuron, efa) = (self.0.neuron().len(), self.0.efa().len());
        format!("<nearfab.Host of {}: {neuron} Neuron devices, {efa} EFA interfaces>", self.origin())
    }
}

/// Makes a host while other Python threads run.
fn make(py: Python<'_>, look: impl FnOnce() -> nearfab::Result<nearfab::Host> + Send) -> PyResult<Host> {
    py.detach(look).map(Host).map_err(|error| raise(py, &error))
}

/// The address of a text.
pub(crate) fn to_address(py: Python<'_>, text: &str) -> PyResult<nearfab::Bdf> {
    let expected = "a PCI address such as 0000:cc:00.0";
    text.parse().map_err(|_| raise(py, &nearfab::Error::BadName { text: text.to_owned(), expected }))
}

fn to_basis(name: &str) -> PyResult<Basis> {
    match name {
        "pairing" => Ok(Basis::Pairing),
        "place" => Ok(Basis::Place),
        _ => Err(PyValueError::new_err(format!("basis is {name:?}, expected \"pairing\" or \"place\""))),
    }
}
