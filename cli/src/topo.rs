//! `nearfab topo`: drawings of a host.

mod links;
mod matrix;
mod tree;

use std::io::{self, Write};

use clap::ValueEnum;
use nearfab::Host;
use nearfab::instances::Source;
use serde::Serialize;

use crate::notes;
use crate::output::{Output, answer};

#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum Form {
    /// NUMA nodes, PCI roots, bridges, and the devices below them.
    #[default]
    Tree,
    /// The distance between each two devices, in the codes of nvidia-smi topo -m.
    Matrix,
    /// The NeuronLinks between Neuron devices.
    Links,
}

pub(crate) fn write(host: &Host, form: Form, output: Output, out: &mut dyn Write) -> io::Result<()> {
    match (form, output) {
        (Form::Tree, Output::Json) => drawing("topo-tree", host.tree(), host, &[], out),
        (Form::Matrix, Output::Json) => drawing("topo-matrix", host.matrix(), host, &notes::NEARNESS, out),
        (Form::Links, Output::Json) => drawing("topo-links", links::Drawing::of(host), host, &["links"], out),
        (Form::Tree, output) => tree::text(host, output == Output::Wide, out),
        (Form::Matrix, output) => matrix::text(host, output == Output::Wide, out),
        (Form::Links, _) => links::text(host, out),
    }
}

fn drawing<T: Serialize>(
    schema: &'static str,
    of: T,
    host: &Host,
    facts: &[&str],
    out: &mut dyn Write,
) -> io::Result<()> {
    #[derive(Serialize)]
    struct Drawing<T> {
        #[serde(flatten)]
        of: T,
        rests_on: Vec<&'static Source>,
    }
    answer(schema, Drawing { of, rests_on: notes::sources(host, facts) }, out)
}
