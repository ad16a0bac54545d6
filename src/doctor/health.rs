//! The check of the health of Neuron devices: components, memory errors, DMA aborts.

use super::finding::{Check, Finding, FindingKind};
use super::input::{Input, Skip};
use crate::telemetry::NeuronHealth;

const UNHEALTHY: FindingKind = FindingKind {
    id: "neuron-unhealthy",
    means: "The driver reports a fault of the device: an unhealthy component, memory errors that could not be corrected, a \
            hardware error event, or executions that ended with a DMA abort. Results may be wrong, executions fail, and after a \
            DMA abort nothing runs on the device until it is reset.",
    action: "Stop using the device, and take the node out of the scheduler. Reset the device while no process uses it, or stop \
             and start the instance, which moves it to other hardware. Report a fault that comes back to AWS.",
    source: "Neuron driver, sysfs: stats/hardware, health_status, stats/status.",
};
const REPAIRABLE: FindingKind = FindingKind {
    id: "neuron-memory-repairable",
    means: "The device memory had errors that could not be corrected and that the device can repair when it is reset. \
            Executions that used this memory failed.",
    action: "Reset the device while no process uses it, or reboot the instance.",
    source: "Neuron driver, sysfs: mem_ecc_repairable_uncorrected.",
};
const OFF_BUS: FindingKind = FindingKind {
    id: "neuron-off-bus",
    means: "Every register of the device reads as ones: the device does not answer on PCI. The driver still shows the device as \
            ready.",
    action: "Stop and start the instance, which moves it to other hardware.",
    source: "PCI Express: a read that no device answers returns ones. Neuron driver, sysfs: info/serial_number.",
};

pub(super) const CHECK: Check = Check { name: "Neuron health", kinds: || vec![UNHEALTHY, REPAIRABLE, OFF_BUS], run };

fn run(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    input.neuron()?;
    let health = input.system()?.neuron_health.as_deref();
    let health = health.ok_or_else(|| Skip::NotPossible("this record has no health of the Neuron devices".into()))?;
    if health.iter().all(NeuronHealth::is_unknown) {
        return Err(Skip::NotPossible("this Neuron driver shows no health and no error counts".into()));
    }
    Ok(super::judge_health(health))
}

/// Returns the findings about the health of one device.
pub(super) fn of_device(health: &NeuronHealth) -> Vec<Finding> {
    let subject = || vec![health.device.to_string()];
    if health.is_off_bus {
        return vec![OFF_BUS.problem(subject(), "the serial number is ffffffffffffffff")];
    }
    let mut found = Vec::new();
    let faults = faults(health);
    if !faults.is_empty() {
        found.push(UNHEALTHY.problem(subject(), faults.join("; ")));
    }
    let repairable = ["mem_ecc_repairable_uncorrected"].iter().filter_map(|name| health.ecc.number(name)).sum::<u64>();
    let repairable = repairable.max(health.components.number("repairable_hbm_ecc_err_count").unwrap_or(0));
    if repairable > 0 {
        found.push(REPAIRABLE.warning(subject(), counted(repairable, "repairable error of device memory")));
    }
    found
}

fn faults(health: &NeuronHealth) -> Vec<String> {
    let mut faults = Vec::new();
    match &health.unhealthy_components()[..] {
        [] => {}
        [one] => faults.push(format!("unhealthy component: {one}")),
        several => faults.push(format!("unhealthy components: {}", several.join(", "))),
    }
    let mut count = |number: Option<u64>, text: &str| {
        faults.extend(number.filter(|number| *number > 0).map(|number| counted(number, text)));
    };
    count(health.components.number("hw_error_event"), "hardware error event");
    // Drivers from 2.27 to 2.29 show the counts of errors in both folders.
    let larger = |ecc: &str, components: &str| health.ecc.number(ecc).max(health.components.number(components));
    count(larger("mem_ecc_uncorrected", "hbm_ecc_err_count"), "uncorrectable error of device memory");
    count(larger("sram_ecc_uncorrected", "sram_ecc_err_count"), "uncorrectable error of SRAM");
    for (core, aborts) in &health.dma_aborts {
        if let Some(aborts) = aborts.number().filter(|aborts| *aborts > 0) {
            faults.push(format!(
                "{}:{}: {} ended with a DMA abort",
                health.device,
                core.0,
                counted(aborts, "execution")
            ));
        }
    }
    faults
}

/// `1 execution`, `17 executions`, `3 uncorrectable errors of SRAM`.
fn counted(number: u64, text: &str) -> String {
    if number == 1 {
        return format!("1 {text}");
    }
    match text.split_once(" of ") {
        Some((noun, of)) => format!("{number} {noun}s of {of}"),
        None => format!("{number} {text}s"),
    }
}
