//! Neighbours.

use nearfab::{Bdf, HostDevice, Near, Proximity};
use pyo3::prelude::*;

/// An EFA interface that is near a core.
#[pyclass(frozen, eq, hash, get_all, module = "nearfab")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct NearEfa {
    /// 1 for the nearest. Those of one rank are equally near: no order among them is meant.
    rank: u32,
    /// Its PCI address.
    address: String,
    /// How far away it is: "same_function", "same_switch", "same_root", "same_numa", "other_numa" or "unknown".
    proximity: &'static str,
    /// With "same_switch", the bridges on the way that are not common to both.
    bridges: Option<usize>,
    /// Why it has its rank, such as "table trn2.48xlarge" or "same PCIe switch".
    evidence: String,
}

/// A Neuron device that is near an EFA interface.
#[pyclass(frozen, eq, hash, get_all, module = "nearfab")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct NearNeuron {
    /// 1 for the nearest. Those of one rank are equally near: no order among them is meant.
    rank: u32,
    /// The host's number of the device.
    index: u32,
    /// How far away it is: "same_function", "same_switch", "same_root", "same_numa", "other_numa" or "unknown".
    proximity: &'static str,
    /// With "same_switch", the bridges on the way that are not common to both.
    bridges: Option<usize>,
    /// Why it has its rank, such as "table trn2.48xlarge" or "same PCIe switch".
    evidence: String,
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

/// The name of a proximity, as in JSON, and the bridges crossed.
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
