//! The vendors' libraries: which, where they are installed, and which of them a process has mapped.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::Problems;
use crate::scan::root::HostRoot;
use crate::types::Library;

/// Where the vendors' installers and distributions put them.
const FOLDERS: [&str; 10] = [
    "opt/amazon/efa/lib",
    "opt/amazon/efa/lib64",
    "opt/aws/neuron/lib",
    "usr/local/lib",
    "usr/local/lib64",
    "usr/lib",
    "usr/lib64",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib/x86_64-linux-gnu/openmpi/lib",
];
const PROGRAMS: [(&str, &[&str]); 2] = [
    ("opt/amazon/efa/bin", &["fi_info", "fi_pingpong"]),
    ("opt/aws/neuron/bin", &["neuron-ls", "neuron-monitor", "neuron-top"]),
];
const LOADER: &str = "etc/ld.so.conf";
/// More files than any machine has.
const MOST_LOADER_FILES: usize = 256;

/// A library in a folder where such are installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InstalledLibrary {
    /// Which.
    pub library: Library,
    /// The file, as the host names it. Of a file and the links to it beside it only the file is here.
    pub path: String,
}

impl InstalledLibrary {
    /// The number after `.so.` of its file name. For libnrt it is the runtime's version; for the others it counts
    /// interfaces and is not their release.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        version(&self.path)
    }

    /// The folder that it is in.
    #[must_use]
    pub fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// A library that a process has mapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MappedLibrary {
    /// Which.
    pub library: Library,
    /// The file, as the process's mount namespace names it.
    pub path: String,
    /// Whether the file is gone since: an update replaced it under the process.
    pub deleted: bool,
}

impl MappedLibrary {
    /// The number after `.so.` of its file name, see [`InstalledLibrary::version`].
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        version(&self.path)
    }
}

/// The number after `.so.` of a file's name.
pub(crate) fn version(path: &str) -> Option<&str> {
    Some(path.rsplit('/').next()?.split_once(".so.")?.1)
}

pub(super) fn installed(root: &HostRoot, problems: &mut Problems) -> Vec<InstalledLibrary> {
    let mut all = Vec::new();
    for folder in FOLDERS {
        // The same folder under a second name, as lib64 is in some distributions.
        if problems.take(root.link(folder)).flatten().is_some() {
            continue;
        }
        let mut names = problems.take(root.list(folder)).unwrap_or_default();
        names.sort_unstable();
        for name in names {
            let Some(library) = Library::of_file(&name) else { continue };
            let path = format!("{folder}/{name}");
            let target = problems.take(root.link(&path)).flatten();
            // A link to the file beside it.
            if target.is_none_or(|target| target.contains('/')) {
                all.push(InstalledLibrary { library, path: format!("/{path}") });
            }
        }
    }
    all.sort_by(|a, b| (a.library, &a.path).cmp(&(b.library, &b.path)));
    all
}

/// The programs that people call by name.
pub(super) fn programs(root: &HostRoot, problems: &mut Problems) -> Vec<String> {
    let mut all = Vec::new();
    for (folder, wanted) in PROGRAMS {
        let names = problems.take(root.list(folder)).unwrap_or_default();
        let there = wanted.iter().filter(|program| names.iter().any(|name| name == *program));
        all.extend(there.map(|program| format!("/{folder}/{program}")));
    }
    all
}

/// The folders that the loader is told to search, in the files that `ldconfig` reads.
pub(super) fn loader_folders(root: &HostRoot, problems: &mut Problems) -> Vec<String> {
    let mut files = vec![LOADER.to_owned()];
    let mut names = problems.take(root.list(&format!("{LOADER}.d"))).unwrap_or_default();
    names.retain(|name| name.ends_with(".conf"));
    names.sort_unstable();
    files.extend(names.iter().take(MOST_LOADER_FILES).map(|name| format!("{LOADER}.d/{name}")));
    let mut folders: Vec<String> = Vec::new();
    for file in files {
        let text = problems.take(root.read(&file)).flatten().unwrap_or_default();
        for folder in named_folders(&text) {
            if !folders.iter().any(|known| known == folder) {
                folders.push(folder.to_owned());
            }
        }
    }
    folders
}

/// The lines that are folders: no comments, no `include`, no `hwcap`.
fn named_folders(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| line.starts_with('/'))
        .map(without_end)
}

