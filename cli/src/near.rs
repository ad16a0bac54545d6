//! `nearfab near`: the neighbours of one thing, ranked, with the reason.

use std::io::{self, Write};

use nearfab::{Basis, Bdf, Core, Error, Evidence, Host, HostDevice, Near, NearList};
use serde::Serialize;

use crate::table::{Table, or_unknown};
use crate::{FORMAT, Failure, Output, json};

/// What a name on the command line means.
enum Subject {
    Core(Core),
    Device(HostDevice),
    Efa(Bdf),
}

pub(crate) fn write(host: &Host, of: &str, by_place: bool, output: Output, out: &mut dyn Write) -> Result<(), Failure> {
    let basis = if by_place { Basis::Place } else { Basis::Pairing };
    match subject(host, of)? {
        Subject::Core(core) => interfaces(host, of, &host.near_core(core, basis)?, output, out)?,
        Subject::Device(device) => interfaces(host, of, &host.near_device(device, basis)?, output, out)?,
        Subject::Efa(address) => devices(host, of, &host.near_efa(address, basis)?, output, out)?,
    }
    Ok(())
}

fn subject(host: &Host, name: &str) -> Result<Subject, Error> {
    if let Ok(address) = name.parse() {
        let device = host.neuron().iter().find(|device| device.address() == Some(address));
        return Ok(device.map_or(Subject::Efa(address), |device| Subject::Device(device.index)));
    }
    if let Ok(device) = name.parse() {
        return Ok(Subject::Device(device));
    }
    if let Ok(core) = name.parse() {
        return Ok(Subject::Core(core));
    }
    match host.efa().iter().find(|efa| efa.rdma.as_deref() == Some(name)) {
        Some(efa) => Ok(Subject::Efa(efa.address())),
        None => Err(Error::BadName {
            text: name.to_owned(),
            expected: "a core (neuron5:0), a device (neuron5 or its PCI address), or an EFA interface of this host by PCI \
                       address (0000:c9:00.0) or RDMA name (rdmap201s0)",
        }),
    }
}

fn interfaces(host: &Host, of: &str, list: &NearList<Bdf>, output: Output, out: &mut dyn Write) -> io::Result<()> {
    if output == Output::Json {
        return answer(of, list, out);
    }
    let mut table = Table::new(["RANK", "EFA", "RDMA", "NODE", "NUMA", "WHY"]);
    for near in &list.entries {
        let efa = host.find_efa(near.target).ok();
        table.row([
            near.rank.to_string(),
            near.target.to_string(),
            or_unknown(efa.and_then(|efa| efa.rdma.as_deref())),
            or_unknown(efa.and_then(|efa| efa.node())),
            or_unknown(efa.and_then(|efa| efa.function.numa)),
            why(near),
        ]);
    }
    table.write(out)?;
    if let Some(address) = list.missing_pair {
        writeln!(out, "\nThe table pairs {of} with {address}, which this host does not have: ranked by place alone.")?;
    }
    tie(list, out)
}

fn devices(host: &Host, of: &str, list: &NearList<HostDevice>, output: Output, out: &mut dyn Write) -> io::Result<()> {
    if output == Output::Json {
        return answer(of, list, out);
    }
    let mut table = Table::new(["RANK", "DEVICE", "CORES", "PCI", "NUMA", "WHY"]);
    for near in &list.entries {
        let device = host.find_neuron(near.target).ok();
        table.row([
            near.rank.to_string(),
            near.target.to_string(),
            or_unknown(device.map(|device| device.cores)),
            or_unknown(device.and_then(|device| device.address())),
            or_unknown(device.and_then(|device| device.function()?.numa)),
            why(near),
        ]);
    }
    table.write(out)?;
    tie(list, out)
}

fn why<T>(near: &Near<T>) -> String {
    match &near.evidence {
        Evidence::Place { proximity } => proximity.to_string(),
        other => format!("{other}, {}", near.proximity),
    }
}

fn tie<T>(list: &NearList<T>, out: &mut dyn Write) -> io::Result<()> {
    match list.nearest().count() {
        0 if !list.entries.is_empty() => {
            writeln!(out, "\nNothing is known of which is near: the host shows no place for it.")
        }
        0 | 1 => Ok(()),
        count => writeln!(out, "\n{count} are equally near: a tie of rank 1."),
    }
}

fn answer<T: Serialize>(of: &str, list: &NearList<T>, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Answer<'a, T> {
        format: u32,
        of: &'a str,
        #[serde(flatten)]
        list: &'a NearList<T>,
    }
    json(&Answer { format: FORMAT, of, list }, out)
}
