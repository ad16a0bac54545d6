//! The forms of what is printed.

use std::io::{self, Write};

use clap::ValueEnum;

/// The version of the JSON forms; that of `list` is the recorded host's own.
pub(crate) const FORMAT: u32 = 1;

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    #[default]
    Table,
    Wide,
    Json,
}

/// Prints a JSON form.
pub(crate) fn json(value: &impl serde::Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}
