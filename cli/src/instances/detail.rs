//! The whole table of one instance type.

use std::io::{self, Write};

use nearfab::Bdf;
use nearfab::instances::{
    Assumption, FunctionRow, Grade, InstanceTable, NeuronRow, NumaRow, Product, Source, assumptions as all_assumptions,
};
use serde::Serialize;

use crate::head::count;
use crate::list::chain;
use crate::notes;
use crate::table::{Table, or_unknown, wrapped};

const WIDTH: usize = 120;

/// The table in JSON, with its product and its assumptions.
#[derive(Serialize)]
pub(super) struct Detail {
    #[serde(flatten)]
    table: &'static InstanceTable,
    product: Option<&'static Product>,
    assumptions: Vec<&'static Assumption>,
}

impl Detail {
    pub(super) fn of(table: &'static InstanceTable) -> Self {
        Self { table, product: table.product(), assumptions: assumptions_of(table) }
    }
}

fn assumptions_of(table: &InstanceTable) -> Vec<&'static Assumption> {
    let is_used =
        |assumption: &&Assumption| table.sources.iter().any(|source| source.assumptions.contains(&assumption.id));
    all_assumptions().iter().filter(is_used).collect()
}

pub(super) fn text(table: &InstanceTable, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", counts(table))?;
    numa(table.numa, table.source("numa"), out)?;
    neuron(table, out)?;
    functions("EFA interfaces", table.efa, table.source("efa"), out)?;
    functions("GPUs", table.gpu, table.source("gpu"), out)?;
    functions("RDMA devices that are not EFA interfaces", table.foreign, table.source("foreign"), out)?;
    writeln!(out, "\nSources")?;
    notes::write_sources(table.sources, out)?;
    write_assumptions(table, wide, out)
}

fn counts(table: &InstanceTable) -> String {
    let mut counts = Vec::new();
    if table.neuron.is_empty() {
        counts.push(count(0, "Neuron device"));
    } else if let Some(product) = table.product() {
        let devices = count(table.neuron.len(), product.name);
        let (cores, memory) = (product.cores, product.memory >> 30);
        // `count` adds a plural `s`, and the name of a product has no plural.
        counts.push(format!("{} ({cores} cores, {memory} GiB each)", devices.trim_end_matches('s')));
    }
    counts.push(count(table.efa.len(), "EFA interface"));
    if !table.gpu.is_empty() {
        counts.push(count(table.gpu.len(), "GPU"));
    }
    format!("{}: {}", table.instance_type, counts.join(", "))
}

/// ` (invented)` or ` (inferred)`, for a heading above rows that have that grade.
fn doubt(source: Option<&Source>) -> String {
    match source {
        Some(source) if source.grade >= Grade::Inferred => format!(" ({})", source.grade),
        _ => String::new(),
    }
}

fn numa(rows: &[NumaRow], source: Option<&Source>, out: &mut dyn Write) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nNUMA nodes{}", doubt(source))?;
    let mut table = Table::of(rows);
    table.add("NUMA", |row| row.node.to_string());
    table.add("CPUS", |row| row.cpus.to_owned());
    table.write(out)
}

fn neuron(instance: &InstanceTable, out: &mut dyn Write) -> io::Result<()> {
    if instance.neuron.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nNeuron devices{}", doubt(instance.source("neuron")))?;
    let mut table = Table::of(instance.neuron);
    table.add("DEVICE", |row: &NeuronRow| row.index.to_string());
    table.add("PCI", |row| row.address.to_string());
    table.add("NUMA", |row| or_unknown(row.numa));
    table.add("LINKED", |row| or_unknown(row.links.map(numbers)));
    table.add("PAIRED EFA", |row| or_unknown(row.efa));
    bridges(&mut table, instance.neuron, |row| row.bridges);
    table.write(out)
}

fn numbers(links: &[nearfab::HostDevice]) -> String {
    let mut numbers: Vec<u32> = links.iter().map(|device| device.0).collect();
    numbers.sort_unstable();
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn functions(what: &str, rows: &[FunctionRow], source: Option<&Source>, out: &mut dyn Write) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n{what}{}", doubt(source))?;
    let mut table = Table::of(rows);
    table.add("PCI", |row| row.address.to_string());
    table.add("ID", |row| row.id.to_string());
    table.add("NUMA", |row| or_unknown(row.numa));
    bridges(&mut table, rows, |row| row.bridges);
    table.write(out)
}

/// Adds the column of bridges if a row has bridges.
fn bridges<T>(table: &mut Table<'_, T>, rows: &[T], of: impl Fn(&T) -> &[Bdf]) {
    if rows.iter().any(|row| !of(row).is_empty()) {
        table.add("BRIDGES", |row| or_unknown(Some(chain(of(row)))));
    }
}

fn write_assumptions(table: &InstanceTable, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    let assumptions = assumptions_of(table);
    if assumptions.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nAssumptions, not seen on a host")?;
    for assumption in assumptions {
        writeln!(out, "  {}", assumption.id)?;
        wrapped(assumption.statement, "      ", WIDTH, out)?;
        wrapped(&format!("Why: {}", assumption.source), "      ", WIDTH, out)?;
        wrapped(&format!("How to check: {}", assumption.settled_by), "      ", WIDTH, out)?;
        if wide {
            wrapped(&format!("Used for: {}", assumption.instance_types.join(", ")), "      ", WIDTH, out)?;
        }
    }
    Ok(())
}
