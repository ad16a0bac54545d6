//! `cargo xtask allocator`: the tests of the driver's device model by Kubernetes' own allocator.
//!
//! `tests/allocator/` runs the allocator of the scheduler as a program, without a cluster. The tests are in
//! `dra/tests/allocator/`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::run::{say, visibly, workspace};
use crate::{go, memory};

/// The versions of the allocator's modules, with the files that require them. Kubernetes 1.34 is the oldest with `resource.k8s.io/v1`, 1.36.3 the oldest
/// that gets overlapping devices, and 1.37 the newest.
const VERSIONS: [(&str, &str); 3] = [("0.34.4", "go-0.34.mod"), ("0.36.3", "go-0.36.mod"), ("0.37.2", "go.mod")];

/// The oldest Go that builds all versions.
const GO: &str = "1.26.0";

/// Builds the allocators, and runs the tests with each of them. `SEQUENCES` is the number of random sequences.
///
/// # Errors
/// If an allocator cannot be built, or a test fails.
pub(crate) fn run() -> Result<()> {
    if let Err(reason) = go::require(GO) {
        say(format_args!("SKIPPED allocator: {reason:#}"));
        return Ok(());
    }
    let programs = workspace().join("target/allocator");
    fs::create_dir_all(&programs).with_context(|| programs.display().to_string())?;
    for (version, requirements) in VERSIONS {
        let mut build = go::command(&workspace().join("tests/allocator"));
        build.args(["build", "-trimpath", "-modfile", requirements, "-o"]).arg(programs.join(version));
        visibly(build.arg("."))?;
    }
    let mut tests = memory::command(Path::new(env!("CARGO")));
    tests.current_dir(workspace()).env("NEARFAB_ALLOCATORS", &programs);
    visibly(tests.args(["test", "--package", "nearfab-dra", "--test", "allocator", "--", "--nocapture"]))
}
