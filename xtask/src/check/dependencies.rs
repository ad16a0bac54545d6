//! The dependencies: licences, bans and sources; their oldest Rust; and what the library builds without `live`.

use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::report;
use crate::run::{output, visibly, workspace};
use crate::tools;

/// The crates that the library without `live` must not depend on: without `live`, it opens no library, maps no memory
/// and calls no C interface.
const LIVE_ONLY: [&str; 3] = ["libloading", "memmap2", "nearfab-sys"];

/// Runs all checks of dependencies.
///
/// # Errors
/// If a check fails.
pub(crate) fn run() -> Result<()> {
    report("rust-version", &too_new(&Metadata::read()?))?;
    without_live()?;
    let deny = tools::from_crates(&tools::CARGO_DENY)?;
    visibly(Command::new(deny).current_dir(workspace()).args(["--workspace", "check", "bans", "licenses", "sources"]))
}

/// The output of `cargo metadata`.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    rust_version: Option<String>,
}

impl Metadata {
    fn read() -> Result<Self> {
        let mut cargo = cargo(&["metadata", "--format-version", "1", "--locked"]);
        serde_json::from_str(&output(&mut cargo)?).context("reading what cargo metadata reports")
    }
}

/// Returns the dependencies that need a newer Rust than a package of the workspace promises.
fn too_new(metadata: &Metadata) -> Vec<String> {
    let (members, others): (Vec<_>, Vec<_>) =
        metadata.packages.iter().partition(|package| metadata.workspace_members.contains(&package.id));
    let promised =
        members.iter().filter_map(|package| package.rust_version.as_deref()).min_by_key(|text| numbers(text));
    let Some(promised) = promised else { return vec!["Cargo.toml: no rust-version".to_owned()] };
    let needs_newer =
        |package: &&&Package| package.rust_version.as_deref().is_some_and(|needed| numbers(needed) > numbers(promised));
    let fault = |package: &&Package| {
        let Package { name, version, rust_version, .. } = package;
        let needed = rust_version.as_deref().unwrap_or_default();
        format!("{name} {version} needs Rust {needed}; nearfab supports {promised} and newer: use an older version")
    };
    others.iter().filter(needs_newer).map(fault).collect()
}

/// The numbers of a version, to compare versions by.
fn numbers(version: &str) -> [u32; 3] {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}

/// Builds the library without the feature `live`, and checks the dependencies of the library.
fn without_live() -> Result<()> {
    let package = ["--package", "nearfab", "--no-default-features"];
    visibly(cargo(&["check", "--quiet"]).args(package))?;
    let mut tree = cargo(&["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    report("dependencies without `live`", &live_only(&output(tree.args(package))?))
}

/// Returns the dependencies in the output of `cargo tree` that only `live` may have.
fn live_only(tree: &str) -> Vec<String> {
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let found = names.filter(|name| LIVE_ONLY.contains(name));
    found.map(|name| format!("Cargo.toml: nearfab without `live` depends on {name}")).collect()
}

fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace()).args(arguments);
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_that_needs_a_newer_rust_is_a_fault() {
        let package = |id: &str, rust_version: Option<&str>| Package {
            id: id.to_owned(),
            name: id.to_owned(),
            version: "1.0.0".to_owned(),
            rust_version: rust_version.map(str::to_owned),
        };
        let metadata = Metadata {
            packages: vec![
                package("members", Some("1.89")),
                package("equal", Some("1.89.0")),
                package("older", Some("1.9")),
                package("unknown", None),
                package("newer", Some("1.90")),
            ],
            workspace_members: vec!["members".to_owned()],
        };
        let faults = too_new(&metadata);
        assert_eq!(faults, ["newer 1.0.0 needs Rust 1.90; nearfab supports 1.89 and newer: use an older version"]);
    }

    #[test]
    fn a_dependency_of_live_is_found() {
        assert_eq!(live_only("nearfab v0.1.0 (/a)\nserde v1.0.0\nlibc v0.2.0 (*)\n"), [""; 0]);
        assert_eq!(live_only("nearfab v0.1.0 (/a)\nlibloading v0.9.1\n").len(), 1);
    }
}
