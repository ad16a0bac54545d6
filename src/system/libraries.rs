//! Finds vendor libraries: installed files, and files that a process has mapped.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::symbols::{self, SymbolVersions};
use crate::error::Problems;
use crate::scan::root::HostRoot;
use crate::types::Library;

/// The folders in which installers and distributions put the libraries.
const FOLDERS: [&str; 18] = [
    "opt/amazon/efa/lib",
    "opt/amazon/efa/lib64",
    "opt/amazon/ofi-nccl/lib",
    "opt/amazon/ofi-nccl/lib64",
    "opt/amazon/ofi-nccl/lib/x86_64-linux-gnu",
    "opt/amazon/ofi-nccl/lib/aarch64-linux-gnu",
    "opt/amazon/aws-ofi-nccl/lib",
    "opt/amazon/aws-ofi-nccl/lib64",
    "opt/aws-ofi-nccl/lib",
    "opt/aws-ofi-nccl/install/lib",
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
/// The most files that are read. No machine has this number of files.
const MOST_LOADER_FILES: usize = 256;

/// A library file in a folder of an installer or a distribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InstalledLibrary {
    /// The library.
    pub library: Library,
    /// The path on the host. A link to a file in the same folder is left out.
    pub path: String,
    /// The symbol versions in the file of libfabric, libefa or libibverbs. `None` for other libraries, for files that
    /// are not 64-bit ELF files, and in records of versions that did not read them.
    #[serde(default)]
    pub symbols: Option<SymbolVersions>,
}

impl InstalledLibrary {
    /// Returns the number after `.so.` in the file name. For libnrt, this number is the version of the runtime. For
    /// other libraries, this number is the interface version and not the release.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        version(&self.path)
    }

    /// Returns the folder of the file.
    #[must_use]
    pub fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

/// A library file that a process has mapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MappedLibrary {
    /// The library.
    pub library: Library,
    /// The path in the mount namespace of the process.
    pub path: String,
    /// True if the file was deleted or replaced while the process used it.
    pub deleted: bool,
}

impl MappedLibrary {
    /// Returns the number after `.so.` in the file name, see [`InstalledLibrary::version`].
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        version(&self.path)
    }
}

/// Returns the number after `.so.` in the file name of a path.
pub(crate) fn version(path: &str) -> Option<&str> {
    Some(path.rsplit('/').next()?.split_once(".so.")?.1)
}

pub(super) fn installed(root: &HostRoot, problems: &mut Problems) -> Vec<InstalledLibrary> {
    let mut all = Vec::new();
    for folder in FOLDERS {
        // A link is a second name of another folder, such as lib64 in some distributions.
        if problems.take(root.link(folder)).flatten().is_some() {
            continue;
        }
        let mut names = problems.take(root.list(folder)).unwrap_or_default();
        names.sort_unstable();
        for name in names {
            let Some(library) = Library::of_file(&name) else { continue };
            let path = format!("{folder}/{name}");
            let target = problems.take(root.link(&path)).flatten();
            // A link without a slash points to a file in the same folder, and that file is listed too.
            if target.is_none_or(|target| target.contains('/')) {
                let symbols = problems.take(symbols::read(root, library, &path)).flatten();
                all.push(InstalledLibrary { library, path: format!("/{path}"), symbols });
            }
        }
    }
    all.sort_by(|a, b| (a.library, &a.path).cmp(&(b.library, &b.path)));
    all
}

/// Returns the vendor programs that exist.
pub(super) fn programs(root: &HostRoot, problems: &mut Problems) -> Vec<String> {
    let mut all = Vec::new();
    for (folder, wanted) in PROGRAMS {
        let names = problems.take(root.list(folder)).unwrap_or_default();
        let present = wanted.iter().filter(|program| names.iter().any(|name| name == *program));
        all.extend(present.map(|program| format!("/{folder}/{program}")));
    }
    all
}

/// Returns the folders in the configuration files of the dynamic loader, which `ldconfig` reads.
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

/// Returns the lines that name a folder. Comments, `include` and `hwcap` lines are left out.
fn named_folders(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| line.starts_with('/'))
        .map(without_end)
}

/// Removes slashes at the end.
fn without_end(folder: &str) -> &str {
    match folder.trim_end_matches('/') {
        "" => "/",
        folder => folder,
    }
}

/// Returns the vendor libraries in the lines of `/proc/PID/maps`, each file once, in the order of addresses.
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

/// Splits a line such as `7f5c8a200000-7f5c8a400000 r-xp 00000000 103:01 1234 /usr/lib/libfabric.so.1` into the device
/// with the inode, and the path. The dynamic loader treats a file as one object under all its names.
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
    fn libraries_are_recognized_by_file_name() {
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
    fn mapped_file_is_listed_once() {
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
    fn loader_folders_are_the_plain_lines() {
        let text = "# comment\ninclude /etc/ld.so.conf.d/*.conf\n/opt/aws/neuron/lib/ # Neuron\n\n//\n/usr/local/lib";
        assert_eq!(named_folders(text).collect::<Vec<_>>(), ["/opt/aws/neuron/lib", "/", "/usr/local/lib"]);
    }

    proptest! {
        #[test]
        fn maps_are_read_as_plainly(
            text in "\\PC{0,40}",
            lines in "([0-9a-f]{1,4}-[0-9a-f]{1,4} [rwxp-]{4} [0-9]{1,4} [0-9:]{1,5} [0-9]{1,2} {0,9}(/[a-z]{0,4}){0,2}/?(libnrt|libefa|libx)?[.so0-9]{0,6}( \\(deleted\\))?\n){0,9}",
        ) {
            for text in [text, lines] {
                let mut seen = Vec::new();
                let mut plain = Vec::new();
                for line in text.lines() {
                    let fields: Vec<&str> = line.splitn(6, ' ').collect();
                    let [_, _, _, device, inode, path] = fields[..] else { continue };
                    let path = path.trim_start_matches(' ');
                    let file = path.trim_end_matches(" (deleted)").rsplit('/').next().unwrap_or_default();
                    if path.starts_with('/') && Library::of_file(file).is_some() && !seen.contains(&(device, inode)) {
                        seen.push((device, inode));
                        plain.push(path.to_owned());
                    }
                }
                let shown = |library: MappedLibrary| format!("{}{}", library.path, if library.deleted { " (deleted)" } else { "" });
                let read: Vec<String> = mapped(&text).into_iter().map(shown).collect();
                prop_assert_eq!(read, plain, "{}", text);
            }
        }

        #[test]
        fn loader_folders_are_read_as_plainly(text in "(#?[a-z/ ]{0,8}#?[a-z/]{0,4}\n){0,6}") {
            let mut plain = Vec::new();
            for line in text.lines() {
                let line = line[..line.find('#').unwrap_or(line.len())].trim();
                if let Some(rest) = line.strip_prefix('/') {
                    plain.push(format!("/{}", rest.trim_end_matches('/').trim_start_matches(if rest.trim_matches('/').is_empty() { "/" } else { "" })));
                }
            }
            prop_assert_eq!(named_folders(&text).map(str::to_owned).collect::<Vec<_>>(), plain);
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
