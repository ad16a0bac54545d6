//! The table of Neuron devices.

use std::io::{self, Write};

use nearfab::probe::{DeviceProbe, Probe};
use nearfab::{Basis, Host, Links, NeuronDevice};

use super::{logical_cores, place};
use crate::evidence::{EvidenceLine, Nearest};
use crate::table::{Table, or_unknown};

pub(super) fn write(host: &Host, probe: Option<&Probe>, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    if host.neuron_devices().is_empty() {
        return Ok(());
    }
    let links = host.links();
    let linked = |device: &NeuronDevice| links.iter().find(|links| links.device == device.index);
    let probed = |device: &NeuronDevice| {
        probe.and_then(|probe| probe.devices.iter().find(|probed| probed.device == device.index))
    };

    let mut table = Table::of(host.neuron_devices());
    table.add("DEVICE", |device| device.index.to_string());
    table.add("CTR", |device| or_unknown(host.container_device(device.index)));
    table.add("CORES", |device| or_unknown(logical_cores(host, device.index)));
    table.add("PHYSICAL", |device| device.cores.to_string());
    table.add("PRODUCT", |device| or_unknown(device.product.as_ref()));
    table.add("MEMORY", |device| or_unknown(device.memory.map(gibibytes)));
    if wide {
        table.add("ARCH", |device| or_unknown(device.architecture.as_ref()));
        table.add("SERIAL", |device| or_unknown(device.serial.as_ref()));
    }
    table.add("LINKED", |device| or_unknown(linked(device).map(neighbours)));
    if wide {
        table.add("LINKED BY", |device| or_unknown(linked(device).map(|links| &links.evidence)));
    }
    table.add("PCI", |device| or_unknown(device.address()));
    if wide {
        table.add("PCI BY", |device| or_unknown(device.location.as_ref().map(|location| &location.evidence)));
    }
    place(&mut table, wide, NeuronDevice::function);
    table.add("NEAR EFA", |device| or_unknown(near(host, device).map(|near| near.targets)));
    if wide {
        table.add("NEAR BY", |device| or_unknown(near(host, device).map(|near| near.evidence)));
        table.add("NODE", NeuronDevice::node);
    }
    table.add("ACCESS", |device| host.neuron_usability(device).to_string());
    if probe.is_some() {
        table.add("HELD", |device| {
            or_unknown(
                probed(device).and_then(DeviceProbe::held_cores).map(|held| format!("{held} of {}", device.cores)),
            )
        });
        table.add("PIDS", |device| or_unknown(probed(device).and_then(DeviceProbe::pids).map(pids)));
    }
    writeln!(out)?;
    table.write(out)?;
    for probed in probe.iter().flat_map(|probe| &probe.devices) {
        for error in probed.errors() {
            writeln!(out, "{}: the Neuron driver did not answer: {error}", probed.device)?;
        }
    }
    if wide { Ok(()) } else { evidence(host, &links, out) }
}

/// Writes the evidence below a narrow table; wide tables have columns for it.
fn evidence(host: &Host, links: &[Links], out: &mut dyn Write) -> io::Result<()> {
    let (mut address, mut linked, mut efa) =
        (EvidenceLine::default(), EvidenceLine::default(), EvidenceLine::default());
    for device in host.neuron_devices() {
        if let Some(location) = &device.location {
            address.add(&location.evidence, device.index);
        }
        if let Some(near) = near(host, device) {
            efa.add(near.evidence, device.index);
        }
    }
    for links in links {
        linked.add(&links.evidence, links.device);
    }
    linked.write("LINKED by", out)?;
    address.write("PCI by", out)?;
    efa.write("NEAR EFA by", out)
}

fn near(host: &Host, device: &NeuronDevice) -> Option<Nearest> {
    Nearest::of(host.near_device(device.index, Basis::Pairing).ok()?.nearest_by_rank())
}

fn neighbours(links: &Links) -> String {
    links.neighbours.iter().map(|device| device.0.to_string()).collect::<Vec<_>>().join(",")
}

fn pids(pids: Vec<i32>) -> String {
    let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
    if pids.is_empty() { "none".to_owned() } else { pids.join(",") }
}

/// Returns the memory of a device in gibibytes. Every device has a whole number of gibibytes, which neuron-ls calls GB.
fn gibibytes(bytes: u64) -> String {
    format!("{} GiB", bytes >> 30)
}
