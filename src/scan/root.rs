//! The only place that touches the file system: every path is below a root, `/` on the live machine, `/host` in a
//! DaemonSet, a recorded or synthetic tree in a test.
//!
//! System calls are budgeted: three for a file (open, read, close), one for a link or a node's access. Where several
//! things in a folder are asked for, the folder is opened once and stays open ([`HostRoot::folder`]): walking to a file
//! below `sys` costs as much as opening it. Where device nodes could be among the files of a folder, one call lists what
//! is what, instead of one for each file.

mod folder;

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

pub(crate) use folder::Folder;
use folder::OpenFolder;
use rustix::buffer::spare_capacity;
use rustix::fs::{
    Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, StatVfsMountFlags, accessat, fstat, fstatvfs,
    openat, openat2, readlinkat, statat,
};
use rustix::io::{Errno, read};

use crate::error::{Error, Result};

/// Attributes are a page at most; what is longer than this is no attribute.
const LONGEST_FILE: usize = 64 * 1024;
/// What a process maps, its environment and what the kubelet remembers are lists, and long ones on large machines.
const LONGEST_LIST: usize = 8 * 1024 * 1024;
/// How often a lost race with a rename elsewhere is run again: each time it is lost less than once in a hundred.
const RACES: u32 = 1000;
/// Neither waits for a writer, should it be a pipe, nor becomes the terminal of the process.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
const LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
/// Leads neither out of a folder nor to another file system.
const WITHIN_MOUNT: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_XDEV);

const NO_OPENAT2: &str = "openat2 is refused, which keeps links from leading out of a tree; it takes Linux 5.6, and in a \
    container a seccomp profile that knows it (Docker 20.10, containerd 1.4)";

/// The folder below which a host's `sys` and `dev` are read.
///
/// Below any root but `/` symbolic links are resolved within the root (openat2 with `RESOLVE_IN_ROOT`): a tree from
/// elsewhere cannot lead a reader out of itself.
///
/// No device node is ever opened, since opening alone can do harm: a watchdog starts to count. Below `sys` of a real
/// host that costs nothing, because the kernel opens none on a file system mounted with `nodev`. Elsewhere each file is
/// looked at first, by itself or in the listing of its folder; only who may put a device node in its place after that look
/// could still have it opened.
#[derive(Debug)]
pub(crate) struct HostRoot {
    dir: OwnedFd,
    path: PathBuf,
    live: bool,
    /// The folder `sys`, where it is mounted with `nodev`.
    nodev_sys: Option<OwnedFd>,
    /// Listings, links and nodes are asked for folder by folder: the folder of the last one stays open, under its path.
    last_folder: RefCell<Option<(String, OpenFolder)>>,
    /// What files are read into.
    content: RefCell<Vec<u8>>,
}

/// Where a file is: a name below what is open.
struct Place<'a> {
    dir: BorrowedFd<'a>,
    name: &'a str,
    look: Look,
}

/// Whether it has to be seen that a file is one, and no device node, before it is opened.
enum Look {
    Due,
    /// The listing of its folder says so, which does not show what is mounted on it.
    Listed,
    /// No device node is opened there.
    Needless,
}

/// Whether a process may use a device node, as access(2) tells for the effective user.
///
/// The node itself is never opened. A container's device rules can still refuse what access(2) grants; only opening
/// shows that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NodeAccess {
    /// The node is there, readable and writable.
    Granted,
    /// The node is there and this user may not read and write it.
    Refused,
    /// The kernel shows the device and there is no node for it, as in a container without it.
    Missing,
    /// Not known: the device has no node to ask for, the host is not a file tree, or a newer version's record says
    /// something that this one does not know.
    #[serde(other)]
    Unknown,
}

impl std::fmt::Display for NodeAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
        })
    }
}

