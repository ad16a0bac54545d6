//! Finds the known problems of a host: what each problem means, how to fix it, and the source of this knowledge.
//!
//! The doctor reads nothing itself. It judges what was read before: a host, its system, and the answers to a probe.
//!
//! ```
//! use nearfab::doctor::{self, Input, Severity};
//! use nearfab::{Host, Record};
//!
//! // On an instance this is Host::discover()?.
//! let folder = tempfile::tempdir()?;
//! let function = folder.path().join("sys/bus/pci/devices/0000:c9:00.0");
//! std::fs::create_dir_all(&function)?;
//! std::fs::write(function.join("uevent"), "PCI_CLASS=20000\nPCI_ID=1D0F:EFA1\n")?;
//! let Record { host, system, .. } = Record::take(&Host::from_root(folder.path())?)?;
//!
//! let mut input = Input::new(&host);
//! input.system = system.as_ref();
//! let report = doctor::examine(&input);
//! let finding = &report.findings[0];
//! assert_eq!((finding.id, finding.severity), ("efa-no-driver", Severity::Problem));
//! assert_eq!(finding.subjects, ["0000:c9:00.0"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod efa;
mod environment;
mod finding;
mod gpu_memory;
mod health;
mod input;
mod kernel;
mod kubernetes;
mod libraries;
mod memory;
mod neuron;
mod numbering;
mod other_rdma;
mod probing;
mod report;
#[cfg(test)]
mod tests;
mod unreadable;
mod versions;

pub use finding::{Finding, Severity};
pub use input::{FiInfo, Input};
pub use report::{CheckResult, Outcome, Report};

use crate::telemetry::NeuronHealth;
use finding::Check;

/// All checks. The report has the findings of equal severity in this order.
const CHECKS: &[&Check] = &[
    &efa::DRIVER,
    &efa::STACK,
    &efa::NODES,
    &efa::PORTS,
    &efa::ATTACHED,
    &other_rdma::CHECK,
    &kernel::NAMESPACES,
    &memory::LOCKED,
    &memory::HUGE_PAGES,
    &kernel::FORK,
    &kernel::PTRACE,
    &neuron::DRIVER,
    &neuron::NODES,
    &neuron::STATE,
    &neuron::PLACES,
    &health::CHECK,
    &numbering::DEVICES,
    &numbering::VARIABLES,
    &numbering::COUNT,
    &numbering::LNC,
    &versions::PAIRS,
    &versions::RELOAD,
    &libraries::INSTALLED,
    &libraries::SYMBOLS,
    &libraries::LOADER,
    &libraries::MAPPED,
    &libraries::NCCL,
    &gpu_memory::CHECK,
    &environment::ABORTS,
    &environment::PROVIDER,
    &environment::INTERFACES,
    &environment::SETTINGS,
    &kubernetes::CHECK,
    &probing::FABRIC,
    &probing::CORES,
    &unreadable::NODES,
    &unreadable::FILES,
];

/// The checks of what could be read. They say nothing about the devices.
const OF_READING: [&Check; 2] = [&unreadable::NODES, &unreadable::FILES];

/// Judges the health of Neuron devices, as the check of the health in [`examine`] does.
#[must_use]
pub fn judge_health(devices: &[NeuronHealth]) -> Vec<Finding> {
    devices.iter().flat_map(health::of_device).collect()
}

/// Makes every check that the input allows, and returns the findings and the outcome of each check.
///
/// A check whose data are missing is not made, and the report says why: see [`Outcome`]. The function reads no file and
/// opens no device.
#[must_use]
pub fn examine(input: &Input<'_>) -> Report {
    Report::of(input, CHECKS)
}
