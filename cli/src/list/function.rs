//! The tables of devices without a Neuron number: Neuron functions whose number is unknown, GPUs, and RDMA devices that are not
//! EFA interfaces.

use std::io::{self, Write};

use nearfab::instances::Product;
use nearfab::{Bdf, Gpu, Host, PciFunction, RdmaDevice};

use super::place;
use crate::evidence::{EvidenceLine, Nearest};
use crate::table::{Table, or_unknown};

pub(super) fn neuron(host: &Host, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    for (functions, caption) in [
        (
            host.unnumbered(),
            "Neuron PCI functions whose /dev/neuronN number is unknown (--probe asks the Neuron driver):",
        ),
        (
            host.driverless(),
            "Neuron PCI functions that the Neuron driver is not bound to (is the module neuron loaded?):",
        ),
    ] {
        if functions.is_empty() {
            continue;
        }
        writeln!(out, "\n{caption}")?;
        let mut table = Table::of(functions);
        table.add("FUNCTION", |function| function.address.to_string());
        table.add("PRODUCT", |function| or_unknown(Product::of(function.id).map(|product| product.name)));
        place(&mut table, wide, |function| Some(function));
        near_efa(&mut table, host, wide, |function| function.address);
        table.write(out)?;
        evidence(host, wide, functions.iter().map(|function| function.address), out)?;
    }
    bound_elsewhere(host.driverless(), out)
}

fn bound_elsewhere(functions: &[PciFunction], out: &mut dyn Write) -> io::Result<()> {
    let mut drivers = EvidenceLine::default();
    for function in functions {
        drivers.add(function.driver.as_deref().unwrap_or("no driver"), function.address);
    }
    drivers.write("Bound to", out)
}

pub(super) fn gpus(host: &Host, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    if host.gpus().is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let mut table = Table::of(host.gpus());
    table.add("GPU", |gpu| gpu.address().to_string());
    place(&mut table, wide, |gpu| Some(&gpu.function));
    table.add("NODE", |gpu| or_unknown(gpu.node()));
    if wide {
        table.add("UUID", |gpu| or_unknown(gpu.uuid.as_ref()));
    }
    near_efa(&mut table, host, wide, Gpu::address);
    table.add("ACCESS", |gpu| host.gpu_usability(gpu).to_string());
    table.write(out)?;
    evidence(host, wide, host.gpus().iter().map(Gpu::address), out)
}

pub(super) fn other_rdma(host: &Host, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    if host.other_rdma().is_empty() {
        return Ok(());
    }
    writeln!(out, "\nRDMA devices that are not EFA interfaces:")?;
    let mut table = Table::of(host.other_rdma());
    table.add("RDMA", |device| device.name.clone());
    table.add("PCI", |device| or_unknown(function(device).map(|function| function.address)));
    table.add("NODE", |device| match wide {
        true => or_unknown(device.uverbs.map(|number| format!("/dev/infiniband/uverbs{number}"))),
        false => or_unknown(device.uverbs.map(|number| format!("uverbs{number}"))),
    });
    place(&mut table, wide, function);
    table.add("ACCESS", |device| device.access.to_string());
    table.write(out)
}

fn function(device: &RdmaDevice) -> Option<&PciFunction> {
    device.function.as_ref()
}

fn near_efa<T>(table: &mut Table<'_, T>, host: &Host, wide: bool, address: impl Fn(&T) -> Bdf) {
    table.add("NEAR EFA", |item| or_unknown(near(host, address(item)).map(|near| near.targets)));
    if wide {
        table.add("NEAR BY", |item| or_unknown(near(host, address(item)).map(|near| near.evidence)));
    }
}

fn evidence(host: &Host, wide: bool, addresses: impl Iterator<Item = Bdf>, out: &mut dyn Write) -> io::Result<()> {
    let mut evidence = EvidenceLine::default();
    for address in addresses.filter(|_| !wide) {
        if let Some(near) = near(host, address) {
            evidence.add(near.evidence, address);
        }
    }
    evidence.write("NEAR EFA by", out)
}

fn near(host: &Host, address: Bdf) -> Option<Nearest> {
    Nearest::of(host.near_function(address).ok()?.nearest_by_rank())
}
