//! `cargo xtask package`: each published package, unpacked outside of the workspace, builds and passes its examples.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::packages::{Package, published};
use crate::run::{output, say, visibly, workspace};

/// Packs the packages, unpacks them, and builds and tests each with the other packages put in place of the registry's.
///
/// # Errors
/// If a package cannot be packed, does not build, or an example in its documentation fails.
pub(crate) fn run() -> Result<()> {
    let folder = workspace().join("target/unpacked");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("emptying {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let version = pack()?;
    for package in published() {
        unpack(package, &version, &folder)?;
    }
    for package in published() {
        say(format_args!("package {}", package.name));
        check(package, &version, &folder)?;
    }
    say(format_args!("test result: ok. {} passed; 0 failed; packages built and tested alone", published().count()));
    Ok(())
}

/// Packs the packages, and returns their version.
fn pack() -> Result<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace()).args(["package", "--quiet", "--no-verify", "--allow-dirty"]);
    cargo.args(published().flat_map(|package| ["--package", package.name]));
    visibly(&mut cargo)?;
    let mut id = Command::new(env!("CARGO"));
    let id = output(id.current_dir(workspace()).args(["pkgid", "--package", "nearfab"]))?;
    let version = id.trim().rsplit(['#', '@']).next().context("cargo pkgid prints no version")?;
    Ok(version.to_owned())
}

fn unpack(package: &Package, version: &str, folder: &Path) -> Result<()> {
    let archive = workspace().join(format!("target/package/{}-{version}.crate", package.name));
    ensure!(archive.is_file(), "cargo package did not write {}", archive.display());
    output(
        Command::new("tar").arg("--extract").arg("--gzip").arg("--file").arg(archive).arg("--directory").arg(folder),
    )?;
    let manifest = unpacked(package, version, folder).join("Cargo.toml");
    let mut text = fs::read_to_string(&manifest).with_context(|| format!("reading {}", manifest.display()))?;
    // The folder is below the workspace, and is no part of the workspace.
    text += "\n[workspace]\n";
    fs::write(&manifest, text).with_context(|| format!("writing {}", manifest.display()))
}

fn unpacked(package: &Package, version: &str, folder: &Path) -> PathBuf {
    folder.join(format!("{}-{version}", package.name))
}

/// Builds a package and runs the examples in its documentation.
fn check(package: &Package, version: &str, folder: &Path) -> Result<()> {
    let cargo = |arguments: &[&str]| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(unpacked(package, version, folder)).args(arguments);
        cargo.arg("--target-dir").arg(workspace().join("target/unpacked-build"));
        for sibling in published().filter(|sibling| sibling.name != package.name) {
            let path = unpacked(sibling, version, folder);
            cargo.arg("--config").arg(format!("patch.crates-io.{}.path={:?}", sibling.name, path));
        }
        cargo
    };
    visibly(&mut cargo(&["build", "--quiet"]))?;
    let manifest = fs::read_to_string(unpacked(package, version, folder).join("Cargo.toml"))?;
    // Only a library has examples in its documentation.
    if manifest.contains("\n[lib]\n") {
        visibly(&mut cargo(&["test", "--quiet", "--doc"]))?;
    }
    Ok(())
}
