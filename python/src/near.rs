//! Lists by nearness.

use nearfab::{Bdf, HostDevice, Near, NearList, Proximity};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// An EFA interface in a list by nearness to a core.
#[pyclass(frozen, eq, hash, get_all, module = "nearfab")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct NearEfa {
    /// The place in the order of nearness, from 1. Interfaces of the same rank are equally near: their order means
    /// nothing.
    rank: u32,
    /// The PCI address of the interface.
    address: String,
    /// How far the interface is from the core's device: "same_function", "same_switch", "same_root", "same_numa",
    /// "other_numa" or "unknown".
    proximity: &'static str,
    /// With "same_switch", the number of bridges between the two that they do not have in common; otherwise None.
    bridges: Option<usize>,
    /// Why the interface has its rank, such as "table trn2.48xlarge" or "same PCIe switch".
    evidence: String,
}

/// A Neuron device in a list by nearness to an EFA interface.
#[pyclass(frozen, eq, hash, get_all, module = "nearfab")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct NearNeuron {
    /// The place in the order of nearness, from 1. Devices of the same rank are equally near: their order means
    /// nothing.
    rank: u32,
    /// The host's number of the device: N in /dev/neuronN.
    index: u32,
    /// How far the device is from the interface: "same_function", "same_switch", "same_root", "same_numa", "other_numa"
    /// or "unknown".
    proximity: &'static str,
    /// With "same_switch", the number of bridges between the two that they do not have in common; otherwise None.
    bridges: Option<usize>,
    /// Why the device has its rank, such as "table trn2.48xlarge" or "same PCIe switch".
    evidence: String,
}

/// Makes a Python `NearList`, a list with the property `nearest`. `NearList` is written in Python because the stable
/// ABI of CPython 3.10 lets no class in Rust extend `list`.
pub(crate) fn near_list<'py, T, N>(py: Python<'py>, list: &NearList<T>) -> PyResult<Bound<'py, PyAny>>
where
    N: for<'a> From<&'a Near<T>> + IntoPyObject<'py>,
{
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let entries: Vec<N> = list.entries.iter().map(N::from).collect();
    let nearest: Vec<N> = list.nearest().map(N::from).collect();
    CLASS.import(py, "nearfab._near_list", "NearList")?.call1((entries, nearest))
}

#[pymethods]
impl NearEfa {
    fn __repr__(&self) -> String {
        format!("<nearfab.NearEfa {}: {} by {}>", self.rank, self.address, self.evidence)
    }
}

#[pymethods]
impl NearNeuron {
    fn __repr__(&self) -> String {
        format!("<nearfab.NearNeuron {}: neuron{} by {}>", self.rank, self.index, self.evidence)
    }
}

impl From<&Near<Bdf>> for NearEfa {
    fn from(near: &Near<Bdf>) -> Self {
        let (proximity, bridges) = proximity(near.proximity);
        let evidence = near.evidence.to_string();
        Self { rank: near.rank, address: near.target.to_string(), proximity, bridges, evidence }
    }
}

impl From<&Near<HostDevice>> for NearNeuron {
    fn from(near: &Near<HostDevice>) -> Self {
        let (proximity, bridges) = proximity(near.proximity);
        Self { rank: near.rank, index: near.target.0, proximity, bridges, evidence: near.evidence.to_string() }
    }
}

/// Returns the name of a proximity, as in JSON, and the number of bridges.
fn proximity(proximity: Proximity) -> (&'static str, Option<usize>) {
    match proximity {
        Proximity::SameFunction => ("same_function", None),
        Proximity::SameSwitch { bridges } => ("same_switch", Some(bridges)),
        Proximity::SameRoot => ("same_root", None),
        Proximity::SameNuma => ("same_numa", None),
        Proximity::OtherNuma => ("other_numa", None),
        _ => ("unknown", None),
    }
}
