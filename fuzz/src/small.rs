//! A small emulated tree in which one entry at a time is replaced.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use nearfab::instances::InstanceTable;
use tempfile::TempDir;

/// The number of devices and of interfaces in the tree. The attributes of one are replaced, the other stays unchanged.
const DEVICES: usize = 2;
/// The folders with most of a tree's files. The library reads all files of such a folder in the same way.
const SIMILAR_FILES: [&str; 4] =
    ["stats/memory_usage/host_mem", "stats/memory_usage/device_mem", "stats/hardware", "hw_counters"];

/// The PID of the tree's process.
pub(crate) const PROCESS: u32 = 7;
/// The files of the tree's process.
const PROCESS_FILES: [(&str, &str); 5] = [
    ("comm", "python3\n"),
    ("limits", "Max locked memory         65536                65536                bytes     \n"),
    ("status", "Name:\tpython3\nCapEff:\t0000000000000000\n"),
    ("environ", "FI_PROVIDER=efa\0PATH=/bin\0"),
    ("maps", "7f00-7f01 r-xp 00000000 103:01 22                       /usr/lib64/libefa.so.1.4.61.0\n"),
];
/// The files of the tree's kubelet.
const KUBELET_FILES: [(&str, &str); 2] = [
    ("plugins_registry/dra.net-reg.sock", ""),
    ("device-plugins/kubelet_internal_checkpoint", r#"{"Data":{"RegisteredDevices":{"aws.amazon.com/neuron":["a"]}}}"#),
];

/// The entry that replaces an attribute.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A file with the input as its content.
    File,
    /// A link with the input as its target.
    Link,
    /// A link to the device's folder: `up` and then the input. The kernel shows the location of a device by the target of its
    /// link.
    Place { up: &'static str },
    /// An additional folder, whose name is `begin` and the input.
    Name { begin: &'static str },
    /// The folder, renamed to `begin` and the input.
    Renamed { begin: &'static str },
}

/// The tree, and a file outside of the tree.
pub(crate) struct Small {
    place: TempDir,
}

/// A replaced entry. Dropping this restores the tree.
pub(crate) struct Replaced<'a> {
    created: Vec<PathBuf>,
    original: Original<'a>,
}

/// The entry before it was replaced.
enum Original<'a> {
    None,
    File(&'a Path, Vec<u8>),
    Link(&'a Path, PathBuf),
    Folder(&'a Path, PathBuf),
}

impl Small {
    /// Writes the tree.
    pub(crate) fn new() -> Self {
        let table = InstanceTable::find("trn2.48xlarge").expect("a table");
        let some = InstanceTable { neuron: &table.neuron[..DEVICES], efa: &table.efa[..DEVICES], ..*table };
        let small = Self { place: tempfile::tempdir().expect("a temporary folder") };
        nearfab_emu::write_tree(&some, &small.root()).expect("a tree");
        fs::write(small.place.path().join("outside"), crate::OUTSIDE).expect("a file");
        small.write("opt/aws/neuron/logical_nc_config", "NEURON_LOGICAL_NC_CONFIG=1\n");
        for (file, content) in PROCESS_FILES {
            small.write(&format!("proc/{PROCESS}/{file}"), content);
        }
        for (file, content) in KUBELET_FILES {
            small.write(&format!("var/lib/kubelet/{file}"), content);
        }
        // A tree that a tool copied may lack this file.
        fs::remove_file(small.root().join(format!("sys/bus/pci/devices/{}/uevent", table.efa[1].address)))
            .expect("the file exists");
        thin(&small.root());
        small
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.place.path().join("tree")
    }

    fn write(&self, file: &str, content: &str) {
        let file = self.root().join(file);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, content).expect("a file");
    }
}

/// Removes all but one of the files and of the folders in each folder of [`SIMILAR_FILES`].
pub fn thin(root: &Path) {
    thin_folder(&root.join("sys/devices"), false);
}

fn thin_folder(folder: &Path, has_similar_files: bool) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    let is = |path: &Path, what: fn(&Path) -> bool| !path.is_symlink() && what(path);
    for what in [Path::is_file, Path::is_dir] {
        for removable in entries
            .iter()
            .filter(|path| has_similar_files && is(path, what) && !path.ends_with("health_status"))
            .skip(1)
        {
            let removed = if removable.is_dir() { fs::remove_dir_all(removable) } else { fs::remove_file(removable) };
            removed.expect("the file exists");
        }
    }
    for folder in entries.iter().filter(|path| is(path, Path::is_dir)) {
        thin_folder(folder, SIMILAR_FILES.iter().any(|end| folder.ends_with(end)));
    }
}

/// Returns a free path in the folder whose name is `begin` and the input, or `None` if that is no name or is not free.
fn new_name(folder: &Path, begin: &str, input: &[u8]) -> Option<PathBuf> {
    let name = [begin.as_bytes(), input].concat();
    let valid = !name.contains(&b'/') && !matches!(&name[..], b"" | b"." | b"..");
    valid.then(|| folder.join(OsStr::from_bytes(&name))).filter(|path| !path.exists())
}

impl<'a> Replaced<'a> {
    /// Replaces the entry at `path` until the result is dropped. Returns `None` if the file system refuses the new entry, or if
    /// another entry is at its path.
    pub(crate) fn new(root: &Path, path: &'a Path, kind: Kind, input: &[u8]) -> Option<Self> {
        let text = OsStr::from_bytes(input);
        match kind {
            Kind::File => {
                let original = Original::File(path, fs::read(path).expect("an attribute"));
                fs::write(path, input).expect("an attribute");
                Some(Self { created: Vec::new(), original })
            }
            Kind::Link => Self { created: Vec::new(), original: Original::None }.link(path, text),
            Kind::Place { up } => {
                let device = path.canonicalize().expect("a device");
                let mut replaced = Self { created: Vec::new(), original: Original::None };
                let end = replaced.folders(&root.join("sys/devices"), Path::new(text))?;
                if end.exists() && end != device {
                    return None;
                }
                if !end.exists() {
                    let below = device.strip_prefix(root.canonicalize().ok()?).expect("in the tree");
                    symlink(Path::new("/").join(below), &end).ok()?;
                    replaced.created.push(end);
                }
                let target = [up.as_bytes(), input].concat();
                replaced.link(path, OsStr::from_bytes(&target))
            }
            Kind::Name { begin } => {
                let path = new_name(path, begin, input)?;
                fs::create_dir(&path).ok()?;
                Some(Self { created: vec![path], original: Original::None })
            }
            Kind::Renamed { begin } => {
                let renamed = new_name(path.parent()?, begin, input)?;
                fs::rename(path, &renamed).ok()?;
                Some(Self { created: Vec::new(), original: Original::Folder(path, renamed) })
            }
        }
    }

    fn link(mut self, path: &'a Path, target: &OsStr) -> Option<Self> {
        let original = fs::read_link(path).expect("a link");
        // The new link is created beside the old link first: the file system refuses some targets.
        let beside = path.with_extension("new");
        symlink(target, &beside).ok()?;
        fs::rename(beside, path).expect("a link");
        self.original = Original::Link(path, original);
        Some(self)
    }

    /// Creates the missing folders on a path, and returns the path below `from`.
    fn folders(&mut self, from: &Path, path: &Path) -> Option<PathBuf> {
        if path.as_os_str().is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return None;
        }
        let mut folder = from.to_owned();
        for part in path.parent()?.components() {
            folder.push(part);
            if !folder.is_dir() {
                fs::create_dir(&folder).ok()?;
                self.created.push(folder.clone());
            }
        }
        Some(folder.join(path.file_name()?))
    }
}

impl Drop for Replaced<'_> {
    fn drop(&mut self) {
        for path in self.created.iter().rev() {
            let removed = if path.is_symlink() { fs::remove_file(path) } else { fs::remove_dir(path) };
            removed.expect("the created entry exists");
        }
        match &self.original {
            Original::None => {}
            Original::File(path, content) => fs::write(path, content).expect("an attribute"),
            Original::Folder(path, renamed) => fs::rename(renamed, path).expect("a folder"),
            Original::Link(path, target) => {
                fs::remove_file(path).expect("a link");
                symlink(target, path).expect("a link");
            }
        }
    }
}
