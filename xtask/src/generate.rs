//! `cargo xtask generate`: the committed files that a program makes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run::{output, say, workspace};
use crate::tools;

/// A generated file: its path, and what makes its content.
type Generated = (&'static str, fn() -> Result<String>);

const FILES: [Generated; 6] = [
    ("sys/src/bindings/fabric.rs", || from_build_script("nearfab-sys", "fabric.rs")),
    ("sys/src/bindings/verbs.rs", || from_build_script("nearfab-sys", "verbs.rs")),
    ("dra/src/proto/dra.rs", || from_build_script("nearfab-dra", "k8s.io.kubelet.pkg.apis.dra.v1.rs")),
    ("dra/src/proto/registration.rs", || from_build_script("nearfab-dra", "pluginregistration.rs")),
    ("include/nearfab.h", header),
    ("docs/img/trn2.48xlarge.svg", picture),
];

/// Writes the generated files, or with `check` only compares them.
///
/// # Errors
/// When a generator fails, or with `check` when a file is not what its generator makes.
pub(crate) fn run(check: bool) -> Result<()> {
    for (file, make) in FILES {
        let path = workspace().join(file);
        let made = make().with_context(|| format!("making {file}"))?;
        if fs::read_to_string(&path).is_ok_and(|present| present == made) {
            continue;
        }
        if check {
            bail!("{file} is not what its generator makes: run `cargo xtask generate` and look at the difference");
        }
        fs::write(&path, made).with_context(|| format!("writing {file}"))?;
        say(format_args!("wrote {file}"));
    }
    Ok(())
}

/// What the build script of a package makes with the feature `generate`: bindings from the installed headers by
/// libclang, code from the protocols.
fn from_build_script(package: &str, file: &str) -> Result<String> {
    let messages = output(
        cargo()
            .args(["check", "--quiet", "--message-format", "json", "--features", "generate"])
            .args(["--package", package]),
    )?;
    let folder = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let ours = message["reason"] == "build-script-executed" && message["package_id"].as_str()?.contains(package);
        ours.then(|| message["out_dir"].as_str().map(PathBuf::from))?
    });
    let path = folder.with_context(|| format!("cargo told nothing of the build script of {package}"))?.join(file);
    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// From the sources of the C face.
fn header() -> Result<String> {
    let cbindgen = tools::from_crates(&tools::CBINDGEN)?;
    output(Command::new(cbindgen).current_dir(workspace()).args(["--quiet", "--config", "capi/cbindgen.toml", "capi"]))
}

/// The README's picture.
fn picture() -> Result<String> {
    output(cargo().args(["run", "--quiet", "--example", "map", "--", "trn2.48xlarge"]))
}

fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace());
    cargo
}
