//! Text in columns.

use std::io::{self, Write};

/// The sign of an unknown value.
pub(crate) const UNKNOWN: &str = "-";

/// Returns the text of a value, or the sign of an unknown value if the value or its text is missing.
pub(crate) fn or_unknown(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).filter(|text| !text.is_empty()).unwrap_or_else(|| UNKNOWN.to_owned())
}

/// A table with a heading and one line for each item. Each column is as wide as its widest cell.
pub(crate) struct Table<'a, T> {
    items: &'a [T],
    columns: Vec<Vec<String>>,
}

impl<'a, T> Table<'a, T> {
    pub(crate) fn of(items: &'a [T]) -> Self {
        Self { items, columns: Vec::new() }
    }

    /// Adds a column on the right.
    pub(crate) fn add(&mut self, heading: &str, cell: impl Fn(&T) -> String) {
        let mut column = vec![heading.to_owned()];
        column.extend(self.items.iter().map(cell));
        self.columns.push(column);
    }

    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let width = |column: &Vec<String>| column.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = self.columns.iter().map(width).collect();
        for row in 0..=self.items.len() {
            let cell = |(column, width): (&Vec<String>, &usize)| format!("{:width$}", column[row]);
            let line: Vec<String> = self.columns.iter().zip(&widths).map(cell).collect();
            writeln!(out, "{}", line.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// Writes a text in lines of at most `width` characters, each after `indent`. A word that is longer than `width` has a
/// separate line.
pub(crate) fn wrapped(text: &str, indent: &str, width: usize, out: &mut dyn Write) -> io::Result<()> {
    let mut line = indent.to_owned();
    for word in text.split_whitespace() {
        if line.len() > indent.len() && line.chars().count() + 1 + word.chars().count() > width {
            writeln!(out, "{line}")?;
            indent.clone_into(&mut line);
        }
        if line.len() > indent.len() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(out, "{line}")
}
