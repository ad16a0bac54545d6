//! `cargo xtask allocator`: the tests of the driver's device model by Kubernetes' own allocator.
//!
//! `tests/allocator/` runs the allocator of the scheduler as a program, without a cluster. The tests are in
//! `dra/tests/allocator/`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

use crate::run::{say, visibly, workspace};
use crate::{go, memory};

/// The files that require the allocator's modules, in three versions. Kubernetes 1.34 is the oldest with
/// `resource.k8s.io/v1`, 1.36.3 the oldest that gets overlapping devices, and 1.37 the newest.
const REQUIREMENTS: [&str; 3] = ["go-0.34.mod", "go-0.36.mod", "go.mod"];

/// Builds the allocators, and runs the tests with each of them. `SEQUENCES` is the number of random sequences.
///
/// # Errors
/// If an allocator cannot be built, or a test fails.
pub(crate) fn run() -> Result<()> {
    let source = workspace().join("tests/allocator");
    let programs = workspace().join("target/allocator");
    // A program of a version that is no longer required would be a further judge.
    match fs::remove_dir_all(&programs) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| programs.display().to_string());
        }
        _ => {}
    }
    for file in REQUIREMENTS {
        let path = source.join(file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let word = |before: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(before));
            line.with_context(|| format!("{} has no line {before:?}", path.display()))
        };
        if let Err(reason) = go::require(word("go ")?) {
            say(format_args!("SKIPPED allocator: {reason:#}"));
            return Ok(());
        }
        let program = programs.join(word("k8s.io/dynamic-resource-allocation v")?);
        let mut build = go::command(&source);
        visibly(build.args(["build", "-trimpath", "-modfile", file, "-o"]).arg(program).arg("."))?;
    }
    let mut tests = memory::command(Path::new(env!("CARGO")));
    tests.current_dir(workspace()).env("NEARFAB_ALLOCATORS", &programs);
    visibly(tests.args(["test", "--package", "nearfab-dra", "--test", "allocator", "--", "--nocapture"]))
}
