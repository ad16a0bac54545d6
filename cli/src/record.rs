//! `nearfab record`: this host and what is around it in one file.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use nearfab::Record;

use crate::failure::Failure;

/// Writes the record to a new file, or to standard output.
pub(crate) fn write(record: &Record, redact: bool, to: Option<&Path>, out: &mut dyn Write) -> Result<(), Failure> {
    let text = if redact { record.redacted().to_json() } else { record.to_json() };
    match to {
        None => writeln!(out, "{text}")?,
        Some(path) => write_new(path, &text)?,
    }
    Ok(())
}

/// A record of the past is not overwritten.
pub(crate) fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let written = File::create_new(path).and_then(|mut file| writeln!(file, "{text}"));
    written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}
