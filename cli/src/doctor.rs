//! `nearfab doctor`: what of a host is known to make trouble, what it means, and what to do.

mod case;
mod efa;
mod environment;
mod fabric;
mod finding;
mod foreign;
mod kernel;
mod kubernetes;
mod libraries;
mod memory;
mod neuron;
mod numbering;
mod probing;
mod report;
#[cfg(test)]
mod tests;
mod told;
mod versions;

use std::io::Write;

use case::Case;
use fabric::Fabric;
use finding::Check;
use nearfab::Error;
use nearfab::system::Process;
use report::Report;

use crate::failure::Failure;
use crate::head;
use crate::output::{Output, json};
use crate::source::Seen;

/// Every check, in the order in which findings of one severity are told.
const CHECKS: &[&Check] = &[
    &efa::DRIVER,
    &efa::NODES,
    &efa::PORTS,
    &efa::ATTACHED,
    &foreign::CHECK,
    &kernel::NAMESPACES,
    &memory::LOCKED,
    &memory::HUGE_PAGES,
    &kernel::FORK,
    &kernel::PTRACE,
    &neuron::DRIVER,
    &neuron::NODES,
    &neuron::PLACES,
    &numbering::DEVICES,
    &numbering::VARIABLES,
    &numbering::LNC,
    &versions::PAIRS,
    &versions::RELOAD,
    &libraries::INSTALLED,
    &libraries::LOADER,
    &libraries::MAPPED,
    &environment::ABORTS,
    &environment::PROVIDER,
    &environment::INTERFACES,
    &environment::SETTINGS,
    &kubernetes::CHECK,
    &probing::FABRIC,
    &probing::CORES,
    &told::CHECK,
];

/// Checks a host with what is around it, and tells what was found.
pub(crate) fn write(seen: &Seen, pid: Option<u32>, output: Output, out: &mut dyn Write) -> Result<(), Failure> {
    let report = examine(seen, pid)?;
    match output {
        Output::Json => json(&report, out)?,
        _ => {
            head::write(&seen.host, out)?;
            report.text(out)?;
        }
    }
    Ok(())
}

fn examine(seen: &Seen, pid: Option<u32>) -> Result<Report, Error> {
    let Seen { host, probe, .. } = seen;
    let probe = probe.as_ref();
    let mut surroundings = seen.record()?.system;
    if let Some(pid) = pid {
        let process = Process::read(host, pid)?;
        surroundings.get_or_insert_default().process = Some(process);
    }
    let fabric = probe.map(|_| Fabric::ask());
    let case = Case { host, surroundings: surroundings.as_ref(), probe, fabric: fabric.as_ref() };
    Ok(Report::of(&case, CHECKS))
}
