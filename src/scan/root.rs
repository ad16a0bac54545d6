//! The only reader of the file system. Every path is below a root: `/` on the live machine, `/host` in a DaemonSet, a
//! recorded or synthetic tree in a test.
//!
//! System calls are budgeted: three for a file (open, read, close), one for a link or for the access to a node. A
//! caller that reads several files of a folder opens the folder once ([`HostRoot::folder`]): the kernel's walk to a
//! file below `sys` costs as much as opening the file. If device nodes could be among the files of a folder, one call
//! lists the types of all files, instead of one call for each file.

mod folder;

use std::cell::RefCell;
use std::fs::File;
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

/// The limit of other files. An attribute in sysfs has at most one page (4 KiB, on some machines 64 KiB), so a longer
/// file is not an attribute.
const LONGEST_FILE: usize = 64 * 1024;
/// The limit for lists that are long on large machines: the mappings and the environment of a process, the kubelet's
/// files.
const LONGEST_LIST: usize = 8 * 1024 * 1024;
/// The limit of files that are read in parts, such as libraries.
const LONGEST_LARGE_FILE: u64 = 64 * 1024 * 1024;
/// The most attempts of one openat2. An attempt fails with EAGAIN if something on the machine is renamed at the same
/// time. Fewer than one attempt in a hundred fails.
const ATTEMPTS: u32 = 1000;
/// The flags for files. NONBLOCK: opening a pipe must not wait for its writer. NOCTTY: a terminal must not become the
/// controlling terminal of the process.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
const LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
/// The resolved path leaves neither the folder nor its mount.
const WITHIN_MOUNT: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_XDEV);

const NO_OPENAT2: &str = "the system call openat2 is refused, and nearfab needs it to keep symbolic links inside the tree: use \
    Linux 5.6 or newer, and in a container a seccomp profile that allows it (Docker 20.10, containerd 1.4)";

/// The folder below which a host's `sys` and `dev` are read.
///
/// Below any root but `/`, symbolic links are resolved within the root (openat2 with `RESOLVE_IN_ROOT`): no link of a
/// foreign tree leads a reader out of the tree.
///
/// No device node is ever opened, because opening alone can do harm: opening a watchdog starts its countdown. Below
/// `sys` of a real host this costs nothing: the kernel opens no device node on a file system mounted with `nodev`.
/// Elsewhere nearfab checks the type of each file before it opens the file, by stat or in the listing of the folder. A
/// user with the right to replace the file by a device node between the check and the opening can still cause nearfab
/// to open the node.
#[derive(Debug)]
pub(crate) struct HostRoot {
    dir: OwnedFd,
    path: PathBuf,
    live: bool,
    /// The folder `sys`, if it is mounted with `nodev`.
    nodev_sys: Option<OwnedFd>,
    /// The folder of the last listing, link or node, with its path. The folder stays open, because callers read folder
    /// by folder.
    last_folder: RefCell<Option<(String, OpenFolder)>>,
    /// The buffer for the content of files.
    content: RefCell<Vec<u8>>,
}

/// A file to open: an open folder, and the file's path from this folder.
struct Place<'a> {
    dir: BorrowedFd<'a>,
    name: &'a str,
    check: FileTypeCheck,
}

/// How nearfab makes sure, before it opens a file, that the file is not a device node.
enum FileTypeCheck {
    /// nearfab calls stat.
    Stat,
    /// The listing of the folder shows a regular file. A listing does not show a mount on the file.
    FromListing,
    /// The kernel opens no device node on this file system.
    NotNeeded,
}

