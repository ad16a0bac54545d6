//! Small file trees as text.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Component, Path};

/// Begins a file: its path follows on the same line, and its content on the next lines.
const FILE: u8 = b'@';
/// Begins a symbolic link: its path, a space and its target follow on the same line.
const LINK: u8 = b'>';

/// Writes the tree that `text` describes. Each line that begins with `@` or `>` begins an entry, as [`describe`] writes it.
/// Skips entries that the file system refuses.
pub fn write(text: &[u8], root: &Path) {
    let mut entries: Vec<(u8, Vec<u8>)> = Vec::new();
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        match (line.first(), entries.last_mut()) {
            (Some(&kind @ (FILE | LINK)), _) => entries.push((kind, line[1..].to_vec())),
            (_, Some((_, entry))) => entry.extend_from_slice(line),
            _ => {}
        }
    }
    // Folders known to be inside of the tree. They stay so, since no folder becomes a link.
    let mut insides = HashSet::new();
    for (kind, entry) in entries {
        let split = |at: u8| entry.iter().position(|&byte| byte == at).map(|i| (&entry[..i], &entry[i + 1..]));
        let Some((path, content)) = split(if kind == FILE { b'\n' } else { b' ' }) else { continue };
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        if path.as_os_str().is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
            continue;
        }
        let path = root.join(path);
        // The file system refuses, for example, a file as a folder and a name that is too long.
        let folder = path.parent().unwrap_or(root);
        let inside = insides.contains(folder) || {
            let _ = fs::create_dir_all(folder);
            folder.canonicalize().is_ok_and(|folder| folder.starts_with(root))
        };
        if inside {
            insides.insert(folder.to_owned());
        }
        let _ = match kind {
            FILE if inside && !path.is_symlink() => fs::write(path, content),
            LINK if inside => symlink(std::ffi::OsStr::from_bytes(content.trim_ascii_end()), path),
            _ => Ok(()),
        };
    }
}

/// Returns the text of the files and links below `root` for whose paths `wanted` returns true.
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
