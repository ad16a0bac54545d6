//! `cargo xtask generate`: the committed files that a program writes.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run::{output, say, workspace};
use crate::{api, setup, tools};

/// A generated file: its path, and the function that returns its content.
type Generated = (&'static str, fn() -> Result<String>);

const FILES: [Generated; 7] = [
    ("sys/src/bindings/fabric.rs", || from_build_script("nearfab-sys", "fabric.rs")),
    ("sys/src/bindings/verbs.rs", || from_build_script("nearfab-sys", "verbs.rs")),
    ("dra/src/proto/dra.rs", || from_build_script("nearfab-dra", "k8s.io.kubelet.pkg.apis.dra.v1.rs")),
    ("dra/src/proto/registration.rs", || from_build_script("nearfab-dra", "pluginregistration.rs")),
    ("include/nearfab.h", header),
    ("docs/img/trn2.48xlarge.svg", picture),
    ("docs/reference/api.txt", api::text),
];

/// The options of `cargo xtask generate`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The files to write (default: all)
    files: Vec<String>,
    /// Compare the files, and write none
    #[arg(long)]
    check: bool,
}

/// Compares all generated files.
///
/// # Errors
/// If a generator fails, or a file differs from its generator's content.
pub(crate) fn check() -> Result<()> {
    run(&Options { files: Vec::new(), check: true })
}

/// Writes the generated files; with `check`, compares them instead.
///
/// # Errors
/// If a generator fails; with `check`, if a file differs from its generator's content.
pub(crate) fn run(Options { files, check }: &Options) -> Result<()> {
    let known = FILES.map(|(file, _)| file);
    if let Some(unknown) = files.iter().find(|file| !known.contains(&file.as_str())) {
        bail!("no generator writes {unknown}; these files are generated: {}", known.join(", "));
    }
    if let Err(reason) = setup::for_checks() {
        say(reason); // The build scripts name a missing header as well.
    }
    let mut outdated = Vec::new();
    for (file, make) in FILES.iter().filter(|(file, _)| files.is_empty() || files.iter().any(|name| name == file)) {
        let path = workspace().join(file);
        let content = make().with_context(|| format!("generating {file}"))?;
        let committed = fs::read_to_string(&path).unwrap_or_default();
        if committed == content {
            continue;
        }
        if *check {
            say(format_args!("{file} differs from its generator's content:\n{}", difference(&committed, &content)));
            outdated.push(*file);
            continue;
        }
        fs::write(&path, content).with_context(|| format!("writing {file}"))?;
        say(format_args!("wrote {file}"));
    }
    if !outdated.is_empty() {
        bail!("outdated: {}: run `cargo xtask generate` and read the difference", outdated.join(", "));
    }
    Ok(())
}

/// Returns the first lines that only one of two texts has.
fn difference(committed: &str, content: &str) -> String {
    let only_in = |text: &str, other: &str, mark: char| {
        let other: BTreeSet<&str> = other.lines().collect();
        let lines = text.lines().filter(|line| !other.contains(line)).take(20);
        lines.map(|line| format!("{mark} {line}\n")).collect::<String>()
    };
    only_in(committed, content, '-') + &only_in(content, committed, '+')
}

/// Returns a file that a package's build script writes with the feature `generate`: bindings from the installed headers
/// by libclang, or code from the protocols.
fn from_build_script(package: &str, file: &str) -> Result<String> {
    let messages = output(
        cargo()
            .args(["check", "--quiet", "--message-format", "json", "--features", "generate"])
            .args(["--package", package]),
    )?;
    let folder = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let matches = message["reason"] == "build-script-executed" && message["package_id"].as_str()?.contains(package);
        matches.then(|| message["out_dir"].as_str().map(PathBuf::from))?
    });
    let path = folder.with_context(|| format!("cargo reports no build script of {package}"))?.join(file);
    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// Returns the C header, written by cbindgen from the sources of the C library.
fn header() -> Result<String> {
    let cbindgen = tools::from_crates(&tools::CBINDGEN)?;
    output(Command::new(cbindgen).current_dir(workspace()).args(["--quiet", "--config", "capi/cbindgen.toml", "capi"]))
}

/// Returns the README's picture.
fn picture() -> Result<String> {
    output(cargo().args(["run", "--quiet", "--example", "map", "--", "trn2.48xlarge"]))
}

fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace());
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_disappears_is_shown() {
        assert_eq!(difference("a\nb\nc\n", "a\nc\nd\n"), "- b\n+ d\n");
    }
}
