//! Draws a host as SVG: its NUMA nodes, its PCIe switches or root buses, and a line from each Neuron device to the
//! nearest EFA interfaces.
//!
//! ```sh
//! cargo run --example map -- trn2.48xlarge > trn2.svg   # an instance type
//! cargo run --example map > host.svg                    # this machine
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;

use nearfab::{Basis, EfaInterface, Host, NeuronDevice, PciFunction};

const CELL: usize = 160;
const ROW: usize = 22;
const MARGIN: usize = 12;

/// The Neuron devices and EFA interfaces below one switch, or below one root bus if the machine shows no switch.
#[derive(Default)]
struct Group<'a> {
    devices: Vec<&'a NeuronDevice>,
    interfaces: Vec<&'a EfaInterface>,
}

/// The NUMA node of a group, and the name of its switch or root bus.
type Place = (Option<u32>, String);

fn main() -> Result<(), Box<dyn Error>> {
    let host = match std::env::args().nth(1) {
        Some(instance_type) => Host::from_instance(&instance_type)?,
        None => Host::discover()?,
    };
    std::io::stdout().write_all(draw(&host)?.as_bytes())?;
    Ok(())
}

fn place(function: Option<&PciFunction>) -> Place {
    let name = function.and_then(|f| {
        let switch = f.switch().map(|port| format!("switch {port}"));
        switch.or_else(|| f.root.map(|root| root.to_string()))
    });
    (function.and_then(|f| f.numa), name.unwrap_or_else(|| "unknown place".to_owned()))
}

fn draw(host: &Host) -> Result<String, Box<dyn Error>> {
    let mut groups: BTreeMap<Place, Group> = BTreeMap::new();
    for device in host.neuron_devices() {
        groups.entry(place(device.function())).or_default().devices.push(device);
    }
    for efa in host.efa_interfaces() {
        groups.entry(place(Some(&efa.function))).or_default().interfaces.push(efa);
    }
    let mut by_numa: BTreeMap<Option<u32>, Vec<(&str, &Group)>> = BTreeMap::new();
    for ((numa, name), group) in &groups {
        by_numa.entry(*numa).or_default().push((name, group));
    }

    let columns = by_numa.values().map(Vec::len).max().unwrap_or(1);
    let rows = groups.values().map(|g| g.devices.len().max(g.interfaces.len())).max().unwrap_or(1);
    let (cell_width, cell_height) = (2 * CELL + MARGIN, (rows + 1) * ROW + MARGIN);
    let width = columns * (cell_width + MARGIN) + MARGIN;
    let height = by_numa.len() * (cell_height + ROW + 2 * MARGIN) + ROW + MARGIN;

    let mut svg = String::new();
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="monospace" font-size="12">"#
    )?;
    writeln!(svg, r##"<rect width="{width}" height="{height}" fill="#ffffff"/>"##)?;
    let title = host.instance_type().unwrap_or("this machine");
    text(&mut svg, MARGIN, ROW, "#111111", &format!("{title}: each Neuron device and the EFA interface near it"))?;
    let mut top = ROW + MARGIN;
    for (numa, cells) in &by_numa {
        let numa = numa.map_or("unknown".to_owned(), |node| node.to_string());
        text(&mut svg, MARGIN, top + ROW - 6, "#555555", &format!("NUMA node {numa}"))?;
        for (column, (name, group)) in cells.iter().enumerate() {
            let (x, y) = (MARGIN + column * (cell_width + MARGIN), top + ROW);
            cell(&mut svg, host, (x, y, cell_width, cell_height), name, group)?;
        }
        top += cell_height + ROW + 2 * MARGIN;
    }
    writeln!(svg, "</svg>")?;
    Ok(svg)
}

/// Draws one group: devices on the left, interfaces on the right, and a line from each device to its nearest
/// interfaces. A device without a known nearest interface gets no line.
fn cell(
    svg: &mut String,
    host: &Host,
    (x, y, width, height): (usize, usize, usize, usize),
    name: &str,
    group: &Group,
) -> Result<(), Box<dyn Error>> {
    writeln!(
        svg,
        r##"<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="#f6f8fa" stroke="#c5cdd5"/>"##
    )?;
    text(svg, x + MARGIN, y + ROW - 6, "#555555", name)?;
    let line_y = |row: usize| y + (row + 2) * ROW - 6;
    for (row, device) in group.devices.iter().enumerate() {
        let near = host.near_device(device.index, Basis::Pairing)?;
        for nearest in near.nearest() {
            if let Some(to) = group.interfaces.iter().position(|efa| efa.address() == nearest.target) {
                let (from, to) = (line_y(row) - 4, line_y(to) - 4);
                let (left, right) = (x + CELL - 20, x + CELL + 34);
                writeln!(
                    svg,
                    r##"<line x1="{left}" y1="{from}" x2="{right}" y2="{to}" stroke="#0b7285" stroke-width="2"/>"##
                )?;
            }
        }
        let label = format!("{:8} {} cores", device.index, device.cores);
        text(svg, x + MARGIN, line_y(row), "#111111", &label)?;
    }
    for (row, efa) in group.interfaces.iter().enumerate() {
        text(svg, x + CELL + 40, line_y(row), "#0b7285", &format!("EFA {}", efa.address()))?;
    }
    Ok(())
}

fn text(svg: &mut String, x: usize, y: usize, color: &str, text: &str) -> std::fmt::Result {
    writeln!(svg, r#"<text x="{x}" y="{y}" fill="{color}" xml:space="preserve">{text}</text>"#)
}
