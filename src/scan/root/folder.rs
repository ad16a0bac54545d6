//! A folder that stays open while several things in it are asked for.

use std::cell::OnceCell;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, RawDir, SeekFrom, seek};
use rustix::io::Errno;

use super::HostRoot;
use crate::error::Result;

/// A folder below a root, kept open: what is in it is asked for by its name there, which spares the walk to it.
pub(crate) struct Folder<'a> {
    pub(super) root: &'a HostRoot,
    pub(super) path: String,
    /// Or why it could not be opened: the answer to whatever is asked of it.
    pub(super) open: rustix::io::Result<OpenFolder>,
}

impl Folder<'_> {
    /// The content of a file without the white space at its end; `None` where there is no such file.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>> {
        let path = self.at(name);
        let Some(open) = self.root.present(&path, self.open.as_ref().map_err(|e| *e))? else { return Ok(None) };
        self.root.read_in(open, name, &path)
    }

    /// What a file says, in the caller's terms; `None` where there is no such file.
    pub(crate) fn parse<T>(
        &self,
        name: &str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        self.root.understand(&self.at(name), self.read(name)?, expected, parse)
    }

    /// The names in it, in no order; none where there is no such folder.
    pub(crate) fn list(&self) -> Result<Vec<String>> {
        let names = self.open.as_ref().map_err(|e| *e).and_then(OpenFolder::names);
        self.root.names(&self.path, names)
    }

    /// The path below the root of a name in it.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }
}

/// The open folder itself.
#[derive(Debug)]
pub(super) struct OpenFolder {
    pub(super) dir: OwnedFd,
    /// On a file system that was mounted with `nodev`.
    pub(super) is_nodev: bool,
    /// What kinds of things are in it, from one call: of a large folder the first.
    kinds: OnceCell<Vec<(String, FileType)>>,
}

impl OpenFolder {
    pub(super) fn new(dir: OwnedFd, is_nodev: bool) -> Self {
        Self { dir, is_nodev, kinds: OnceCell::new() }
    }

    /// What a name in it is, as far as the listing tells: one call looks at all of them.
    pub(super) fn kind(&self, name: &str) -> FileType {
        let kinds = self.kinds.get_or_init(|| self.entries(Extent::OneCall).unwrap_or_default());
        kinds.iter().find(|(entry, _)| entry == name).map_or(FileType::Unknown, |(_, kind)| *kind)
    }

    /// The names in it, in no order.
    pub(super) fn names(&self) -> rustix::io::Result<Vec<String>> {
        if self.kinds.get().is_some() {
            seek(&self.dir, SeekFrom::Start(0))?;
        }
        let entries = self.entries(Extent::Whole)?;
        let names = entries.iter().map(|(name, _)| name.clone()).collect();
        let _ = self.kinds.set(entries); // Or they are known already.
        Ok(names)
    }

    fn entries(&self, extent: Extent) -> rustix::io::Result<Vec<(String, FileType)>> {
        let mut found = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut entries = RawDir::new(&self.dir, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|e| if e == Errno::BADF { Errno::ACCESS } else { e })?; // Opened without reading.
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// What one call gives, which need not be all.
    OneCall,
    Whole,
}
