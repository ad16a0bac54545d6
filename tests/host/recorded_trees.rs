//! Rebuilds trees that the real Neuron driver made, from recordings of the trees.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::tree;
use crate::write::write;

/// Rebuilds a recorded tree (`F mode path b'content'`, `L path -> target`, `D mode node major:minor`) below `root`.
fn rebuild(recording: &str, root: &Path) {
    let text = fs::read_to_string(recording).unwrap();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (kind, rest) = line.split_once(' ').unwrap();
        match kind {
            "F" => {
                let (mode, rest) = rest.split_once(' ').unwrap();
                let (path, literal) = rest.split_once(' ').unwrap_or((rest, "b''"));
                write(root, path, &content(literal));
                let mode = Permissions::from_mode(u32::from_str_radix(mode, 8).unwrap());
                fs::set_permissions(root.join(path.trim_start_matches('/')), mode).unwrap();
                // The recording has only the first core. By the header of the recording, the other cores have the same
                // files.
                if let Some((device, attribute)) = path.split_once("/neuron_core0/") {
                    for core in 1..cores_of(&text) {
                        write(root, &format!("{device}/neuron_core{core}/{attribute}"), &content(literal));
                    }
                }
            }
            "L" => {
                let (path, target) = rest.split_once(" -> ").unwrap();
                let path = root.join(path.trim_start_matches('/'));
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                symlink(target, path).unwrap();
            }
            "D" => write(root, rest.split(' ').nth(1).unwrap(), ""),
            other => panic!("a line of kind {other}: {line}"),
        }
    }
}

/// Returns the core_count that the driver wrote, from the text of the recording.
fn cores_of(recording: &str) -> u32 {
    let line = recording.lines().find(|line| line.contains("/core_count b'")).unwrap();
    content(line.rsplit(' ').next().unwrap()).parse().unwrap()
}

fn content(literal: &str) -> String {
    literal.trim_start_matches("b'").trim_end_matches('\'').replace("\\n", "\n")
}

/// Writes the tree that the driver made for a device of a family: `trn1`, `trn2` or `inf2`.
pub(crate) fn recorded(name: &str) -> tempfile::TempDir {
    let dir = tree::folder();
    rebuild(&format!("tests/captured/neuron-sysfs-{name}-driver-2.24.7.txt"), dir.path());
    dir
}
