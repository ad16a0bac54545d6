//! `nearfab man`: the man pages, generated from the help.

use std::fs;
use std::io;
use std::path::Path;

use crate::failure::Failure;

/// Writes `nearfab.1`, and `nearfab-list.1` and so on for each command.
pub(crate) fn write(folder: &Path) -> Result<(), Failure> {
    let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(crate::command(), folder));
    Ok(written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", folder.display())))?)
}
