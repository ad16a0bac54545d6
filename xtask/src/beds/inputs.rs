//! The inputs of a bed, and whether the bed passed with the same inputs before.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::files;
use crate::run::{output, workspace};
use crate::tools;

/// The inputs of a bed as one number.
pub(crate) struct Inputs {
    stamp: PathBuf,
}

impl Inputs {
    /// Reads the version of the compiler and the content of the files that match the git pathspecs.
    ///
    /// # Errors
    /// If git or the compiler does not answer.
    pub(crate) fn of(bed: &str, pathspecs: &[&str]) -> Result<Self> {
        let mut digest = Sha256::new();
        digest.update(output(Command::new("rustc").arg("-vV").current_dir(workspace()))?);
        for file in files::tracked(pathspecs)? {
            // A file that is deleted, with the deletion not committed, has no content.
            let content = fs::read(workspace().join(&file)).unwrap_or_default();
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

    /// Returns whether the bed passed with these inputs.
    pub(crate) fn have_passed(&self) -> bool {
        self.stamp.exists()
    }

    /// Records that the bed passed with these inputs.
    ///
    /// # Errors
    /// If the cache folder cannot be written.
    pub(crate) fn keep_as_passed(&self) -> Result<()> {
        let folder = self.stamp.parent().context("a stamp is in a folder")?;
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&self.stamp, ""));
        written.with_context(|| format!("writing {}", self.stamp.display()))
    }
}
