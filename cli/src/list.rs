//! `nearfab list`: the devices, one a line.

use std::io::{self, Write};

use nearfab::{Basis, EfaInterface, Host, Near, NeuronDevice};

use crate::table::{Table, UNKNOWN, or_unknown};

pub(crate) fn text(host: &Host, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", headline(host))?;
    if !host.neuron().is_empty() {
        writeln!(out)?;
        neuron_table(host).write(out)?;
    }
    if !host.efa().is_empty() {
        writeln!(out)?;
        efa_table(host).write(out)?;
    }
    for function in host.driverless() {
        let driver = function.driver.as_deref().unwrap_or("no driver");
        writeln!(out, "\n{} is a Neuron device ({}) bound to {driver}", function.address, function.id)?;
        writeln!(out, "and not to the Neuron driver: it has no node. Is the module neuron loaded?")?;
    }
    Ok(())
}

/// What the host is and what it has, in one line.
pub(crate) fn headline(host: &Host) -> String {
    let cores: u64 = host.neuron().iter().map(|device| u64::from(device.cores)).sum();
    let mut devices = count(host.neuron().len(), "Neuron device");
    if cores > 0 {
        devices += &format!(" ({cores} cores)");
    }
    let interfaces = count(host.efa().len(), "EFA interface");
    let name = host.instance_type().unwrap_or("unknown instance type");
    let origin = if host.is_live() { "this machine".to_owned() } else { host.origin().to_string() };
    format!("{name} ({origin}): {devices}, {interfaces}")
}

fn count(number: usize, what: &str) -> String {
    match number {
        0 => format!("no {what}"),
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

fn neuron_table(host: &Host) -> Table<8> {
    let mut table = Table::new(["DEVICE", "PRODUCT", "CORES", "PCI", "NUMA", "CPUS", "NEAR EFA", "ACCESS"]);
    for device in host.neuron() {
        let function = device.function();
        table.row([
            device.index.to_string(),
            or_unknown(device.product.as_deref()),
            device.cores.to_string(),
            or_unknown(device.address()),
            or_unknown(function.and_then(|function| function.numa)),
            or_unknown(function.map(|function| &function.cpus).filter(|cpus| !cpus.is_empty())),
            near_efa(host, device),
            device.access.to_string(),
        ]);
    }
    table
}

fn efa_table(host: &Host) -> Table<7> {
    let mut table = Table::new(["EFA", "RDMA", "NODE", "NUMA", "CPUS", "NEAR DEVICE", "ACCESS"]);
    for efa in host.efa() {
        table.row([
            efa.address().to_string(),
            or_unknown(efa.rdma.as_deref()),
            or_unknown(efa.node()),
            or_unknown(efa.function.numa),
            or_unknown(Some(&efa.function.cpus).filter(|cpus| !cpus.is_empty())),
            near_device(host, efa),
            efa.access.to_string(),
        ]);
    }
    table
}

fn near_efa(host: &Host, device: &NeuronDevice) -> String {
    let list = host.near_device(device.index, Basis::Pairing);
    list.map_or_else(|_| UNKNOWN.to_owned(), |list| nearest(list.nearest()))
}

fn near_device(host: &Host, efa: &EfaInterface) -> String {
    let list = host.near_efa(efa.address(), Basis::Pairing);
    list.map_or_else(|_| UNKNOWN.to_owned(), |list| nearest(list.nearest()))
}

/// The nearest and why, ties as ties: `0000:c9:00.0 (table trn2.48xlarge)`.
pub(crate) fn nearest<'a, T: ToString + 'a>(entries: impl Iterator<Item = &'a Near<T>>) -> String {
    let mut targets = Vec::new();
    let mut why = None;
    for near in entries {
        targets.push(near.target.to_string());
        why = Some(near.evidence.to_string());
    }
    why.map_or_else(|| UNKNOWN.to_owned(), |why| format!("{} ({why})", targets.join(" = ")))
}
