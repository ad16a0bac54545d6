//! Files that survive a crash whole: the old content or the new, never a half.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use crate::error::{Error, Result};

/// What a file is called while it is being written; neither a record nor, for a container runtime, a CDI file.
const UNFINISHED: &str = ".tmp";

/// Makes `dir/name` contain `content`, durably. Nothing is written when it already does.
pub(crate) fn write(dir: &Path, name: &str, content: &[u8]) -> Result<()> {
    let path = dir.join(name);
    if fs::read(&path).is_ok_and(|present| present == content) {
        return Ok(());
    }
    let unfinished = dir.join(format!("{name}{UNFINISHED}"));
    let written = File::create(&unfinished).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.map_err(failed("write", &unfinished))?;
    fs::rename(&unfinished, &path).map_err(failed("replace", &path))?;
    sync(dir)
}

/// Removes `dir/name`, durably. Absent is fine: that is what was wanted.
pub(crate) fn remove(dir: &Path, name: &str) -> Result<()> {
    let path = dir.join(name);
    match fs::remove_file(&path) {
        Ok(()) => sync(dir),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", &path)(error)),
    }
}

/// Gives `dir/from` another name, durably.
pub(crate) fn rename(dir: &Path, from: &str, to: &str) -> Result<()> {
    let path = dir.join(from);
    fs::rename(&path, dir.join(to)).map_err(failed("rename", &path))?;
    sync(dir)
}

/// The names in `dir` that begin with `prefix`, sorted, without those a crash left unfinished: they are removed.
pub(crate) fn list(dir: &Path, prefix: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed("list", dir))? {
        let entry = entry.map_err(failed("list", dir))?;
        // Names that are not UTF-8 are not ours.
        let Ok(name) = entry.file_name().into_string() else { continue };
        if !name.starts_with(prefix) {
            continue;
        }
        if name.ends_with(UNFINISHED) {
            remove(dir, &name)?;
        } else {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Creates `dir` with its parents.
pub(crate) fn create_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(failed("create", dir))
}

/// A rename or removal is durable once its folder is.
fn sync(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync", dir))
}

/// An I/O error with what was tried on which file.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}
