//! `nearfab instances`: the instance tables.

mod detail;

use std::io::{self, Write};

use nearfab::instances::{Grade, InstanceTable, tables};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{Output, answer};
use crate::table::{Table, UNKNOWN, or_unknown};

pub(crate) fn write(instance_type: Option<&str>, output: Output, out: &mut dyn Write) -> Result<(), Failure> {
    match (instance_type, output) {
        (None, Output::Json) => {
            let instances = tables().iter().map(Summary::of).collect();
            answer("instances", Summaries { instances }, out)?;
        }
        (None, output) => summaries(output == Output::Wide, out)?,
        (Some(name), Output::Json) => answer("instance", detail::Detail::of(InstanceTable::find(name)?), out)?,
        (Some(name), output) => detail::text(InstanceTable::find(name)?, output == Output::Wide, out)?,
    }
    Ok(())
}

#[derive(Serialize)]
struct Summaries {
    instances: Vec<Summary>,
}

/// The summary of an instance table: one line of the text form.
#[derive(Serialize)]
struct Summary {
    instance_type: &'static str,
    neuron_product: Option<&'static str>,
    neuron: usize,
    efa: usize,
    gpu: usize,
    foreign: usize,
    pairing: Option<Grade>,
    places: Option<Grade>,
    assumptions: Vec<&'static str>,
}

impl Summary {
    fn of(table: &InstanceTable) -> Self {
        let grade = |fact: &str| table.source(fact).map(|source| source.grade);
        // An address, a NUMA node or a path is as certain as the worst of the facts that it follows from.
        let places = ["neuron", "efa", "gpu", "numa", "path"].into_iter().filter_map(grade);
        let assumptions = table.sources.iter().flat_map(|source| source.assumptions).copied();
        let mut summary = Self {
            instance_type: table.instance_type,
            neuron_product: table.neuron_product,
            neuron: table.neuron.len(),
            efa: table.efa.len(),
            gpu: table.gpu.len(),
            foreign: table.foreign.len(),
            pairing: grade("pairing"),
            places: places.max(),
            assumptions: assumptions.collect(),
        };
        summary.assumptions.sort_unstable();
        summary.assumptions.dedup();
        summary
    }
}

fn summaries(wide: bool, out: &mut dyn Write) -> io::Result<()> {
    let summaries: Vec<Summary> = tables().iter().map(Summary::of).collect();
    let number = |count: usize| if count == 0 { UNKNOWN.to_owned() } else { count.to_string() };
    let mut table = Table::of(&summaries);
    table.add("TYPE", |summary| summary.instance_type.to_owned());
    table.add("PRODUCT", |summary| or_unknown(summary.neuron_product));
    table.add("NEURON", |summary| number(summary.neuron));
    table.add("EFA", |summary| number(summary.efa));
    table.add("GPU", |summary| number(summary.gpu));
    if wide {
        table.add("OTHER RDMA", |summary| number(summary.foreign));
    }
    table.add("PAIRING", |summary| or_unknown(summary.pairing));
    table.add("PLACES", |summary| or_unknown(summary.places));
    table.add("ASSUMPTIONS", |summary| or_unknown(Some(summary.assumptions.join(", "))));
    table.write(out)?;
    writeln!(
        out,
        "\nPAIRING and PLACES are the grade of the least certain fact about pairing, and about addresses, NUMA nodes and paths.\n\
         The whole table of one type: nearfab instances TYPE"
    )
}
