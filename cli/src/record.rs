//! `nearfab record`: one file with this host, its system and its configuration.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use nearfab::Record;

use crate::failure::Failure;

/// Writes the record to a new file, or to standard output.
pub(crate) fn write(record: &Record, redact: bool, file: Option<&Path>, out: &mut dyn Write) -> Result<(), Failure> {
    let text = json(&if redact { record.redacted() } else { record.clone() })?;
    match file {
        None => writeln!(out, "{text}")?,
        Some(path) => write_new(path, &text)?,
    }
    Ok(())
}

/// Returns the JSON of a record; fails if the record cannot be written as JSON, so that no empty file is left.
pub(crate) fn json(record: &Record) -> io::Result<String> {
    let text = record.to_json();
    if text.is_empty() {
        let origin = record.host.origin();
        return Err(io::Error::other(format!("{origin} cannot be written as JSON: its path is not UTF-8")));
    }
    Ok(text)
}

/// Creates a file. Fails if it exists: a record of the past is not overwritten.
pub(crate) fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let written = File::create_new(path).and_then(|mut file| writeln!(file, "{text}"));
    written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}
