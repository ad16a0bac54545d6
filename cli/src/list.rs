//! `nearfab list`: one line for each device.

mod efa;
mod function;
mod neuron;

use std::collections::BTreeSet;
use std::io::Write;

use nearfab::instances::Source;
use nearfab::probe::Probe;
use nearfab::{Host, PciFunction, PciLink};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{Output, json};
use crate::source::Input;
use crate::table::{Table, UNKNOWN, or_unknown};
use crate::{head, notes};

pub(crate) const HELP: &str = "\
DEVICE is the host's number N of a device, as in /dev/neuronN.
CTR is the container's number of a device: its position among the devices with a node in /dev.
CORES are the numbers of the device's logical cores in NEURON_RT_VISIBLE_CORES, PHYSICAL counts its physical cores.
LINKED are the host's numbers of the devices at the other end of the device's NeuronLinks.
RATE comes from the efa driver; drivers before 2.13 report 100 Gb/s for every interface.
ACCESS says whether this process can use the device now: usable, unknown (as for a table), or the reason why not.";

pub(crate) fn write(input: &Input, output: Output, out: &mut dyn Write) -> Result<(), Failure> {
    let host = &input.host.with_details()?;
    if output == Output::Json {
        let rests_on = notes::sources(host, &[]);
        return Ok(json(&Record { host, rests_on, probe: input.probe.as_ref() }, out)?);
    }
    let wide = output == Output::Wide;
    head::write(host, out)?;
    neuron::write(host, input.probe.as_ref(), wide, out)?;
    function::neuron(host, wide, out)?;
    function::gpus(host, wide, out)?;
    efa::write(host, wide, out)?;
    function::other_rdma(host, wide, out)?;
    if host.nothing_found().is_none() {
        notes::write(host, &[], out)?;
    }
    Ok(())
}

/// The recorded host with two more members, which `--host` skips.
#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    host: &'a Host,
    rests_on: Vec<&'static Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<&'a Probe>,
}

/// Adds the columns that every PCI function has.
fn place<T>(table: &mut Table<'_, T>, wide: bool, function: impl Fn(&T) -> Option<&PciFunction>) {
    let known = |item: &T, text: fn(&PciFunction) -> String| or_unknown(function(item).map(text));
    if wide {
        table.add("ID", |item| known(item, |function| function.id.to_string()));
        table.add("ROOT", |item| known(item, |function| or_unknown(function.root)));
        table.add("BRIDGES", |item| known(item, |function| chain(&function.bridges)));
    }
    table.add("NUMA", |item| known(item, |function| or_unknown(function.numa)));
    table.add("CPUS", |item| known(item, |function| function.cpus.to_string()));
    if wide {
        table.add("DRIVER", |item| known(item, |function| or_unknown(function.driver.as_ref())));
        table.add("LINK", |item| known(item, |function| lanes(function.link).0));
        table.add("LINK MAX", |item| known(item, |function| lanes(function.link).1));
    }
}

/// Returns the bridges from the PCI root down: `0000:52:00.0 > 0000:53:01.0`.
pub(crate) fn chain(bridges: &[nearfab::Bdf]) -> String {
    bridges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" > ")
}

/// Returns speed and width of a PCIe link: the current values, and the highest values.
fn lanes(link: PciLink) -> (String, String) {
    let text = |speed: Option<nearfab::LinkSpeed>, width: Option<nearfab::LinkWidth>| match (speed, width) {
        (None, None) => UNKNOWN.to_owned(),
        _ => format!("{} {}", or_unknown(speed), or_unknown(width)),
    };
    (text(link.speed, link.width), text(link.max_speed, link.max_width))
}

/// Returns the logical cores of a device as NEURON_RT_VISIBLE_CORES numbers them (`20-23`), or `None` if the device has no node.
pub(crate) fn logical_cores(host: &Host, device: nearfab::HostDevice) -> Option<String> {
    let rows = host.numbering().rows;
    let of_device: BTreeSet<u32> = rows.iter().filter(|row| row.device == device).map(|row| row.logical.0).collect();
    let (first, last) = (of_device.first()?, of_device.last()?);
    Some(if first == last { first.to_string() } else { format!("{first}-{last}") })
}
