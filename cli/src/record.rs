//! `nearfab record`: this host and what is around it in one file.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use nearfab::{Error, Host, Record};

use crate::Failure;

/// A host with its surroundings: as they were recorded in `file`, or as they are.
pub(crate) fn of(host: &Host, file: Option<&Path>) -> Result<Record, Error> {
    match file {
        Some(file) => Record::from_file(file),
        None => Record::take(host),
    }
}

/// Writes the record to a new file, or to standard output.
pub(crate) fn write(record: &Record, to: Option<&Path>, out: &mut dyn Write) -> Result<(), Failure> {
    let text = record.to_json();
    match to {
        None => writeln!(out, "{text}")?,
        Some(path) => write_new(path, &text)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?,
    }
    Ok(())
}

/// A record of the past is not overwritten.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    writeln!(file, "{text}")
}
