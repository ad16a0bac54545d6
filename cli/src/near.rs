//! `nearfab near`: the EFA interfaces or devices near one core, device or interface, ranked, with the evidence.

use std::fmt::Display;
use std::io::{self, Write};

use nearfab::instances::Source;
use nearfab::{
    Anchor, Basis, Bdf, CoreNumbering, Evidence, Host, HostDevice, LogicalCoreRow, Member, Near, NearList, Proximity,
    Usability,
};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{self, Output};
use crate::table::{Table, or_unknown};
use crate::{evidence, notes};

/// The reason why the nearest PCI function is unknown.
const UNKNOWN_PATHS: &str = "the PCIe paths and NUMA nodes are unknown";

pub(crate) fn write(host: &Host, of: &str, by_place: bool, output: Output, out: &mut dyn Write) -> Result<(), Failure> {
    if let Some(reason) = host.nothing_found() {
        return Err(Failure::Nothing(reason));
    }
    let basis = if by_place { Basis::Place } else { Basis::Pairing };
    let answer = Answer::of(host, of, basis)?;
    match output {
        Output::Json => output::answer("near", &answer, out)?,
        output => answer.text(host, output == Output::Wide, out)?,
    }
    Ok(())
}

/// The answer in JSON.
#[derive(Serialize)]
struct Answer<'a> {
    of: &'a str,
    subject: Anchor,
    /// For a logical core: its physical cores, and the LNC.
    logical_core: Option<Logical>,
    #[serde(flatten)]
    list: List,
    /// For an EFA interface: the PCI functions of Neuron devices and GPUs near it.
    #[serde(skip_serializing_if = "Option::is_none")]
    functions: Option<NearList<Bdf>>,
    rests_on: Vec<&'static Source>,
}

#[derive(Serialize)]
struct Logical {
    lnc: Option<nearfab::Lnc>,
    #[serde(flatten)]
    row: LogicalCoreRow,
}

#[derive(Serialize)]
#[serde(untagged)]
enum List {
    Interfaces(NearList<Bdf>),
    Devices(NearList<HostDevice>),
}

impl<'a> Answer<'a> {
    fn of(host: &Host, of: &'a str, basis: Basis) -> nearfab::Result<Self> {
        let subject = host.anchor(of)?;
        let (mut logical_core, mut functions) = (None, None);
        let list = match subject {
            Anchor::LogicalCore { logical } => {
                let list = host.near(subject, basis)?;
                let CoreNumbering { lnc, rows, .. } = host.numbering();
                let row = rows.into_iter().find(|row| row.logical == logical);
                logical_core = row.map(|row| Logical { lnc, row });
                List::Interfaces(list)
            }
            Anchor::Efa { address } => {
                functions = Some(host.functions_near_efa(address)?);
                List::Devices(host.near_efa(address, basis)?)
            }
            _ => List::Interfaces(host.near(subject, basis)?),
        };
        let facts = notes::NEARNESS.iter().filter(|fact| **fact != "pairing" || basis == Basis::Pairing);
        let rests_on = notes::sources(host, &facts.copied().collect::<Vec<_>>());
        Ok(Self { of, subject, logical_core, list, functions, rests_on })
    }

    fn text(&self, host: &Host, wide: bool, out: &mut dyn Write) -> io::Result<()> {
        if let Some(core) = &self.logical_core {
            core.text(out)?;
        }
        match &self.list {
            List::Interfaces(list) => self.interfaces(host, list, wide, out)?,
            List::Devices(list) => self.accelerators(host, list, wide, out)?,
        }
        let facts: Vec<&str> = self.rests_on.iter().map(|source| source.fact).collect();
        if facts.is_empty() || self.is_empty() { Ok(()) } else { notes::write(host, &facts, out) }
    }

    fn is_empty(&self) -> bool {
        let functions = self.functions.as_ref().is_none_or(|functions| functions.entries.is_empty());
        functions
            && match &self.list {
                List::Interfaces(list) => list.entries.is_empty(),
                List::Devices(list) => list.entries.is_empty(),
            }
    }

    fn interfaces(&self, host: &Host, list: &NearList<Bdf>, wide: bool, out: &mut dyn Write) -> io::Result<()> {
        if list.entries.is_empty() {
            return writeln!(out, "This host has no EFA interface.");
        }
        let efa = |near: &Near<Bdf>| host.find_efa(near.target).ok();
        let mut table = Table::of(&list.entries);
        table.add("RANK", |near| near.rank.to_string());
        table.add("EFA", |near| near.target.to_string());
        table.add("RDMA", |near| or_unknown(efa(near).and_then(|efa| efa.rdma.as_ref())));
        table.add("NODE", |near| or_unknown(efa(near).and_then(|efa| efa.node())));
        table.add("NUMA", |near| or_unknown(efa(near).and_then(|efa| efa.function.numa)));
        if wide {
            table.add("CPUS", |near| or_unknown(efa(near).map(|efa| &efa.function.cpus)));
        }
        access(&mut table, &list.entries);
        table.add("WHY", why);
        table.write(out)?;
        if let Some(address) = list.missing_pair {
            writeln!(
                out,
                "\nThe table pairs {} with {address}, which this host does not have: the interfaces are ranked by PCIe path and \
                 NUMA node.",
                self.of
            )?;
        }
        let unknown = match self.subject {
            Anchor::Function { .. } => UNKNOWN_PATHS,
            Anchor::Numa { .. } => "the NUMA nodes of the interfaces are unknown",
            _ => "the PCI address of the device is unknown (--probe asks the Neuron driver)",
        };
        nearest(list, "interfaces", unknown, out)
    }