/// Without slashes at its end.
fn without_end(folder: &str) -> &str {
    match folder.trim_end_matches('/') {
        "" => "/",
        folder => folder,
    }
}

/// The libraries among the lines of `/proc/PID/maps`, each file once, in the order of addresses.
pub(crate) fn mapped(maps: &str) -> Vec<MappedLibrary> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for line in maps.lines() {
        let Some((file, path)) = mapping(line) else { continue };
        let (path, deleted) = match path.strip_suffix(" (deleted)") {
            Some(path) => (path, true),
            None => (path, false),
        };
        let Some(library) = Library::of_file(path.rsplit('/').next().unwrap_or_default()) else { continue };
        if seen.insert(file) {
            all.push(MappedLibrary { library, path: path.to_owned(), deleted });
        }
    }
    all
}

/// Device with inode, and path, of a line such as
/// `7f5c8a200000-7f5c8a400000 r-xp 00000000 103:01 1234   /usr/lib/libfabric.so.1`: a file is one object to the loader
/// under whatever name.
fn mapping(line: &str) -> Option<((&str, &str), &str)> {
    let mut fields = line.splitn(6, ' ');
    let file = (fields.nth(3)?, fields.next()?);
    let path = fields.next()?.trim_start_matches(' ');
    path.starts_with('/').then_some((file, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn libraries_are_known_by_name() {
        for (file, library) in [
            ("libfabric.so", Some(Library::Libfabric)),
            ("libfabric.so.1.25.0", Some(Library::Libfabric)),
            ("libfabric-1a2b3c4d.so.1.25.0", Some(Library::Libfabric)),
            ("libnrt.so.2.34.10.0", Some(Library::Libnrt)),
            ("libefa.so.1.3.44.0", Some(Library::Libefa)),
            ("libnccom-net.so", None),
            ("libfabric-tools.so", None),
            ("libfabric.so1", None),
            ("libfabric.a", None),
            ("libefa-rdmav34.so", None),
        ] {
            assert_eq!(Library::of_file(file), library, "{file}");
        }
    }

    #[test]
    fn of_a_process_each_file_counts_once() {
        let maps = "\
55e0-55e1 r--p 00000000 103:01 11 /usr/bin/python3
7f00-7f01 r--p 00000000 103:01 22                       /usr/lib/libfabric.so.1.20.0
7f01-7f02 r-xp 00001000 103:01 22                       /usr/lib/libfabric.so.1.20.0
7f03-7f04 r-xp 00001000 103:01 22                       /mnt/other name/libfabric.so.1.20.0
7f04-7f05 r-xp 00001000 103:01 33                       /a b/libfabric-1a2b3c4d.so.1.25.0 (deleted)
7f05-7f06 rw-p 00000000 00:00 0                         [heap]";
        let mapped = mapped(maps);
        let paths: Vec<(&str, bool)> = mapped.iter().map(|library| (library.path.as_str(), library.deleted)).collect();
        assert_eq!(paths, [("/usr/lib/libfabric.so.1.20.0", false), ("/a b/libfabric-1a2b3c4d.so.1.25.0", true)]);
        assert_eq!(mapped[1].version(), Some("1.25.0"));
    }

    #[test]
    fn folders_of_the_loader_are_its_plain_lines() {
        let text = "# comment\ninclude /etc/ld.so.conf.d/*.conf\n/opt/aws/neuron/lib/ # Neuron\n\n//\n/usr/local/lib";
        assert_eq!(named_folders(text).collect::<Vec<_>>(), ["/opt/aws/neuron/lib", "/", "/usr/local/lib"]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*", lines in "([0-9a-f]{0,4}-? ?[rwxp-]{0,4} [0-9:]{0,5} ?[0-9]{0,3} ?/?[a-z.-]{0,20}\n?){0,9}") {
            let _ = (mapped(&text), mapped(&lines), Library::of_file(&text), named_folders(&text).count(), version(&text));
        }

        #[test]
        fn every_mapped_library_is_found(inode in 1..1_u64 << 40, folder in "(/[a-z ]{1,8}){1,3}", tag in "(-[0-9a-f]{8})?") {
            let line = format!("7f00-7f01 r-xp 00001000 103:01 {inode}          {folder}/libnrt{tag}.so.2.34.10.0");
            let found = mapped(&line);
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(&found[0].path, &format!("{folder}/libnrt{tag}.so.2.34.10.0"));
        }
    }
}
