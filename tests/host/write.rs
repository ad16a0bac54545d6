//! Changing the files of a tree.

use std::fs;
use std::path::Path;

/// Writes a file of a tree. Replaces the old file, because drivers make some attributes read-only.
pub(crate) fn write(root: &Path, path: &str, content: &(impl AsRef<[u8]> + ?Sized)) {
    let path = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(path.parent().expect("a path below the root")).expect("its folder");
    if path.exists() {
        fs::remove_file(&path).expect("the old file");
    }
    fs::write(path, content).expect("the new file");
}
