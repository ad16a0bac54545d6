//! What is nearest, and who says so.

use std::fmt::Display;
use std::io::{self, Write};

use nearfab::Near;

/// The nearest, ties as ties, and why.
#[derive(Default)]
pub(crate) struct Nearest {
    pub(crate) targets: String,
    pub(crate) why: String,
}

impl Nearest {
    pub(crate) fn of<'a, T: Display + 'a>(entries: impl IntoIterator<Item = &'a Near<T>>) -> Option<Self> {
        let mut entries = entries.into_iter().peekable();
        let why = entries.peek()?.evidence.to_string();
        let targets: Vec<String> = entries.map(|near| near.target.to_string()).collect();
        Some(Self { targets: targets.join(" = "), why })
    }
}

/// Who says something of each device, said once where it is the same of most.
#[derive(Default)]
pub(crate) struct Evidence {
    by: Vec<(String, Vec<String>)>,
}

impl Evidence {
    pub(crate) fn add(&mut self, why: impl Display, of: impl Display) {
        let (why, of) = (why.to_string(), of.to_string());
        match self.by.iter_mut().find(|(other, _)| *other == why) {
            Some((_, all)) => all.push(of),
            None => self.by.push((why, vec![of])),
        }
    }

    /// `table trn2.48xlarge, but same PCIe switch of neuron0`.
    pub(crate) fn write(mut self, what: &str, out: &mut dyn Write) -> io::Result<()> {
        self.by.sort_by_key(|(_, of)| usize::MAX - of.len());
        let mut said = self.by.iter();
        let Some((most, _)) = said.next() else { return Ok(()) };
        let rest: String = said.map(|(why, of)| format!(", but {why} of {}", of.join(", "))).collect();
        writeln!(out, "{what}: {most}{rest}")
    }
}
