//! A file tree under construction.

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

/// A tree that could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file, link or folder of it.
    #[error("cannot write {}", path.display())]
    Write {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A defect that no host of the instance type can have: see [`Defect::applies`](crate::Defect::applies).
    #[error("the defect {defect} does not apply to {instance_type}")]
    DoesNotApply {
        /// The defect as it is written.
        defect: String,
        /// The instance type.
        instance_type: String,
    },
}

/// The folder that stands for `/`. All paths given to it are relative.
pub(crate) struct Tree {
    root: PathBuf,
    /// The root, and below it the folders that the last entry is in, open, by name: what is written next is mostly near.
    open: RefCell<Vec<(String, OwnedFd)>>,
}

/// A change of what was written.
pub(crate) enum Edit {
    /// A file or link goes.
    Remove(String),
    /// A folder stays, and nothing in it.
    Empty(String),
    /// Nobody but root may use a file any more.
    Refuse(String),
    /// A file says this instead.
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

    /// An attribute with these permissions; a line end is added, as kernel attributes have one.
    pub(crate) fn attribute(&self, path: &str, mode: u32, value: impl Display) -> Result<(), Error> {
        self.bytes(path, mode, format!("{value}\n").as_bytes())
    }

    pub(crate) fn bytes(&self, path: &str, mode: u32, content: &[u8]) -> Result<(), Error> {
        self.at(path, |folder, name| {
            let new = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
            let mut file = File::from(openat(folder, name, new, Mode::empty())?);
            file.write_all(content)?;
            // Apart, for the process's mask would take bits away.
            Ok(fchmod(&file, Mode::from_bits_truncate(mode))?)
        })
    }

    /// A symbolic link at `path` to `target`, both within the tree; relative, and in the form that sysfs gives it: up to
    /// the nearest folder that holds both, then down.
    pub(crate) fn link(&self, path: &str, target: &str) -> Result<(), Error> {
        let folders: Vec<&str> = path.split('/').collect();
        let parts: Vec<&str> = target.split('/').collect();
        let (folders, holders) = (&folders[..folders.len() - 1], &parts[..parts.len() - 1]);
        let common = folders.iter().zip(holders).take_while(|(a, b)| a == b).count();
        let relative = "../".repeat(folders.len() - common) + &parts[common..].join("/");
        self.at(path, |folder, name| Ok(symlinkat(relative.as_str(), folder, name)?))
    }

    /// A null-like character device that everybody may use, as udev's rules have it, or an empty file where the system
    /// does not let this process make one.
    pub(crate) fn device_node(&self, path: &str) -> Result<(), Error> {
        const EVERYBODY: u32 = 0o666;
        let made = self.at(path, |folder, name| {
            mknodat(folder, name, SFlag::S_IFCHR, Mode::empty(), makedev(1, 3))?;
            Ok(fchmodat(folder, name, Mode::from_bits_truncate(EVERYBODY), FchmodatFlags::FollowSymlink)?)
        });
        match made {
            Err(Error::Write { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
                self.bytes(path, EVERYBODY, b"")
            }
            other => other,
        }
    }

    pub(crate) fn edit(&self, edit: &Edit) -> Result<(), Error> {
        let (Edit::Remove(path) | Edit::Empty(path) | Edit::Refuse(path) | Edit::Overwrite(path, _)) = edit;
        let path = self.root.join(path);
        let mode = |mode| fs::set_permissions(&path, Permissions::from_mode(mode));
        let edited = match edit {
            Edit::Remove(_) => fs::remove_file(&path),
            Edit::Empty(_) => fs::remove_dir_all(&path).and_then(|()| fs::create_dir(&path)),
            Edit::Refuse(_) => mode(0o000),
            Edit::Overwrite(_, text) => fs::metadata(&path).and_then(|old| {
                mode(0o600)?;
                fs::write(&path, text)?;
                fs::set_permissions(&path, old.permissions())
            }),
        };
        edited.map_err(|source| Error::Write { path, source })
    }

    /// Writes an entry by its name in the folder that holds it.
    fn at(&self, path: &str, write: impl FnOnce(&OwnedFd, &str) -> io::Result<()>) -> Result<(), Error> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut open = self.open.borrow_mut();
        enter(&mut open, folder)
            .and_then(|()| open.last().map_or_else(|| Err(Errno::ENOENT.into()), |(_, folder)| write(folder, name)))
            .map_err(|source| Error::Write { path: self.root.join(path), source })
    }
}

/// Opens the folders on the way to one, and makes those that are not there; of those that are open, it keeps what leads
/// there.
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