impl HostRoot {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let live = path == Path::new("/");
        let flags = FOLDER | OFlags::CLOEXEC;
        let dir = if live {
            openat(CWD, path, flags, Mode::empty())
        } else {
            openat2(CWD, path, flags, Mode::empty(), ResolveFlags::empty())
        };
        let dir = dir.map_err(|errno| Error::Read { path: path.to_owned(), cause: explain(errno) })?;
        let (last_folder, content) = (RefCell::default(), RefCell::new(Vec::with_capacity(4096)));
        let mut root = Self { dir, path: path.to_owned(), live, nodev_sys: None, last_folder, content };
        root.nodev_sys = root.open_below("sys", FOLDER).ok().filter(is_nodev);
        Ok(root)
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// A folder, to ask for several things in it; where there is none, there is nothing in it.
    pub(crate) fn folder(&self, path: &str) -> Folder<'_> {
        Folder { root: self, path: path.to_owned(), open: self.open_folder(path) }
    }

    /// The content of a file without the white space at its end; `None` where there is no such file.
    pub(crate) fn read(&self, path: &str) -> Result<Option<String>> {
        let place = match self.below_nodev(path) {
            Some((sys, name)) => Place { dir: sys.as_fd(), name, look: Look::Needless },
            None => Place { dir: self.dir.as_fd(), name: path, look: Look::Due },
        };
        self.read_at(&place, path)
    }

    /// The content of a file below an open folder; `path` is its whole path.
    fn read_in(&self, folder: &OpenFolder, name: &str, path: &str) -> Result<Option<String>> {
        // Only openat2 keeps from what is mounted on a file.
        let is_listed = || !self.live && folder.kind(name) == FileType::RegularFile;
        let look = match folder.is_nodev {
            true => Look::Needless,
            false if is_listed() => Look::Listed,
            false => Look::Due,
        };
        self.read_at(&Place { dir: folder.dir.as_fd(), name, look }, path)
    }

    /// Returns the content of a file, with U+FFFD in place of bytes that are not UTF-8; `None` if the file does not exist.
    #[cfg(feature = "live")]
    pub(crate) fn read_lossy(&self, path: &str) -> Result<Option<String>> {
        let is_read = self.load(&Place { dir: self.dir.as_fd(), name: path, look: Look::Due }, path)?;
        Ok(is_read.then(|| String::from_utf8_lossy(&self.content.borrow()).into_owned()))
    }

    fn read_at(&self, place: &Place<'_>, path: &str) -> Result<Option<String>> {
        if !self.load(place, path)? {
            return Ok(None);
        }
        let content = self.content.borrow();
        let text = std::str::from_utf8(&content)
            .map_err(|_| self.malformed(path, "text", &String::from_utf8_lossy(&content)))?;
        Ok(Some(text.trim_end().to_owned()))
    }

    /// Reads a file into `content`; returns false if the file does not exist.
    fn load(&self, place: &Place<'_>, path: &str) -> Result<bool> {
        let Some(file) = self.open_file(place, path)? else { return Ok(false) };
        let mut content = self.content.borrow_mut();
        content.clear();
        loop {
            let room = content.capacity() - content.len();
            let count = read(&file, spare_capacity(&mut *content)).map_err(|e| self.error(path, e))?;
            // A short read is the end of an attribute and of a plain file; files of proc have more after it.
            if count == 0 || (count < room && !path.starts_with("proc/")) {
                break;
            }
            let (longest, expected) = longest(path);
            if content.len() >= longest {
                return Err(self.malformed(path, expected, &String::from_utf8_lossy(&content)));
            }
            if content.len() == content.capacity() {
                let length = content.len();
                content.reserve_exact(length);
            }
        }
        if content.is_empty() {
            self.refuse_other_than_file(path, &fstat(&file).map_err(|e| self.error(path, e))?)?; // A pipe reads empty.
        }
        Ok(true)
    }

    /// What a file says, in the caller's terms; `None` where there is no such file.
    pub(crate) fn parse<T>(
        &self,
        path: &str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        self.understand(path, self.read(path)?, expected, parse)
    }

    fn understand<T>(
        &self,
        path: &str,
        text: Option<String>,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(text) = text else { return Ok(None) };
        parse(&text).map(Some).ok_or_else(|| self.malformed(path, expected, &text))
    }

    /// The names in a folder, in no order; none where there is no such folder.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<String>> {
        self.names(path, self.in_last_folder(path, OpenFolder::names))
    }

    fn names(&self, path: &str, names: rustix::io::Result<Vec<String>>) -> Result<Vec<String>> {
        match names {
            Err(Errno::NOENT) => Ok(Vec::new()),
            names => names.map_err(|e| self.error(path, e)),
        }
    }

    /// Where a symbolic link points, unresolved; `None` where there is no such link.
    pub(crate) fn link(&self, path: &str) -> Result<Option<String>> {
        let (folder, name) = parted(path);
        match self.in_last_folder(folder, |folder| readlinkat(&folder.dir, name, Vec::new())) {
            Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => Ok(None), // INVAL: there, and no link.
            Err(e) => Err(self.error(path, e)),
            Ok(target) => target
                .into_string()
                .map(Some)
                .map_err(|e| self.malformed(path, "a link to a name in UTF-8", &e.into_cstring().to_string_lossy())),
        }
    }

    /// Asks access(2) about a node such as `dev/neuron0`, without opening it.
    pub(crate) fn access(&self, node: &str) -> Result<NodeAccess> {
        let wanted = Access::READ_OK | Access::WRITE_OK;
        let answer = if self.live {
            accessat(&self.dir, node, wanted, AtFlags::EACCESS)
        } else {
            let (folder, name) = parted(node);
            self.in_last_folder(folder, |folder| {
                // A link would be followed on the machine, not below the root. Nodes are no links: one is not asked about.
                let may_be_link = matches!(folder.kind(name), FileType::Symlink | FileType::Unknown);
                if may_be_link && readlinkat(&folder.dir, name, Vec::new()).is_ok() {
                    return Err(Errno::LOOP);
                }
                accessat(&folder.dir, name, wanted, AtFlags::EACCESS | AtFlags::SYMLINK_NOFOLLOW)
            })
        };
        match answer {
            Ok(()) => Ok(NodeAccess::Granted),
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Ok(NodeAccess::Refused),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(NodeAccess::Missing),
            Err(Errno::LOOP) => Ok(NodeAccess::Unknown),
            Err(e) => Err(self.error(node, e)),
        }
    }

    pub(crate) fn malformed(&self, path: &str, expected: &'static str, found: &str) -> Error {
        Error::Malformed { path: self.path.join(path), expected, found: found.chars().take(80).collect() }
    }

    /// Opens a file for reading, and nothing but a file; `None` where there is nothing. Any way but the straight one, such
    /// as a link that leads out of the place, is gone from the root on, by the whole path.
    fn open_file(&self, place: &Place<'_>, path: &str) -> Result<Option<OwnedFd>> {
        let Place { dir, name, ref look } = *place;
        let is_file = || {
            let looked = statat(dir, name, AtFlags::NO_AUTOMOUNT);
            looked.is_ok_and(|stat| kind(&stat) == FileType::RegularFile)
        };
        let straight = match look {
            Look::Needless | Look::Listed => self.resolve(dir, name, READ, WITHIN_MOUNT),
            // Right where no link is absolute or leads above the place: then what is looked at is what is opened.
            Look::Due if is_file() => self.resolve(dir, name, READ, ResolveFlags::BENEATH),
            Look::Due => Err(Errno::XDEV),
        };
        if straight.as_ref().err() != Some(&Errno::XDEV) {
            return self.present(path, straight);
        }
        let there = self.open_below(path, OFlags::PATH).and_then(fstat);
        let Some(there) = self.present(path, there)? else { return Ok(None) };
        self.refuse_other_than_file(path, &there)?;
        self.present(path, self.open_below(path, READ))
    }

    /// Opens a folder for listing, or where that is refused, for what is in it.
    fn open_folder(&self, path: &str) -> rustix::io::Result<OpenFolder> {
        match self.open_folder_as(path, LIST) {
            Err(Errno::ACCESS) => self.open_folder_as(path, FOLDER),
            open => open,
        }
    }

    fn open_folder_as(&self, path: &str, flags: OFlags) -> rustix::io::Result<OpenFolder> {
        if let Some((sys, name)) = self.below_nodev(path) {
            match self.resolve(sys, name, flags, WITHIN_MOUNT) {
                Err(Errno::XDEV) => {}
                dir => return Ok(OpenFolder::new(dir?, true)),
            }
        }
        Ok(OpenFolder::new(self.open_below(path, flags)?, false))
    }

    /// The folder `sys`, and the path from there on, where no device node is opened.
    fn below_nodev<'a>(&self, path: &'a str) -> Option<(&OwnedFd, &'a str)> {
        Some((self.nodev_sys.as_ref()?, path.strip_prefix("sys/")?))
    }

    fn refuse_other_than_file(&self, path: &str, stat: &Stat) -> Result<()> {
        match kind(stat) {
            FileType::RegularFile => Ok(()),
            other => Err(self.malformed(path, "a file", name_of(other))),
        }
    }

    fn open_below(&self, path: &str, flags: OFlags) -> Opened {
        self.resolve(&self.dir, path, flags, ResolveFlags::IN_ROOT)
    }

    /// Opens by openat2; on the live machine without it, where links lead where they should.
    fn resolve(&self, dir: impl AsFd, path: &str, flags: OFlags, resolve: ResolveFlags) -> Opened {
        let flags = flags | OFlags::CLOEXEC;
        if self.live {
            return openat(dir, path, flags, Mode::empty());
        }
        // The kernel gives up on a path with `..`, as every link in sysfs has, when anything on the machine is renamed or
        // mounted meanwhile. That is no answer about the path.
        for _ in 0..RACES {
            match openat2(&dir, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }

    /// Asks something of a folder that was perhaps asked last.
    fn in_last_folder<T>(
        &self,
        path: &str,
        ask: impl FnOnce(&OpenFolder) -> rustix::io::Result<T>,
    ) -> rustix::io::Result<T> {
        let mut last = self.last_folder.borrow_mut();
        let (_, folder) = match last.take() {
            Some(same) if same.0 == path => last.insert(same),
            _ => last.insert((path.to_owned(), self.open_folder(path)?)),
        };
        ask(folder)
    }

    /// The answer of a call about a path; `None` where the path does not exist.
    fn present<T>(&self, path: &str, answer: rustix::io::Result<T>) -> Result<Option<T>> {
        match answer {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            other => other.map(Some).map_err(|e| self.error(path, e)),
        }
    }

    fn error(&self, path: &str, errno: Errno) -> Error {
        Error::Read { path: self.path.join(path), cause: io::Error::from(errno) }
    }
}

type Opened = rustix::io::Result<OwnedFd>;

/// How long a file may be, and how that is said.
fn longest(path: &str) -> (usize, &'static str) {
    let of_process = path.starts_with("proc/") && (path.ends_with("/maps") || path.ends_with("/environ"));
    if of_process || path.starts_with("var/lib/kubelet/") {
        (LONGEST_LIST, "less than 8 MiB")
    } else {
        (LONGEST_FILE, "less than 64 KiB")
    }
}

fn is_nodev(folder: &OwnedFd) -> bool {
    fstatvfs(folder).is_ok_and(|mount| mount.f_flag.contains(StatVfsMountFlags::NODEV))
}

/// A path's folder, and the name in it.
fn parted(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or((".", path))
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn name_of(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a folder",
        FileType::CharacterDevice | FileType::BlockDevice => "a device node",
        FileType::Fifo => "a pipe",
        _ => "something else",
    }
}

/// What it means when a folder cannot be opened by openat2.
fn explain(errno: Errno) -> io::Error {
    if matches!(errno, Errno::NOSYS | Errno::PERM) {
        return io::Error::new(io::ErrorKind::Unsupported, NO_OPENAT2);
    }
    errno.into()
}
