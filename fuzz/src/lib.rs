//! What the fuzz targets share: what must hold for every host, and a text form of small file trees.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::hash::Hash;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Component, Path};

use nearfab::{Basis, Evidence, Host, Near};

/// What stands beside each tree and must never be in what was read.
pub const OUTSIDE: &str = "this-is-outside-of-the-tree";

/// Panics where a host, however it came to be, does not hold together.
pub fn check(host: &Host) {
    let read_back = Host::from_json(&host.to_json()).expect("what was written is read");
    assert_eq!(&read_back, host);
    for basis in [Basis::Pairing, Basis::Place] {
        for device in host.neuron() {
            let near = host.near_device(device.index, basis).expect("a device that the host has");
            check_ranks(&near.entries, host.efa().len());
            for core in device.cores().take(3) {
                let near = host.near_core(core, basis).expect("a core that the host has");
                check_ranks(&near.entries, host.efa().len());
            }
        }
        for efa in host.efa() {
            let near = host.near_efa(efa.address(), basis).expect("an interface that the host has");
            check_ranks(&near.entries, host.neuron().len());
        }
    }
}

fn check_ranks<T: Debug + Clone + Eq + Hash>(entries: &[Near<T>], candidates: usize) {
    assert!(entries.len() <= candidates, "{entries:?}");
    assert!(entries.first().is_none_or(|first| first.rank == 1), "{entries:?}");
    for pair in entries.windows(2) {
        assert!(pair[1].rank == pair[0].rank || pair[1].rank == pair[0].rank + 1, "{entries:?}");
        let by_place = pair.iter().all(|near| matches!(near.evidence, Evidence::Place { .. }));
        assert!(!by_place || pair[0].proximity <= pair[1].proximity, "{entries:?}");
    }
}

/// Begins a file: its path, and on the lines after it its content.
const FILE: u8 = b'@';
/// Begins a symbolic link: its path, a space, and its target.
const LINK: u8 = b'>';

/// Writes the tree that `text` describes, as far as the file system takes it. Each line that begins with `@` or `>` is
/// an entry, as [`describe`] writes it.
pub fn write(text: &[u8], root: &Path) {
    let mut entries: Vec<(u8, Vec<u8>)> = Vec::new();
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        match (line.first(), entries.last_mut()) {
            (Some(&kind @ (FILE | LINK)), _) => entries.push((kind, line[1..].to_vec())),
            (_, Some((_, entry))) => entry.extend_from_slice(line),
            _ => {}
        }
    }
    for (kind, entry) in entries {
        let split = |at: u8| entry.iter().position(|&byte| byte == at).map(|i| (&entry[..i], &entry[i + 1..]));
        let Some((path, content)) = split(if kind == FILE { b'\n' } else { b' ' }) else { continue };
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        if path.as_os_str().is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
            continue;
        }
        let path = root.join(path);
        // What the file system refuses (a file as a folder, a name too long) is not in the tree.
        let folder = path.parent().unwrap_or(root);
        let _ = fs::create_dir_all(folder);
        let inside = folder.canonicalize().is_ok_and(|folder| folder.starts_with(root));
        let _ = match kind {
            FILE if inside && !path.is_symlink() => fs::write(path, content),
            LINK if inside => symlink(std::ffi::OsStr::from_bytes(content.trim_ascii_end()), path),
            _ => Ok(()),
        };
    }
}

/// The text form of the files and links below `root` whose paths are wanted.
pub fn describe(root: &Path, wanted: &dyn Fn(&str) -> bool) -> String {
    let mut entries = BTreeSet::new();
    collect(root, root, wanted, &mut entries);
    entries.into_iter().collect()
}

fn collect(root: &Path, folder: &Path, wanted: &dyn Fn(&str) -> bool, entries: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder of the tree") {
        let path = entry.expect("an entry of the tree").path();
        let name = path.strip_prefix(root).expect("a path below the root").to_str().expect("a name in UTF-8");
        if path.is_symlink() {
            let target = fs::read_link(&path).expect("a link");
            if wanted(name) {
                entries.insert(format!(">{name} {}\n", target.display()));
            }
        } else if path.is_dir() {
            collect(root, &path, wanted, entries);
        } else if wanted(name) {
            entries.insert(format!("@{name}\n{}", fs::read_to_string(&path).unwrap_or_default()));
        }
    }
}
