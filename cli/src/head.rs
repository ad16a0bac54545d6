//! The lines above every view: the type of the host, its devices, its drivers.

use std::io::{self, Write};

use nearfab::Host;

/// Writes instance type, origin and counts; the drivers; the logical cores; and the reason if no device was found.
pub(crate) fn write(host: &Host, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", counts(host))?;
    if let Some(drivers) = drivers(host) {
        writeln!(out, "{drivers}")?;
    }
    if let Some(cores) = logical_cores(host) {
        writeln!(out, "{cores}")?;
    }
    if let Some(reason) = host.nothing_found() {
        writeln!(out, "No device found: {reason}")?;
    }
    if let Some(nodes) = unexplained_nodes(host) {
        writeln!(out, "{nodes}")?;
    }
    Ok(())
}

fn counts(host: &Host) -> String {
    let cores: u64 = host.neuron_devices().iter().map(|device| u64::from(device.cores)).sum();
    let mut devices = count(host.neuron_devices().len(), "Neuron device");
    if cores > 0 {
        devices += &format!(" ({cores} cores)");
    }
    let mut counts = vec![devices, count(host.efa_interfaces().len(), "EFA interface")];
    if !host.gpus().is_empty() {
        counts.push(count(host.gpus().len(), "GPU"));
    }
    let name = host.instance_type().unwrap_or("unknown instance type");
    let origin = if host.is_live() { "this machine".to_owned() } else { host.origin().to_string() };
    format!("{name} ({origin}): {}", counts.join(", "))
}

fn unexplained_nodes(host: &Host) -> Option<String> {
    let nodes = host.unexplained_nodes();
    (!nodes.is_empty()).then(|| {
        let devices = if nodes.len() == 1 { "the device" } else { "the devices" };
        format!("Nodes in /dev: {}. Nothing else is known of {devices}: sys does not show {devices}", nodes.join(", "))
    })
}

/// `no GPU`, `1 GPU`, `2 GPUs`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    match number {
        0 => format!("no {noun}"),
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

fn drivers(host: &Host) -> Option<String> {
    let version = |version: &Option<String>| version.as_deref().unwrap_or("of unknown version").to_owned();
    let neuron = host
        .neuron_driver()
        .map(|driver| format!("Neuron driver {} (sysfs layout of {})", version(&driver.version), driver.layout));
    let efa = host.efa_driver().map(|driver| format!("efa driver {}", version(&driver.version)));
    let both: Vec<String> = neuron.into_iter().chain(efa).collect();
    (!both.is_empty()).then(|| both.join("; "))
}

fn logical_cores(host: &Host) -> Option<String> {
    let numbering = host.numbering();
    let lnc = numbering.lnc?;
    let cores = count(numbering.rows.len(), "logical core");
    let visible = host.visible_neuron().count();
    let devices = match host.neuron_devices().len() - visible {
        0 => String::new(),
        hidden => format!(" on {}; {hidden} without a node in /dev", count(visible, "device")),
    };
    Some(format!("LNC {} ({}): {cores}{devices}", lnc.size, lnc.evidence))
}
