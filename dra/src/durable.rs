//! Writes, renames and removes files so that each file survives a crash whole: after the crash, the file has its old
//! content or its new content, never a part.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use crate::error::{Error, Result};

/// The suffix of a file that is being written. The driver reads no such file as a checkpoint, and a container runtime
/// reads no such file as a CDI file.
const UNFINISHED: &str = ".tmp";

/// Writes `content` to `dir/name` durably. Writes nothing if the file already has this content.
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

/// Removes `dir/name` durably. Succeeds if the file does not exist.
pub(crate) fn remove(dir: &Path, name: &str) -> Result<()> {
    let path = dir.join(name);
    match fs::remove_file(&path) {
        Ok(()) => sync(dir),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("remove", &path)(error)),
    }
}

/// Renames `dir/from` to `dir/to` durably.
pub(crate) fn rename(dir: &Path, from: &str, to: &str) -> Result<()> {
    let path = dir.join(from);
    fs::rename(&path, dir.join(to)).map_err(failed("rename", &path))?;
    sync(dir)
}

/// Returns the sorted names in `dir` that begin with `prefix`. Removes the files that a crash left unfinished.
pub(crate) fn list(dir: &Path, prefix: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed("list", dir))? {
        let entry = entry.map_err(failed("list", dir))?;
        // The driver writes no name that is not UTF-8.
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

/// Creates the folder `dir` with its parents.
pub(crate) fn create_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(failed("create", dir))
}

/// Syncs a folder. A rename or removal in the folder is durable only after the sync.
fn sync(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync", dir))
}

/// Turns an I/O error into an [`Error::File`] that names the action and the file.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}