/// Whether this process may use a device node: the answer of access(2) for the effective user.
///
/// nearfab does not open the node. The device rules of a container can still refuse a node that access(2) grants; only
/// opening the node shows the refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NodeAccess {
    /// The node exists, and this user may read and write it.
    Granted,
    /// The node exists, and this user may not both read and write it.
    Refused,
    /// The kernel shows the device and the node does not exist, as in a container that was not given the device.
    Missing,
    /// The access is not known: the device has no node, the host was not read from a file tree, or a newer nearfab
    /// recorded a value that this version does not know.
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
    /// Opens the folder that is the root.
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

    /// Sets whether files below `sys` are read as on a file system that is mounted with `nodev`. The mount of the tree
    /// does not matter.
    #[cfg(test)]
    pub(crate) fn treat_sys_as_nodev(&mut self, is_nodev: bool) {
        self.nodev_sys = self.open_below("sys", FOLDER).ok().filter(|_| is_nodev);
    }

    /// Returns true if the root is the root of this machine.
    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// Opens a folder to read several files in it. A folder that does not exist counts as an empty folder.
    pub(crate) fn folder(&self, path: &str) -> Folder<'_> {
        Folder { root: self, path: path.to_owned(), open: self.open_folder(path) }
    }

    /// Returns the content of a file without the white space at its end; `None` if the file does not exist.
    pub(crate) fn read(&self, path: &str) -> Result<Option<String>> {
        let place = match self.below_nodev(path) {
            Some((sys, name)) => Place { dir: sys.as_fd(), name, check: FileTypeCheck::NotNeeded },
            None => Place { dir: self.dir.as_fd(), name: path, check: FileTypeCheck::Stat },
        };
        self.read_at(&place, path)
    }

    /// Returns the content of a file below an open folder. `path` is the file's path from the root.
    fn read_in(&self, folder: &OpenFolder, name: &str, path: &str) -> Result<Option<String>> {
        // A listing shows the file below a mount point. On the live machine nearfab opens files without openat2, so
        // opening would cross the mount point.
        let is_listed = || !self.live && folder.kind(name) == FileType::RegularFile;
        let check = match folder.is_nodev {
            true => FileTypeCheck::NotNeeded,
            false if is_listed() => FileTypeCheck::FromListing,
            false => FileTypeCheck::Stat,
        };
        self.read_at(&Place { dir: folder.dir.as_fd(), name, check }, path)
    }

    /// Returns the content of a file, with U+FFFD in place of bytes that are not UTF-8; `None` if the file does not
    /// exist.
    #[cfg(feature = "live")]
    pub(crate) fn read_lossy(&self, path: &str) -> Result<Option<String>> {
        let is_read = self.load(&Place { dir: self.dir.as_fd(), name: path, check: FileTypeCheck::Stat }, path)?;
        Ok(is_read.then(|| String::from_utf8_lossy(&self.content.borrow()).into_owned()))
    }

    /// Opens a file that the caller reads in parts; `None` if the file does not exist. The budget of system calls does
    /// not hold for such a file.
    pub(crate) fn open_large(&self, path: &str) -> Result<Option<File>> {
        let place = Place { dir: self.dir.as_fd(), name: path, check: FileTypeCheck::Stat };
        let Some(file) = self.open_file(&place, path)? else { return Ok(None) };
        let stat = fstat(&file).map_err(|e| self.error(path, e))?;
        self.check_is_file(path, &stat)?;
        if u64::try_from(stat.st_size).is_ok_and(|size| size <= LONGEST_LARGE_FILE) {
            return Ok(Some(File::from(file)));
        }
        Err(self.malformed(path, "at most 64 MiB", &format!("{} bytes", stat.st_size)))
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
            // A short read ends an attribute and a plain file. A file in proc can have more content after a short read.
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
            // A pipe without a writer reads as empty.
            self.check_is_file(path, &fstat(&file).map_err(|e| self.error(path, e))?)?;
        }
        Ok(true)
    }

    /// Returns the content of a file as `parse` reads it; `None` if the file does not exist. If `parse` returns `None`,
    /// the error names the form that was `expected`.
    pub(crate) fn parse<T>(
        &self,
        path: &str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        self.parse_content(path, self.read(path)?, expected, parse)
    }

    fn parse_content<T>(
        &self,
        path: &str,
        text: Option<String>,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(text) = text else { return Ok(None) };
        parse(&text).map(Some).ok_or_else(|| self.malformed(path, expected, &text))
    }

    /// Returns the names in a folder, in no order. A folder that does not exist is an empty one.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<String>> {
        self.names(path, self.in_last_folder(path, OpenFolder::names))
    }

    fn names(&self, path: &str, names: rustix::io::Result<Vec<String>>) -> Result<Vec<String>> {
        match names {
            Err(Errno::NOENT) => Ok(Vec::new()),
            names => names.map_err(|e| self.error(path, e)),
        }
    }

    /// Returns the target of a symbolic link, unresolved; `None` if the link does not exist or is not a link.
    pub(crate) fn link(&self, path: &str) -> Result<Option<String>> {
        let (folder, name) = split_parent(path);
        match self.in_last_folder(folder, |folder| readlinkat(&folder.dir, name, Vec::new())) {
            Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => Ok(None), // INVAL: the file exists and is not a link.
            Err(e) => Err(self.error(path, e)),
            Ok(target) => target
                .into_string()
                .map(Some)
                .map_err(|e| self.malformed(path, "a link to a name in UTF-8", &e.into_cstring().to_string_lossy())),
        }
    }

    /// Returns the answer of access(2) for a node such as `dev/neuron0`, without opening the node.
    pub(crate) fn access(&self, node: &str) -> Result<NodeAccess> {
        let wanted = Access::READ_OK | Access::WRITE_OK;
        let answer = if self.live {
            accessat(&self.dir, node, wanted, AtFlags::EACCESS)
        } else {
            let (folder, name) = split_parent(node);
            self.in_last_folder(folder, |folder| {
                // access(2) would resolve a link from the root of this machine, not from the root of the tree. A device
                // node is never a link.
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

    /// Returns the error for unexpected content, with the content's first 80 characters.
    pub(crate) fn malformed(&self, path: &str, expected: &'static str, found: &str) -> Error {
        Error::Malformed { path: self.path.join(path), expected, found: found.chars().take(80).collect() }
    }

    /// Opens a regular file for reading; `None` if the file does not exist.
    ///
    /// Tries the short way first: from the open folder. The kernel refuses this way with XDEV if a symbolic link leads
    /// out of the folder. nearfab then opens the file from the root by its whole path.
    fn open_file(&self, place: &Place<'_>, path: &str) -> Result<Option<OwnedFd>> {
        let Place { dir, name, ref check } = *place;
        let is_file = || {
            let stat = statat(dir, name, AtFlags::NO_AUTOMOUNT);
            stat.is_ok_and(|stat| kind(&stat) == FileType::RegularFile)
        };
        let opened = match check {
            FileTypeCheck::NotNeeded | FileTypeCheck::FromListing => self.resolve(dir, name, READ, WITHIN_MOUNT),
            // BENEATH refuses absolute links and links above the folder. Any other link leads stat and open to the same
            // file.
            FileTypeCheck::Stat if is_file() => self.resolve(dir, name, READ, ResolveFlags::BENEATH),
            FileTypeCheck::Stat => Err(Errno::XDEV),
        };
        if opened.as_ref().err() != Some(&Errno::XDEV) {
            return self.none_if_missing(path, opened);
        }
        let stat = self.open_below(path, OFlags::PATH).and_then(fstat);
        let Some(stat) = self.none_if_missing(path, stat)? else { return Ok(None) };
        self.check_is_file(path, &stat)?;
        self.none_if_missing(path, self.open_below(path, READ))
    }

    /// Opens a folder for listing. If listing is refused, opens the folder only for access to its files.
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

    /// Returns the folder `sys` and the path from `sys`, if the path is below `sys` and the kernel opens no device node
    /// there.
    fn below_nodev<'a>(&self, path: &'a str) -> Option<(&OwnedFd, &'a str)> {
        Some((self.nodev_sys.as_ref()?, path.strip_prefix("sys/")?))
    }

    /// Refuses everything except a regular file. The error for a folder is the same as the error of reading an open
    /// folder.
    fn check_is_file(&self, path: &str, stat: &Stat) -> Result<()> {
        match kind(stat) {
            FileType::RegularFile => Ok(()),
            FileType::Directory => Err(self.error(path, Errno::ISDIR)),
            other => Err(self.malformed(path, "a file", name_of(other))),
        }
    }

    fn open_below(&self, path: &str, flags: OFlags) -> Opened {
        self.resolve(&self.dir, path, flags, ResolveFlags::IN_ROOT)
    }

    /// Opens a path by openat2. Opens it by openat on the live machine: the kernel resolves links there as the
    /// machine's owner set them.
    fn resolve(&self, dir: impl AsFd, path: &str, flags: OFlags, resolve: ResolveFlags) -> Opened {
        let flags = flags | OFlags::CLOEXEC;
        if self.live {
            return openat(dir, path, flags, Mode::empty());
        }
        // Every link in sysfs contains `..`. openat2 fails with EAGAIN on such a path if anything on the machine is
        // renamed or mounted in the meantime, so the failure says nothing about the path.
        for _ in 0..ATTEMPTS {
            match openat2(&dir, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }

    /// Calls `read` with a folder. Opens the folder, unless it is still open from the last call.
    fn in_last_folder<T>(
        &self,
        path: &str,
        read: impl FnOnce(&OpenFolder) -> rustix::io::Result<T>,
    ) -> rustix::io::Result<T> {
        let mut last = self.last_folder.borrow_mut();
        let (_, folder) = match last.take() {
            Some(same) if same.0 == path => last.insert(same),
            _ => last.insert((path.to_owned(), self.open_folder(path)?)),
        };
        read(folder)
    }

    /// Returns the result of a system call about a path; `None` if the path does not exist.
    fn none_if_missing<T>(&self, path: &str, result: rustix::io::Result<T>) -> Result<Option<T>> {
        match result {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            other => other.map(Some).map_err(|e| self.error(path, e)),
        }
    }

    fn error(&self, path: &str, errno: Errno) -> Error {
        Error::Read { path: self.path.join(path), cause: io::Error::from(errno) }
    }
}

type Opened = rustix::io::Result<OwnedFd>;

/// Returns the limit of a file's length, and the text of the limit for an error.
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

/// Returns the folder of a path, and the name in the folder.
fn split_parent(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or((".", path))
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn name_of(kind: FileType) -> &'static str {
    match kind {
        FileType::CharacterDevice | FileType::BlockDevice => "a device node",
        FileType::Fifo => "a pipe",
        _ => "something else",
    }
}

/// Returns the error of opening a root by openat2, with what to do if the system call itself is refused.
fn explain(errno: Errno) -> io::Error {
    if matches!(errno, Errno::NOSYS | Errno::PERM) {
        return io::Error::new(io::ErrorKind::Unsupported, NO_OPENAT2);
    }
    errno.into()
}
