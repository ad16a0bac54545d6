//! The forms of the output.

use std::io::{self, Write};

use clap::ValueEnum;

/// The version of the JSON forms. The form of `list` has the version of recorded hosts instead.
pub(crate) const FORMAT: u32 = 1;

/// A form of the output.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    #[default]
    Table,
    Wide,
    Json,
}

/// Writes a value as JSON; if the value cannot be written as JSON, writes nothing and fails.
pub(crate) fn json(value: &impl serde::Serialize, out: &mut dyn Write) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    writeln!(out, "{text}")
}
