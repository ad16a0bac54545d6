//! The only place that touches the file system: every path is below a root, `/` on the live machine, `/host` in a
//! DaemonSet, a recorded or synthetic tree in a test.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, faccessat, read};

use crate::error::{Error, Result};

/// Attributes are a page at most; what is longer than this is no attribute.
const LONGEST_FILE: usize = 64 * 1024;

/// How often a lost race with a rename elsewhere is run again: each time it is lost less than once in a hundred.
const RACES: u32 = 1000;

/// The folder below which a host's `sys` and `dev` are read.
///
/// Below any root but `/` symbolic links are resolved within the root (openat2 with `RESOLVE_IN_ROOT`): a tree from
/// elsewhere cannot lead a reader out of itself.
#[derive(Debug)]
pub(crate) struct HostRoot {
    dir: OwnedFd,
    path: PathBuf,
    live: bool,
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
        let dir = openat(AT_FDCWD, path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|e| Error::Read { path: path.to_owned(), source: e.into() })?;
        let root = Self { dir, path: path.to_owned(), live: path == Path::new("/") };
        // Asked once here: later the same refusal would pass for a host that has nothing.
        match root.open_below(".", OFlag::O_PATH) {
            Ok(_) => Ok(root),
            Err(e) => Err(Error::Read {
                path: path.to_owned(),
                source: io::Error::other(format!(
                    "openat2, which keeps links inside this folder, is refused ({e}): it takes Linux 5.6 or newer, and \
                     in a container a seccomp profile that allows it"
                )),
            }),
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live
    }

    /// The content of a file without the white space at its end; `None` where there is no such file.
    pub(crate) fn read(&self, path: &str) -> Result<Option<String>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let Some(file) = present(self.open_below(path, flags)).map_err(|e| self.error(path, e))? else {
            return Ok(None);
        };
        let mut content = vec![0; 4096];
        let mut length = 0;
        loop {
            let room = content.len() - length;
            let count = read(&file, &mut content[length..]).map_err(|e| self.error(path, e))?;
            length += count;
            if count < room {
                break; // Shorter than asked for: kernel attributes and plain files have no more.
            }
            if length >= LONGEST_FILE {
                return Err(self.malformed(path, "at most 64 KiB", &String::from_utf8_lossy(&content)));
            }
            content.resize(length * 2, 0);
        }
        content.truncate(length);
        let text = String::from_utf8(content)
            .map_err(|e| self.malformed(path, "text", &String::from_utf8_lossy(e.as_bytes())))?;
        Ok(Some(text.trim_end().to_owned()))
    }

    /// What a file says, in the caller's terms; `None` where there is no such file.
    pub(crate) fn parse<T>(
        &self,
        path: &str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(text) = self.read(path)? else { return Ok(None) };
        parse(&text).map(Some).ok_or_else(|| self.malformed(path, expected, &text))
    }

    /// The names in a folder, in no order; none where there is no such folder.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<String>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let Some(dir) = present(self.open_below(path, flags)).map_err(|e| self.error(path, e))? else {
            return Ok(Vec::new());
        };
        let mut dir = nix::dir::Dir::from_fd(dir).map_err(|e| self.error(path, e))?;
        let mut names = Vec::new();
        for entry in dir.iter() {
            let entry = entry.map_err(|e| self.error(path, e))?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_owned()),
            }
        }
        Ok(names)
    }

    /// Where a symbolic link points, unresolved; `None` where there is no such link.
    pub(crate) fn link(&self, path: &str) -> Result<Option<String>> {
        let target = if self.live {
            readlinkat(&self.dir, path)
        } else {
            self.open_below(path, OFlag::O_PATH | OFlag::O_NOFOLLOW).and_then(|link| readlinkat(&link, ""))
        };
        match target {
            Err(Errno::EINVAL | Errno::ENOENT | Errno::ENOTDIR) => Ok(None), // EINVAL: there, and no link.
            Err(e) => Err(self.error(path, e)),
            Ok(target) => Ok(target.into_string().ok()),
        }
    }

    /// Asks access(2) about a node such as `dev/neuron0`, without opening it.
    pub(crate) fn access(&self, node: &str) -> Result<NodeAccess> {
        let wanted = AccessFlags::R_OK | AccessFlags::W_OK;
        let answer = if self.live {
            faccessat(&self.dir, node, wanted, AtFlags::AT_EACCESS)
        } else {
            let (folder, name) = node.rsplit_once('/').unwrap_or((".", node));
            self.open_below(folder, OFlag::O_PATH | OFlag::O_DIRECTORY).and_then(|folder| {
                // A link would be followed on the machine, not below the root. Nodes are no links: one is not asked about.
                match readlinkat(&folder, name) {
                    Ok(_) => Err(Errno::ELOOP),
                    Err(_) => faccessat(&folder, name, wanted, AtFlags::AT_EACCESS | AtFlags::AT_SYMLINK_NOFOLLOW),
                }
            })
        };
        match answer {
            Ok(()) => Ok(NodeAccess::Granted),
            Err(Errno::EACCES | Errno::EPERM | Errno::EROFS) => Ok(NodeAccess::Refused),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(NodeAccess::Missing),
            Err(Errno::ELOOP) => Ok(NodeAccess::Unknown),
            Err(e) => Err(self.error(node, e)),
        }
    }

    pub(crate) fn malformed(&self, path: &str, expected: &'static str, found: &str) -> Error {
        Error::Malformed { path: self.path.join(path), expected, found: found.chars().take(80).collect() }
    }

    fn open_below(&self, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        let flags = flags | OFlag::O_CLOEXEC;
        if self.live {
            return openat(&self.dir, path, flags, Mode::empty());
        }
        let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        // The kernel gives up on a path with `..`, as every link in sysfs has, when anything on the machine is renamed or
        // mounted meanwhile. That is no answer about the path.
        for _ in 0..RACES {
            match openat2(&self.dir, path, how) {
                Err(Errno::EAGAIN) => {}
                other => return other,
            }
        }
        Err(Errno::EAGAIN)
    }

    fn error(&self, path: &str, errno: Errno) -> Error {
        Error::Read { path: self.path.join(path), source: io::Error::from(errno) }
    }
}

fn present(opened: nix::Result<OwnedFd>) -> nix::Result<Option<OwnedFd>> {
    match opened {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        other => other.map(Some),
    }
}
