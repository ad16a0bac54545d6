//! The nearest devices or interfaces, and the evidence for them.

use std::fmt::Display;
use std::io::{self, Write};

use nearfab::Near;

/// The nearest devices or interfaces, and the evidence.
#[derive(Default)]
pub(crate) struct Nearest {
    /// The names of the devices or interfaces, with `=` between equally near ones.
    pub(crate) targets: String,
    pub(crate) evidence: String,
}

impl Nearest {
    /// Returns `None` if there is no entry.
    pub(crate) fn of<'a, T: Display + 'a>(nearest: impl IntoIterator<Item = &'a Near<T>>) -> Option<Self> {
        let mut nearest = nearest.into_iter().peekable();
        let evidence = nearest.peek()?.evidence.to_string();
        let targets: Vec<String> = nearest.map(|near| near.target.to_string()).collect();
        Some(Self { targets: targets.join(" = "), evidence })
    }
}

/// Writes the neighbours of rank 1 that this process cannot use, each once, if there are any.
pub(crate) fn write_unusable<'a, T: Display + 'a>(
    passed_over: impl IntoIterator<Item = &'a Near<T>>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let nearest = passed_over.into_iter().filter(|near| near.rank == 1);
    let mut texts: Vec<String> = nearest.map(|near| format!("{} ({})", near.target, near.usability)).collect();
    texts.sort_unstable();
    texts.dedup();
    match texts.is_empty() {
        true => Ok(()),
        false => writeln!(out, "Nearest, but not usable here: {}.", texts.join(", ")),
    }
}

/// The evidence of each item of a table, in one line below it.
#[derive(Default)]
pub(crate) struct EvidenceLine {
    items_by_evidence: Vec<(String, Vec<String>)>,
}

impl EvidenceLine {
    pub(crate) fn add(&mut self, evidence: impl Display, item: impl Display) {
        let (evidence, item) = (evidence.to_string(), item.to_string());
        match self.items_by_evidence.iter_mut().find(|(other, _)| *other == evidence) {
            Some((_, items)) => items.push(item),
            None => self.items_by_evidence.push((evidence, vec![item])),
        }
    }

    /// Writes the evidence of most items, and names the others: `LABEL: table trn2.48xlarge, except neuron0 (same PCIe switch)`.
    pub(crate) fn write(mut self, label: &str, out: &mut dyn Write) -> io::Result<()> {
        self.items_by_evidence.sort_by_key(|(_, items)| usize::MAX - items.len());
        let mut lines = self.items_by_evidence.iter();
        let Some((most, _)) = lines.next() else { return Ok(()) };
        let others: String =
            lines.map(|(evidence, items)| format!(", except {} ({evidence})", items.join(", "))).collect();
        writeln!(out, "{label}: {most}{others}")
    }
}
