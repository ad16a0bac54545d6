//! `nearfab doctor`: known problems of a host, what they mean, and how to fix them.

mod check_input;
mod efa;
mod environment;
mod fi_info;
mod finding;
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

use std::io::Write;

use check_input::CheckInput;
use fi_info::FiInfo;
use finding::Check;
use nearfab::Error;
use nearfab::system::Process;
use report::Report;

use crate::failure::Failure;
use crate::head;
use crate::output::{Output, answer};
use crate::source::Input;

/// All checks. The report has the findings of equal severity in this order.
const CHECKS: &[&Check] = &[
    &efa::DRIVER,
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
    &unreadable::CHECK,
];

/// Checks a host and its system, and writes the findings.
pub(crate) fn write(input: &Input, pid: Option<u32>, output: Output, out: &mut dyn Write) -> Result<(), Failure> {
    let report = examine(input, pid)?;
    match output {
        Output::Json => answer("doctor", &report, out)?,
        _ => {
            head::write(&input.host, out)?;
            report.text(out)?;
        }
    }
    Ok(())
}

fn examine(input: &Input, pid: Option<u32>) -> Result<Report, Error> {
    let Input { host, probe, .. } = input;
    let probe = probe.as_ref();
    let mut system = input.record()?.system;
    if let Some(pid) = pid {
        let process = Process::read(host, pid)?;
        system.get_or_insert_default().process = Some(process);
    }
    let fi_info = probe.map(|_| FiInfo::run());
    let input = CheckInput { host, system: system.as_ref(), probe, fi_info: fi_info.as_ref() };
    Ok(Report::of(&input, CHECKS))
}
