//! `nearfab list`: the devices, one a line.

mod efa;
mod function;
mod neuron;

use std::collections::BTreeSet;
use std::io::{self, Write};

use nearfab::instances::Source;
use nearfab::probe::Probe;
use nearfab::{Host, PciFunction, PciLink};
use serde::Serialize;

use crate::output::{Output, json};
use crate::source::Seen;
use crate::table::{Table, UNKNOWN, or_unknown};
use crate::{head, notes};

pub(crate) const HELP: &str = "\
CTR is the container's number of a device: its position among those with a node here.
CORES are the numbers of its logical cores in NEURON_RT_VISIBLE_CORES.
LINKED are the host's numbers of the devices that NeuronLink joins it with.
RATE is what the efa driver says; drivers before 2.13 say 100 Gb/s of every interface.";

pub(crate) fn write(seen: &Seen, output: Output, out: &mut dyn Write) -> io::Result<()> {
    let host = &seen.host;
    if output == Output::Json {
        let rests_on = notes::sources(host, &[]);
        return json(&Record { host, rests_on, probe: seen.probe.as_ref() }, out);
    }
    let wide = output == Output::Wide;
    head::write(host, out)?;
    neuron::write(seen, wide, out)?;
    function::neuron(host, wide, out)?;
    function::gpus(host, wide, out)?;
    efa::write(host, wide, out)?;
    function::other_rdma(host, wide, out)?;
    if host.nothing_found().is_some() { Ok(()) } else { notes::write(host, &[], out) }
}

/// The recorded host, with what is not the host's beside it; `--host` skips that.
#[derive(Serialize)]
struct Record<'a> {
    #[serde(flatten)]
    host: &'a Host,
    rests_on: Vec<&'static Source>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<&'a Probe>,
}

/// The columns that every PCI function has, from its id on; `more` are those of wide tables.
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

/// Bridges from the root down.
pub(crate) fn chain(bridges: &[nearfab::Bdf]) -> String {
    bridges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" > ")
}

/// Speed and width, now and at most.
fn lanes(link: PciLink) -> (String, String) {
    let text = |speed: Option<nearfab::LinkSpeed>, width: Option<nearfab::LinkWidth>| match (speed, width) {
        (None, None) => UNKNOWN.to_owned(),
        _ => format!("{} {}", or_unknown(speed), or_unknown(width)),
    };
    (text(link.speed, link.width), text(link.max_speed, link.max_width))
}

/// `20-23`, in the form of NEURON_RT_VISIBLE_CORES; nothing where a device is not visible.
pub(crate) fn logical_cores(host: &Host, device: nearfab::HostDevice) -> Option<String> {
    let rows = host.numbering().rows;
    let of_device: BTreeSet<u32> = rows.iter().filter(|row| row.device == device).map(|row| row.logical.0).collect();
    let (first, last) = (of_device.first()?, of_device.last()?);
    Some(if first == last { first.to_string() } else { format!("{first}-{last}") })
}
