//! The files of the project: the files that git tracks or would add.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::run::{output, workspace};

/// Returns the paths, relative to the workspace, of the files that match the git pathspecs; all files for none.
///
/// # Errors
/// If git does not answer.
pub(crate) fn tracked(pathspecs: &[&str]) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.current_dir(workspace()).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"]);
    let names = output(git.args(pathspecs)).context("listing the files of the project")?;
    Ok(names.split_terminator('\0').map(str::to_owned).collect())
}

/// Returns the text of a file; nothing if the text is not UTF-8, or if the file is deleted and the deletion is not
/// committed.
pub(crate) fn text(name: &str) -> Option<String> {
    fs::read_to_string(workspace().join(name)).ok()
}
