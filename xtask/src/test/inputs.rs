//! What a slow bed depends on, and whether it passed with just that before.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::run::{output, workspace};
use crate::tools;

/// The inputs of a bed as one number.
pub(crate) struct Inputs {
    stamp: PathBuf,
}

impl Inputs {
    /// The compiler, and the content of the files that git has, or would have, below `paths`.
    ///
    /// # Errors
    /// When git or the compiler does not answer.
    pub(crate) fn of(bed: &str, paths: &[&str]) -> Result<Self> {
        let mut git = Command::new("git");
        git.current_dir(workspace()).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"]);
        let files = output(git.args(paths))?;
        let mut digest = Sha256::new();
        digest.update(output(Command::new("rustc").arg("-vV").current_dir(workspace()))?);
        for file in files.split_terminator('\0') {
            // A file that is deleted and not committed so yet counts by its absence.
            let content = fs::read(workspace().join(file)).unwrap_or_default();
            digest.update((file.len() as u64).to_le_bytes());
            digest.update(file);
            digest.update((content.len() as u64).to_le_bytes());
            digest.update(content);
        }
        let mut name = format!("{bed}-");
        for byte in digest.finalize().iter().take(16) {
            write!(name, "{byte:02x}").context("writing to memory")?;
        }
        Ok(Self { stamp: tools::cache()?.join("passed").join(name) })
    }

    pub(crate) fn have_passed(&self) -> bool {
        self.stamp.exists()
    }

    /// # Errors
    /// When the cache folder cannot be written.
    pub(crate) fn keep_as_passed(&self) -> Result<()> {
        let folder = self.stamp.parent().context("a stamp is in a folder")?;
        fs::create_dir_all(folder).and_then(|()| fs::write(&self.stamp, "")).context("keeping what a bed passed with")
    }
}
