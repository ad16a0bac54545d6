//! Writes the files, links and device nodes of a tree.

use std::cell::RefCell;
use std::fmt::Display;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmod, fchmodat, makedev, mkdirat, mknodat};
use nix::unistd::symlinkat;

/// Why a tree was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file, link or folder of the tree could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The path of the file, link or folder.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// No host of the instance type can have the defect: see [`Defect::applies`](crate::Defect::applies).
    #[error("the defect {defect} does not apply to {instance_type}")]
    DoesNotApply {
        /// The text of the defect.
        defect: String,
        /// The instance type.
        instance_type: String,
    },
}

/// The root folder of a tree. All paths in calls of the methods are relative to the root folder.
pub(crate) struct Tree {
    root: PathBuf,
    /// The open folders from the root down to the folder of the last written entry, with their names. The next entry is
    /// usually in one of these folders.
    open: RefCell<Vec<(String, OwnedFd)>>,
}

/// A change to a written tree.
pub(crate) enum Edit {
    /// Removes a file or link.
    Remove(String),
    /// Removes everything in a folder.
    Empty(String),
    /// Removes a folder and everything in it.
    RemoveFolder(String),
    /// Sets the mode of a file to 000, so that only root may open it.
    Refuse(String),
    /// Replaces the content of a file.
    Overwrite(String, &'static str),
}

impl Tree {
    pub(crate) fn create(root: &Path) -> Result<Self, Error> {
        let wrap = |source| Error::Write { path: root.to_owned(), source };
        fs::create_dir_all(root).map_err(wrap)?;
        if fs::read_dir(root).map_err(wrap)?.next().is_some() {
            return Err(wrap(io::Error::other("the folder is not empty")));
        }
        let folder = File::open(root).map_err(wrap)?.into();
        Ok(Self { root: root.to_owned(), open: RefCell::new(vec![(String::new(), folder)]) })
    }

    /// Writes an attribute with these permissions. Adds a line end, as most kernel attributes have one.
    pub(crate) fn attribute(&self, path: &str, mode: u32, value: impl Display) -> Result<(), Error> {
        self.bytes(path, mode, format!("{value}\n").as_bytes())
    }

    pub(crate) fn bytes(&self, path: &str, mode: u32, content: &[u8]) -> Result<(), Error> {
        self.at(path, |folder, name| {
            let new = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
            let mut file = File::from(openat(folder, name, new, Mode::empty())?);
            file.write_all(content)?;
            // `openat` does not set the mode, since the process's umask would remove bits.
            Ok(fchmod(&file, Mode::from_bits_truncate(mode))?)
        })
    }

    /// Writes a symbolic link at `path` to `target`, both in the tree. The link is relative and has the form of sysfs:
    /// up to the nearest common folder, then down.
    pub(crate) fn link(&self, path: &str, target: &str) -> Result<(), Error> {
        let folders: Vec<&str> = path.split('/').collect();
        let parts: Vec<&str> = target.split('/').collect();
        let (folders, target_folders) = (&folders[..folders.len() - 1], &parts[..parts.len() - 1]);
        let common = folders.iter().zip(target_folders).take_while(|(a, b)| a == b).count();
        let relative = "../".repeat(folders.len() - common) + &parts[common..].join("/");
        self.at(path, |folder, name| Ok(symlinkat(relative.as_str(), folder, name)?))
    }

    /// Writes a character device like `/dev/null` that every user may open, as udev's rules set it. Writes an empty
    /// file if this process may not make devices.
    pub(crate) fn device_node(&self, path: &str) -> Result<(), Error> {
        const EVERY_USER: u32 = 0o666;
        let written = self.at(path, |folder, name| {
            mknodat(folder, name, SFlag::S_IFCHR, Mode::empty(), makedev(1, 3))?;
            Ok(fchmodat(folder, name, Mode::from_bits_truncate(EVERY_USER), FchmodatFlags::FollowSymlink)?)
        });
        match written {
            Err(Error::Write { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
                self.bytes(path, EVERY_USER, b"")
            }
            other => other,
        }
    }

    pub(crate) fn edit(&self, edit: &Edit) -> Result<(), Error> {
        let (Edit::Remove(path)
        | Edit::Empty(path)
        | Edit::RemoveFolder(path)
        | Edit::Refuse(path)
        | Edit::Overwrite(path, _)) = edit;
        let path = self.root.join(path);
        let mode = |mode| fs::set_permissions(&path, Permissions::from_mode(mode));
        let edited = match edit {
            Edit::Remove(_) => fs::remove_file(&path),
            Edit::Empty(_) => fs::remove_dir_all(&path).and_then(|()| fs::create_dir(&path)),
            Edit::RemoveFolder(_) => fs::remove_dir_all(&path),
            Edit::Refuse(_) => mode(0o000),
            Edit::Overwrite(_, text) => fs::metadata(&path).and_then(|old| {
                mode(0o600)?;
                fs::write(&path, text)?;
                fs::set_permissions(&path, old.permissions())
            }),
        };
        edited.map_err(|source| Error::Write { path, source })
    }

    /// Writes an entry with `write`, which gets the entry's folder and name.
    fn at(&self, path: &str, write: impl FnOnce(&OwnedFd, &str) -> io::Result<()>) -> Result<(), Error> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut open = self.open.borrow_mut();
        enter(&mut open, folder)
            .and_then(|()| open.last().map_or_else(|| Err(Errno::ENOENT.into()), |(_, folder)| write(folder, name)))
            .map_err(|source| Error::Write { path: self.root.join(path), source })
    }
}

/// Opens each folder on the path to `folder`, and creates the missing ones. Keeps the folders in `open` that are on
/// this path.
fn enter(open: &mut Vec<(String, OwnedFd)>, folder: &str) -> io::Result<()> {
    let parts = || folder.split('/').filter(|part| !part.is_empty());
    let common = parts().zip(open.iter().skip(1)).take_while(|(part, (name, _))| part == name).count();
    open.truncate(1 + common);
    for part in parts().skip(common) {
        let Some((_, above)) = open.last() else { break };
        match mkdirat(above, part, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let folder = openat(above, part, flags, Mode::empty())?;
        open.push((part.to_owned(), folder));
    }
    Ok(())
}
