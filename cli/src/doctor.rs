//! `nearfab doctor`: known problems of a host, what they mean, and how to fix them.

mod fi_info;
mod report;
#[cfg(test)]
mod tests;

use std::io::Write;

use nearfab::Error;
use nearfab::doctor::{self, Report};
use nearfab::system::Process;

use crate::failure::Failure;
use crate::head;
use crate::output::{Output, answer};
use crate::source::Input;

/// Checks a host and its system, and writes the findings.
pub(crate) fn write(input: &Input, pid: Option<u32>, output: Output, out: &mut dyn Write) -> Result<(), Failure> {
    let report = examine(input, pid)?;
    match output {
        Output::Json => answer("doctor", &report, out)?,
        _ => {
            head::write(&input.host, out)?;
            report::write(&report, out)?;
        }
    }
    match report.nothing_examined {
        Some(reason) => Err(Failure::NotExamined(reason)),
        None => Ok(()),
    }
}

fn examine(input: &Input, pid: Option<u32>) -> Result<Report, Error> {
    let mut system = input.record()?.system;
    if let Some(pid) = pid {
        let process = Process::read(&input.host, pid)?;
        system.get_or_insert_default().process = Some(process);
    }
    let fi_info = input.probe.as_ref().map(|_| fi_info::run());
    let mut examined = doctor::Input::new(&input.host);
    examined.system = system.as_ref();
    examined.probe = input.probe.as_ref();
    examined.fi_info = fi_info.as_ref();
    Ok(doctor::examine(&examined))
}
