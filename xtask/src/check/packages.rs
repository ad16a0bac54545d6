//! The files in each package that is published.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::report;
use crate::files;
use crate::lexer::{Kind, tokens};
use crate::packages::{Package, published};
use crate::run::{output, workspace};

/// The files that each package contains.
const NEEDED: [&str; 3] = ["Cargo.toml", "LICENSE", "README.md"];

/// Checks the files that `cargo package` would put into each package.
///
/// # Errors
/// If a needed file is missing, or a source includes a file that is not in its package.
pub(crate) fn run() -> Result<()> {
    let mut faults = Vec::new();
    for package in published() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(workspace()).args(["package", "--list", "--allow-dirty", "--package", package.name]);
        let list = output(&mut cargo)?;
        faults.extend(package_faults(package, &list.lines().collect()));
    }
    report("packages", &faults)
}

/// Returns the faults of a package with these files.
fn package_faults(package: &Package, files: &BTreeSet<&str>) -> Vec<String> {
    let missing = NEEDED.iter().filter(|file| !files.contains(**file));
    let missing = missing.map(|file| format!("{}: the package lacks {file}", package.file("Cargo.toml")));
    let mut faults: Vec<String> = missing.collect();
    for file in files.iter().filter(|file| file.ends_with(".rs")) {
        let name = package.file(file);
        let Some(source) = files::text(&name) else { continue };
        let outside = included(file, &source).into_iter().filter(|(_, path)| !files.contains(path.as_str()));
        faults.extend(outside.map(|(line, path)| format!("{name}:{line}: includes {path}, which the package lacks")));
    }
    faults
}

/// Returns the files that a source includes by a literal path, relative to its package, with their lines.
fn included(file: &str, source: &str) -> Vec<(usize, String)> {
    let tokens: Vec<(usize, Kind)> = tokens(source).into_iter().map(|token| (token.line, token.kind)).collect();
    let includes = tokens.windows(4).filter_map(|four| match four {
        [
            (line, Kind::Word("include" | "include_str" | "include_bytes")),
            (_, Kind::Mark('!')),
            (_, Kind::Mark('(')),
            (_, Kind::Text(path)),
        ] => Some((*line, within(file, path))),
        _ => None,
    });
    includes.collect()
}

/// Converts a path relative to a file into a path relative to the top of the package. A path that leaves the package
/// begins with `..`.
fn within(file: &str, path: &str) -> String {
    let mut resolved = PathBuf::new();
    for part in Path::new(file).parent().unwrap_or(Path::new("")).join(path).components() {
        match part {
            Component::ParentDir if resolved.file_name().is_some() => {
                resolved.pop();
            }
            part => resolved.push(part),
        }
    }
    resolved.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn included_files_are_relative_to_the_package() {
        let source = "#[doc = include_str!(\"../docs/a.md\")]\nstruct A;\nconst B: &[u8] = include_bytes!(\n\"b\");\n\
                      include!(concat!(env!(\"OUT_DIR\"), \"/c\"));\nconst D: &str = include_str!(\"../../d\");";
        let found = included("src/lib.rs", source);
        assert_eq!(found, [(1, "docs/a.md"), (3, "src/b"), (6, "../d")].map(|(line, path)| (line, path.to_owned())));
    }
}
