//! A folder that stays open while a caller reads several files in it.

use std::cell::OnceCell;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, RawDir, SeekFrom, seek};
use rustix::io::Errno;

use super::HostRoot;
use crate::error::Result;

/// An open folder below a root. nearfab opens the files in the folder by their names, so the kernel does not walk to
/// the folder again.
pub(crate) struct Folder<'a> {
    pub(super) root: &'a HostRoot,
    pub(super) path: String,
    /// The open folder, or the errno of opening the folder. Every method returns this errno.
    pub(super) open: rustix::io::Result<OpenFolder>,
}

impl Folder<'_> {
    /// Returns the content of a file without the white space at its end; `None` if the file does not exist.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>> {
        let path = self.at(name);
        let Some(open) = self.root.none_if_missing(&path, self.open.as_ref().map_err(|e| *e))? else { return Ok(None) };
        self.root.read_in(open, name, &path)
    }

    /// Returns the content of a file as `parse` reads it; `None` if the file does not exist. If `parse` returns `None`,
    /// the error names the form that was `expected`.
    pub(crate) fn parse<T>(
        &self,
        name: &str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        self.root.parse_content(&self.at(name), self.read(name)?, expected, parse)
    }

    /// Returns the names in the folder, in no order. A folder that does not exist counts as an empty folder.
    pub(crate) fn list(&self) -> Result<Vec<String>> {
        let names = self.open.as_ref().map_err(|e| *e).and_then(OpenFolder::names);
        self.root.names(&self.path, names)
    }

    /// Returns the path of a name in the folder, from the root.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }
}

/// The descriptor of an open folder, and the types of the files in it.
#[derive(Debug)]
pub(super) struct OpenFolder {
    pub(super) dir: OwnedFd,
    /// Whether the file system of the folder is mounted with `nodev`.
    pub(super) is_nodev: bool,
    /// The names and types of the files, from one getdents call or from a whole listing. One call returns only the
    /// first names of a large folder.
    kinds: OnceCell<Vec<(String, FileType)>>,
}

impl OpenFolder {
    pub(super) fn new(dir: OwnedFd, is_nodev: bool) -> Self {
        Self { dir, is_nodev, kinds: OnceCell::new() }
    }

    /// Returns the type of a name in the folder, or `Unknown` if the listing does not show it. One call lists all
    /// names.
    pub(super) fn kind(&self, name: &str) -> FileType {
        let kinds = self.kinds.get_or_init(|| self.entries(Extent::OneCall).unwrap_or_default());
        kinds.iter().find(|(entry, _)| entry == name).map_or(FileType::Unknown, |(_, kind)| *kind)
    }

    /// Returns the names in the folder, in no order.
    pub(super) fn names(&self) -> rustix::io::Result<Vec<String>> {
        if self.kinds.get().is_some() {
            seek(&self.dir, SeekFrom::Start(0))?;
        }
        let entries = self.entries(Extent::Whole)?;
        let names = entries.iter().map(|(name, _)| name.clone()).collect();
        let _ = self.kinds.set(entries); // This call fails if the types are known already.
        Ok(names)
    }

    fn entries(&self, extent: Extent) -> rustix::io::Result<Vec<(String, FileType)>> {
        let mut found = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut entries = RawDir::new(&self.dir, &mut buffer);
        while let Some(entry) = entries.next() {
            // BADF: the folder was opened without the right to list it.
            let entry = entry.map_err(|e| if e == Errno::BADF { Errno::ACCESS } else { e })?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => found.push((name.to_owned(), entry.file_type())),
            }
            if extent == Extent::OneCall && entries.is_buffer_empty() {
                break;
            }
        }
        Ok(found)
    }
}

/// How much of a folder is listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// The names that one getdents call returns, which may not be all.
    OneCall,
    /// All names.
    Whole,
}
