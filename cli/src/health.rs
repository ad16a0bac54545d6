//! `nearfab health`: the health of the devices, one line for each.

use std::io::Write;

use nearfab::Error;
use nearfab::doctor::{Finding, judge_health};
use nearfab::telemetry::{self, DeviceState, EfaTelemetry, NeuronHealth, Reading, Readings};
use serde::Serialize;

use crate::failure::Failure;
use crate::head;
use crate::output::{Output, answer};
use crate::source::Input;
use crate::table::{Table, UNKNOWN, or_unknown};

pub(crate) const HELP: &str = "\
STATE says whether a Neuron device can be opened: ready, in reset, reset failed. Only root may read it.
MEMORY, SRAM and REPAIRABLE count errors that could not be corrected. EVENTS counts hardware error events.
ABORTS counts executions that ended with a DMA abort. A dash is a value that the driver does not show.
ERRORS, DROPS, TIMEOUTS and UNRESPONSIVE are counters of an EFA interface since the driver was loaded. They are not judged.";

/// The answer in JSON. `docs/reference/schema/health.json` describes it.
#[derive(Serialize)]
struct Answer<'a> {
    instance_type: Option<&'a str>,
    neuron: &'a [NeuronHealth],
    /// `None` for a recorded host: a record has no counters.
    efa: Option<&'a [EfaTelemetry]>,
    findings: &'a [Finding],
}

/// Writes the health of the devices. Returns true if there are findings.
pub(crate) fn write(input: &Input, output: Output, out: &mut dyn Write) -> Result<bool, Failure> {
    let host = &input.host;
    let neuron = match input.record()?.system.and_then(|system| system.neuron_health) {
        Some(recorded) => recorded,
        None => telemetry::neuron_health(host)?,
    };
    let efa = match telemetry::efa_telemetry(host) {
        Ok(efa) => Some(efa),
        Err(Error::NoTree { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let findings = judge_health(&neuron);
    if output == Output::Json {
        let instance_type = host.instance_type();
        let shown = Answer { instance_type, neuron: &neuron, efa: efa.as_deref(), findings: &findings };
        answer("health", shown, out)?;
        return Ok(!findings.is_empty());
    }
    head::write(host, out)?;
    if !neuron.is_empty() {
        writeln!(out)?;
        write_neuron(&neuron, out)?;
    }
    match &efa {
        Some(efa) if !efa.is_empty() => {
            writeln!(out)?;
            write_efa(efa, out)?;
        }
        Some(_) => {}
        None => writeln!(out, "\nA record has no counters of EFA interfaces.")?,
    }
    if !findings.is_empty() {
        writeln!(out)?;
    }
    for finding in &findings {
        writeln!(out, "{}: {}", finding.title(), finding.seen)?;
    }
    Ok(!findings.is_empty())
}

fn write_neuron(devices: &[NeuronHealth], out: &mut dyn Write) -> std::io::Result<()> {
    let mut table = Table::of(devices);
    table.add("DEVICE", |device| device.device.to_string());
    table.add("HEALTH", |device| health(device).to_owned());
    table.add("STATE", |device| state(device.state.as_ref()));
    table.add("UNHEALTHY", |device| match &device.unhealthy_components()[..] {
        [] => UNKNOWN.to_owned(),
        names => names.join(","),
    });
    table.add("EVENTS", |device| number(&device.components, "hw_error_event"));
    table.add("MEMORY", |device| number(&device.ecc, "mem_ecc_uncorrected"));
    table.add("SRAM", |device| number(&device.ecc, "sram_ecc_uncorrected"));
    table.add("REPAIRABLE", |device| number(&device.ecc, "mem_ecc_repairable_uncorrected"));
    table.add("ABORTS", |device| {
        let aborts: Vec<u64> = device.dma_aborts.values().filter_map(Reading::number).collect();
        or_unknown((!aborts.is_empty()).then(|| aborts.iter().fold(0_u64, |sum, aborts| sum.saturating_add(*aborts))))
    });
    table.write(out)
}

fn write_efa(interfaces: &[EfaTelemetry], out: &mut dyn Write) -> std::io::Result<()> {
    let mut table = Table::of(interfaces);
    table.add("EFA", |efa| efa.address.to_string());
    table.add("ERRORS", |efa| number(&efa.device, "cmds_err"));
    table.add("DROPS", |efa| number(&efa.port, "rx_drops"));
    table.add("TIMEOUTS", |efa| number(&efa.port, "retrans_timeout_events"));
    table.add("UNRESPONSIVE", |efa| number(&efa.port, "unresponsive_remote_events"));
    table.write(out)
}

fn number(readings: &Readings, name: &str) -> String {
    or_unknown(readings.number(name))
}

fn health(device: &NeuronHealth) -> &'static str {
    if !judge_health(std::slice::from_ref(device)).is_empty() {
        "unhealthy"
    } else if device.is_unknown() {
        "unknown"
    } else {
        "healthy"
    }
}

fn state(state: Option<&DeviceState>) -> String {
    match state {
        Some(DeviceState::Ready) => "ready".to_owned(),
        Some(DeviceState::Reset) => "in reset".to_owned(),
        Some(DeviceState::Invalid) => "reset failed".to_owned(),
        Some(DeviceState::Unknown(number)) => number.to_string(),
        _ => UNKNOWN.to_owned(),
    }
}
