//! The NeuronLinks between Neuron devices.

use std::collections::BTreeSet;
use std::io::{self, Write};

use nearfab::{Host, HostDevice, Links};
use serde::Serialize;

use crate::table::Table;
use crate::{head, notes};

/// The links, and the devices without a node in `/dev`.
#[derive(Serialize)]
pub(super) struct Drawing {
    links: Vec<Links>,
    hidden: Vec<HostDevice>,
}

impl Drawing {
    pub(super) fn of(host: &Host) -> Self {
        let visible: BTreeSet<HostDevice> = host.visible_neuron().map(|device| device.index).collect();
        let all = host.neuron_devices().iter().map(|device| device.index);
        Self { links: host.links(), hidden: all.filter(|device| !visible.contains(device)).collect() }
    }

    fn is_hidden(&self, device: HostDevice) -> bool {
        self.hidden.contains(&device)
    }

    /// Returns `[ 5 ]`, or `( 5 )` for a device without a node in `/dev`.
    fn label(&self, device: HostDevice) -> String {
        let (open, close) = if self.is_hidden(device) { ('(', ')') } else { ('[', ']') };
        format!("{open}{:^3}{close}", device.0)
    }

    /// Whether the links form four rows of four devices, each device linked to the next in its row and in its column, and the last
    /// to the first.
    fn is_torus(&self) -> bool {
        let numbers = |links: &Links| -> BTreeSet<u32> { links.neighbours.iter().map(|device| device.0).collect() };
        let in_torus = |links: &Links| {
            let (row, column) = (links.device.0 / 4, links.device.0 % 4);
            let at = |row: u32, column: u32| row % 4 * 4 + column % 4;
            numbers(links)
                == [at(row + 1, column), at(row + 3, column), at(row, column + 1), at(row, column + 3)].into()
        };
        self.links.iter().map(|links| links.device.0).eq(0..16) && self.links.iter().all(in_torus)
    }
}

pub(super) fn text(host: &Host, out: &mut dyn Write) -> io::Result<()> {
    head::write(host, out)?;
    if host.neuron_devices().is_empty() {
        return writeln!(out, "\nThis host has no Neuron device.");
    }
    let drawing = Drawing::of(host);
    writeln!(out)?;
    if drawing.links.iter().all(|links| links.neighbours.is_empty()) {
        return match drawing.links.is_empty() {
            true => writeln!(out, "The links between Neuron devices are unknown."),
            false => writeln!(out, "There are no links between Neuron devices."),
        };
    }
    if drawing.is_torus() {
        torus(&drawing, out)?
    } else {
        list(&drawing, out)?
    }
    writeln!(out)?;
    if !drawing.hidden.is_empty() {
        writeln!(out, "Devices in ( ) have no node in /dev.")?;
    }
    let evidence: BTreeSet<String> = drawing.links.iter().map(|links| links.evidence.to_string()).collect();
    let evidence: Vec<String> = evidence.into_iter().collect();
    writeln!(out, "Links by: {}; link state was not checked.", evidence.join(" and "))?;
    notes::write_sources_of(host, &["links"], out)
}

/// Draws the torus in the form of `neuron-ls --topology`.
fn torus(drawing: &Drawing, out: &mut dyn Write) -> io::Result<()> {
    let column = |sign: &str| format!("{:8}{}", "", [sign; 4].join(&" ".repeat(8)));
    for (i, row) in drawing.links.chunks(4).enumerate() {
        let signs = if i == 0 { ["*", "│", "▼"] } else { ["▲", "│", "▼"] };
        for sign in signs {
            writeln!(out, "{}", column(sign))?;
        }
        let devices: Vec<String> = row.iter().map(|links| drawing.label(links.device)).collect();
        writeln!(out, "  *––►{}◄––*", devices.join("◄––►"))?;
    }
    for sign in ["▲", "│", "*"] {
        writeln!(out, "{}", column(sign))?;
    }
    writeln!(out, "\n*––► continues at the other end of the row or column.")
}

fn list(drawing: &Drawing, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::of(&drawing.links);
    let label = |device: HostDevice| match drawing.is_hidden(device) {
        true => format!("({device})"),
        false => device.to_string(),
    };
    table.add("DEVICE", |links| label(links.device));
    table.add("LINKED TO", |links| links.neighbours.iter().map(|device| label(*device)).collect::<Vec<_>>().join(", "));
    table.write(out)
}
