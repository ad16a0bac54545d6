//! The distance between each two devices, in the form of `nvidia-smi topo -m`.

use std::io::{self, Write};

use nearfab::{Host, MatrixMember, Proximity};

use crate::table::{Table, or_unknown};
use crate::{head, notes};

/// The codes of [`Proximity::code`], from near to far. The codes mean the same as in `nvidia-smi topo -m`.
const LEGEND: [(&str, &str); 8] = [
    ("X", "the same device"),
    ("PIX", "same PCIe switch: at most one switch between the two"),
    ("PXB", "several PCIe bridges between the two, but not the host bridge"),
    ("PHB", "same PCI root (host bridge): the closest level on hosts without PCIe switches"),
    ("NODE", "same NUMA node, different PCI roots (host bridges)"),
    ("SYS", "different NUMA nodes"),
    ("?", "unknown"),
    ("*", "paired by the vendor: nearest, whatever the code says"),
];

pub(super) fn text(host: &Host, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    head::write(host, out)?;
    let matrix = host.matrix();
    if matrix.members.is_empty() {
        return Ok(());
    }
    let rows: Vec<(&MatrixMember, &Vec<Proximity>)> = matrix.members.iter().zip(&matrix.cells).collect();
    let mut table = Table::of(&rows);
    table.add("", |(row, _)| row.id.clone());
    table.add("", |(row, _)| row.name.clone());
    if wide {
        table.add("PCI", |(row, _)| or_unknown(row.address));
    }
    for (i, column) in matrix.members.iter().enumerate() {
        table.add(&column.id, |(row, cells)| {
            cells.get(i).map_or_else(String::new, |cell| text_of(*cell, matrix.paired(row, column), wide))
        });
    }
    table.add("NUMA", |(row, _)| or_unknown(row.numa));
    table.add("CPU AFFINITY", |(row, _)| or_unknown(Some(&row.cpus)));
    writeln!(out)?;
    table.write(out)?;
    writeln!(out)?;
    let occurs = |code: &str| match code {
        "*" => !matrix.pairs.is_empty(),
        code => matrix.cells.iter().flatten().any(|cell| cell.code() == code),
    };
    for (code, meaning) in LEGEND.iter().filter(|(code, _)| occurs(code)) {
        writeln!(out, "{code:4}  {meaning}")?;
    }
    notes::write(host, &notes::NEARNESS, out)
}

/// Returns the code, with `*` for a pair; wide tables add the number of bridges: `PIX2*`.
fn text_of(proximity: Proximity, paired: bool, wide: bool) -> String {
    let bridges = match proximity {
        Proximity::SameSwitch { bridges } if wide => bridges.to_string(),
        _ => String::new(),
    };
    format!("{}{bridges}{}", proximity.code(), if paired { "*" } else { "" })
}
