//! A file tree under construction.

use std::fmt::Display;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

/// A tree that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct Error {
    path: PathBuf,
    source: io::Error,
}

/// The folder that stands for `/`. All paths given to it are relative.
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    pub(crate) fn create(root: &Path) -> Result<Self, Error> {
        let wrap = |source| Error { path: root.to_owned(), source };
        fs::create_dir_all(root).map_err(wrap)?;
        if fs::read_dir(root).map_err(wrap)?.next().is_some() {
            return Err(wrap(io::Error::other("the folder is not empty")));
        }
        Ok(Self { root: root.to_owned() })
    }

    /// A readable attribute; a line end is added, as kernel attributes have one.
    pub(crate) fn attribute(&self, path: &str, value: impl Display) -> Result<(), Error> {
        self.bytes(path, format!("{value}\n").as_bytes())
    }

    pub(crate) fn bytes(&self, path: &str, content: &[u8]) -> Result<(), Error> {
        self.at(path, |path| fs::write(path, content))
    }

    /// A symbolic link at `path` to `target`, both within the tree; relative, and in the form that sysfs gives it: up to
    /// the nearest folder that holds both, then down.
    pub(crate) fn link(&self, path: &str, target: &str) -> Result<(), Error> {
        let folders: Vec<&str> = path.split('/').collect();
        let parts: Vec<&str> = target.split('/').collect();
        let (folders, holders) = (&folders[..folders.len() - 1], &parts[..parts.len() - 1]);
        let common = folders.iter().zip(holders).take_while(|(a, b)| a == b).count();
        let relative = "../".repeat(folders.len() - common) + &parts[common..].join("/");
        self.at(path, |path| symlink(relative, path))
    }

    /// A null-like character device, or an empty file where the system does not let this process make one.
    pub(crate) fn device_node(&self, path: &str) -> Result<(), Error> {
        self.at(path, |path| {
            match mknod(path, SFlag::S_IFCHR, Mode::empty(), makedev(1, 3)) {
                Err(Errno::EPERM) => fs::write(path, b"")?,
                other => other?,
            }
            fs::set_permissions(path, Permissions::from_mode(0o666))
        })
    }

    fn at(&self, path: &str, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), Error> {
        let path = self.root.join(path);
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).and_then(|()| write(&path)).map_err(|source| Error { path, source })
    }
}
