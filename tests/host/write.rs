//! Changing what a tree says.

use std::fs;
use std::path::Path;

/// Puts a file into a tree, in place of what is there: attributes that their driver lets nobody write as well, whoever
/// the tests run as.
pub(crate) fn write(root: &Path, path: &str, content: &(impl AsRef<[u8]> + ?Sized)) {
    let path = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(path.parent().expect("a path below the root")).expect("its folder");
    if path.exists() {
        fs::remove_file(&path).expect("the old file");
    }
    fs::write(path, content).expect("the new file");
}