    /// Writes the numbered devices. Writes the PCI functions too if one of them belongs to no numbered device.
    fn accelerators(
        &self,
        host: &Host,
        list: &NearList<HostDevice>,
        wide: bool,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let numbered =
            |near: &Near<Bdf>| host.neuron_devices().iter().any(|device| device.address() == Some(near.target));
        let functions = self.functions.as_ref().filter(|functions| !functions.entries.iter().all(numbered));
        if let Some(functions) = functions {
            function_table(host, &functions.entries, wide, out)?;
            nearest(functions, "functions", UNKNOWN_PATHS, out)?;
            if list.nearest().next().is_none() {
                // All devices have rank 1 "unknown": a table of the devices would add nothing.
                return match list.entries.len() {
                    0 => Ok(()),
                    _ => writeln!(
                        out,
                        "\nThe /dev/neuronN numbers of these Neuron functions are unknown: --probe asks the Neuron driver."
                    ),
                };
            }
            writeln!(out)?;
        }
        if list.entries.is_empty() {
            return writeln!(out, "This host has no Neuron device and no GPU.");
        }
        devices(host, list, wide, out)?;
        let unknown = "the PCI addresses of the devices are unknown (--probe asks the Neuron driver)";
        nearest(list, "devices", unknown, out)
    }
}

fn devices(host: &Host, list: &NearList<HostDevice>, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    let device = |near: &Near<HostDevice>| host.find_neuron(near.target).ok();
    let mut table = Table::of(&list.entries);
    table.add("RANK", |near| near.rank.to_string());
    table.add("DEVICE", |near| near.target.to_string());
    table.add("CORES", |near| or_unknown(device(near).map(|device| device.cores)));
    table.add("PCI", |near| or_unknown(device(near).and_then(|device| device.address())));
    table.add("NUMA", |near| or_unknown(device(near).and_then(|device| device.function()?.numa)));
    if wide {
        table.add("CPUS", |near| or_unknown(device(near).and_then(|device| Some(&device.function()?.cpus))));
    }
    access(&mut table, &list.entries);
    table.add("WHY", why);
    table.write(out)
}

fn function_table(host: &Host, functions: &[Near<Bdf>], wide: bool, out: &mut dyn Write) -> io::Result<()> {
    let member = |near: &Near<Bdf>| host.members().find(|member| member.address() == Some(near.target));
    let function = |near: &Near<Bdf>| member(near).and_then(Member::function);
    let mut table = Table::of(functions);
    table.add("RANK", |near| near.rank.to_string());
    table.add("FUNCTION", |near| near.target.to_string());
    table.add("DEVICE", |near| {
        or_unknown(member(near).map(|member| match member {
            Member::Neuron(device) => device.index.to_string(),
            Member::Gpu(_) => "GPU".to_owned(),
            _ => "Neuron device".to_owned(),
        }))
    });
    table.add("NUMA", |near| or_unknown(function(near).and_then(|function| function.numa)));
    if wide {
        table.add("CPUS", |near| or_unknown(function(near).map(|function| &function.cpus)));
    }
    access(&mut table, functions);
    table.add("WHY", why);
    table.write(out)
}

impl Logical {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let LogicalCoreRow { logical, device, physical, evidence, .. } = &self.row;
        let cores: Vec<String> = physical.iter().map(|core| format!("{device}:{}", core.0)).collect();
        let lnc = self.lnc.as_ref().map_or_else(String::new, |lnc| format!("LNC {}, {}; ", lnc.size, lnc.evidence));
        writeln!(out, "nc{logical} is {} ({lnc}order of cores: {evidence}).\n", cores.join(" and "))
    }
}

fn why<T>(near: &Near<T>) -> String {
    match &near.evidence {
        Evidence::Place { proximity } => proximity.to_string(),
        other if near.proximity == Proximity::Unknown => other.to_string(),
        other => format!("{other}, {}", near.proximity),
    }
}

/// Adds whether this process can use each neighbour, unless nothing is known about this, as for a table.
fn access<T>(table: &mut Table<'_, Near<T>>, entries: &[Near<T>]) {
    if entries.iter().any(|near| near.usability != Usability::Unknown) {
        table.add("ACCESS", |near| near.usability.to_string());
    }
}

/// Writes which neighbours are nearest if this is not the first line of the table: a tie, an unknown place, or nearer
/// neighbours that cannot be used.
fn nearest<T: Display>(list: &NearList<T>, plural: &str, unknown: &str, out: &mut dyn Write) -> io::Result<()> {
    let nearest: Vec<&Near<T>> = list.nearest().collect();
    let passed_over: Vec<&Near<T>> = list.passed_over().collect();
    match &nearest[..] {
        [] if passed_over.is_empty() => writeln!(out, "\nThe nearest is unknown: {unknown}."),
        [] => writeln!(out, "\nNone of the {plural} can be used here."),
        [first, rest @ ..] => {
            match rest.len() {
                0 if passed_over.is_empty() => {}
                0 => writeln!(out, "\nThe nearest that can be used here is {}.", first.target)?,
                more => writeln!(out, "\n{} {plural} are equally near: a tie at rank {}.", more + 1, first.rank)?,
            }
            evidence::write_unusable(passed_over, out)
        }
    }
}
