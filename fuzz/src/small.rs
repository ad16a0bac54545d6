//! A small emulated tree in which one thing at a time is replaced.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use nearfab::instances::InstanceTable;
use tempfile::TempDir;

/// Devices and interfaces of the tree: one whose attributes are replaced, and one to stay as it is.
const DEVICES: usize = 2;
/// Most files of a tree, all of them read in the same way as those that are left.
const ALIKE: [&str; 4] =
    ["stats/memory_usage/host_mem", "stats/memory_usage/device_mem", "stats/hardware", "hw_counters"];

/// A process of the tree.
pub(crate) const PROCESS: u32 = 7;
const OF_PROCESS: [(&str, &str); 5] = [
    ("comm", "python3\n"),
    ("limits", "Max locked memory         65536                65536                bytes     \n"),
    ("status", "Name:\tpython3\nCapEff:\t0000000000000000\n"),
    ("environ", "FI_PROVIDER=efa\0PATH=/bin\0"),
    ("maps", "7f00-7f01 r-xp 00000000 103:01 22                       /usr/lib64/libefa.so.1.4.61.0\n"),
];
const KUBELET: [(&str, &str); 2] = [
    ("plugins_registry/dra.net-reg.sock", ""),
    ("device-plugins/kubelet_internal_checkpoint", r#"{"Data":{"RegisteredDevices":{"aws.amazon.com/neuron":["a"]}}}"#),
];

/// What can stand in the place of an attribute.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A file with the input as its content.
    File,
    /// A link with the input as its target.
    Link,
    /// A link to the device's folder, so many folders up and down again by the input: the kernel says the place of a
    /// device by where its link leads.
    Place { up: &'static str },
    /// One more folder, whose name begins so and ends with the input.
    Name { begin: &'static str },
    /// The folder under another name, which begins so and ends with the input.
    Renamed { begin: &'static str },
}

/// The tree, and what stands outside of it.
pub(crate) struct Small {
    place: TempDir,
}

/// Puts back what was replaced.
pub(crate) struct Replaced<'a> {
    made: Vec<PathBuf>,
    was: Was<'a>,
}

enum Was<'a> {
    Nothing,
    File(&'a Path, Vec<u8>),
    Link(&'a Path, PathBuf),
    Folder(&'a Path, PathBuf),
}

impl Small {
    /// Writes it.
    pub(crate) fn new() -> Self {
        let table = InstanceTable::find("trn2.48xlarge").expect("a table");
        let some = InstanceTable { neuron: &table.neuron[..DEVICES], efa: &table.efa[..DEVICES], ..*table };
        let small = Self { place: tempfile::tempdir().expect("a temporary folder") };
        nearfab_emu::write_tree(&some, &small.root()).expect("a tree");
        fs::write(small.place.path().join("outside"), crate::OUTSIDE).expect("a file");
        small.write("opt/aws/neuron/logical_nc_config", "NEURON_LOGICAL_NC_CONFIG=1\n");
        for (file, content) in OF_PROCESS {
            small.write(&format!("proc/{PROCESS}/{file}"), content);
        }
        for (file, content) in KUBELET {
            small.write(&format!("var/lib/kubelet/{file}"), content);
        }
        // Trees copied from elsewhere may lack it.
        fs::remove_file(small.root().join(format!("sys/bus/pci/devices/{}/uevent", table.efa[1].address)))
            .expect("there");
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

/// Leaves one of each kind of the files and folders of which an emulated tree has many.
pub fn thin(root: &Path) {
    thin_folder(&root.join("sys/devices"), false);
}

fn thin_folder(folder: &Path, alike: bool) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    let is = |path: &Path, what: fn(&Path) -> bool| !path.is_symlink() && what(path);
    for what in [Path::is_file, Path::is_dir] {
        for surplus in entries.iter().filter(|path| alike && is(path, what) && !path.ends_with("health_status")).skip(1)
        {
            let removed = if surplus.is_dir() { fs::remove_dir_all(surplus) } else { fs::remove_file(surplus) };
            removed.expect("there");
        }
    }
    for folder in entries.iter().filter(|path| is(path, Path::is_dir)) {
        thin_folder(folder, ALIKE.iter().any(|end| folder.ends_with(end)));
    }
}

/// A path in the folder where nothing is, named by the beginning and the input; `None` where there is none such.
fn new_name(folder: &Path, begin: &str, input: &[u8]) -> Option<PathBuf> {
    let name = [begin.as_bytes(), input].concat();
    let one = !name.contains(&b'/') && !matches!(&name[..], b"" | b"." | b"..");
    one.then(|| folder.join(OsStr::from_bytes(&name))).filter(|path| !path.exists())
}

impl<'a> Replaced<'a> {
    /// Replaces what is at `path`, which ends as before when this is dropped; `None` where the file system has no such
    /// thing, or something else is at that place.
    pub(crate) fn new(root: &Path, path: &'a Path, kind: Kind, input: &[u8]) -> Option<Self> {
        let text = OsStr::from_bytes(input);
        match kind {
            Kind::File => {
                let was = Was::File(path, fs::read(path).expect("an attribute"));
                fs::write(path, input).expect("an attribute");
                Some(Self { made: Vec::new(), was })
            }
            Kind::Link => Self { made: Vec::new(), was: Was::Nothing }.link(path, text),
            Kind::Place { up } => {
                let device = path.canonicalize().expect("a device");
                let mut replaced = Self { made: Vec::new(), was: Was::Nothing };
                let end = replaced.folders(&root.join("sys/devices"), Path::new(text))?;
                if end.exists() && end != device {
                    return None;
                }
                if !end.exists() {
                    let below = device.strip_prefix(root.canonicalize().ok()?).expect("in the tree");
                    symlink(Path::new("/").join(below), &end).ok()?;
                    replaced.made.push(end);
                }
                let target = [up.as_bytes(), input].concat();
                replaced.link(path, OsStr::from_bytes(&target))
            }
            Kind::Name { begin } => {
                let path = new_name(path, begin, input)?;
                fs::create_dir(&path).ok()?;
                Some(Self { made: vec![path], was: Was::Nothing })
            }
            Kind::Renamed { begin } => {
                let renamed = new_name(path.parent()?, begin, input)?;
                fs::rename(path, &renamed).ok()?;
                Some(Self { made: Vec::new(), was: Was::Folder(path, renamed) })
            }
        }
    }

    fn link(mut self, path: &'a Path, target: &OsStr) -> Option<Self> {
        let was = fs::read_link(path).expect("a link");
        // Made beside it, for not all targets can be made.
        let beside = path.with_extension("new");
        symlink(target, &beside).ok()?;
        fs::rename(beside, path).expect("a link");
        self.was = Was::Link(path, was);
        Some(self)
    }

    /// Makes the folders above the end of a path.
    fn folders(&mut self, from: &Path, path: &Path) -> Option<PathBuf> {
        if path.as_os_str().is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return None;
        }
        let mut folder = from.to_owned();
        for part in path.parent()?.components() {
            folder.push(part);
            if !folder.is_dir() {
                fs::create_dir(&folder).ok()?;
                self.made.push(folder.clone());
            }
        }
        Some(folder.join(path.file_name()?))
    }
}

impl Drop for Replaced<'_> {
    fn drop(&mut self) {
        for made in self.made.iter().rev() {
            let removed = if made.is_symlink() { fs::remove_file(made) } else { fs::remove_dir(made) };
            removed.expect("what was made");
        }
        match &self.was {
            Was::Nothing => {}
            Was::File(path, content) => fs::write(path, content).expect("an attribute"),
            Was::Folder(path, renamed) => fs::rename(renamed, path).expect("a folder"),
            Was::Link(path, target) => {
                fs::remove_file(path).expect("a link");
                symlink(target, path).expect("a link");
            }
        }
    }
}
