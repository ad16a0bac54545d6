//! The forms of the output.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

/// The version of the answers in JSON. Recorded hosts have another version.
const FORMAT: u32 = 1;

/// A form of the output.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    #[default]
    Table,
    Wide,
    Json,
}

/// An answer with the name of its schema: the file in docs/reference/schema.
#[derive(Serialize)]
pub(crate) struct Answer<T> {
    schema: &'static str,
    format: u32,
    #[serde(flatten)]
    answer: T,
}

impl<T> Answer<T> {
    pub(crate) fn new(schema: &'static str, answer: T) -> Self {
        Self { schema, format: FORMAT, answer }
    }
}

/// Writes an answer as JSON, with the name of its schema.
pub(crate) fn answer(schema: &'static str, answer: impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    json(&Answer::new(schema, answer), out)
}

/// Writes a value as JSON; if the value cannot be written as JSON, writes nothing and fails.
pub(crate) fn json(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    writeln!(out, "{text}")
}
