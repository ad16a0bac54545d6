//! `cargo xtask test`: every test that needs no emulated machine, no checker and no cluster, counted.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::run::{say, workspace};
use crate::tally::Tally;
use crate::{memory, python, setup};

/// Sets up the machine and runs the tests of all languages.
///
/// # Errors
/// If a test fails, after all tests have run.
pub(crate) fn run() -> Result<()> {
    if let Err(reason) = setup::for_tests() {
        say(reason); // A test that needs a missing package is skipped by its name.
    }
    let mut tally = Tally::default();
    let interpreter = python_face(&mut tally);
    cargo_test(&mut tally, interpreter)?;
    say(&tally);
    if tally.failed > 0 {
        bail!("{} failed", tally.failed);
    }
    Ok(())
}

/// Builds and tests the wheel. Returns the interpreter that has the wheel, for the test that compares all faces.
fn python_face(tally: &mut Tally) -> Option<PathBuf> {
    if let Some(reason) = python::impossible() {
        tally.skip("python", &reason);
        return None;
    }
    let tested = python::wheel(workspace()).and_then(|wheel| python::test(workspace(), &wheel, tally));
    tested.map_err(|error| tally.fail("python", &error)).ok()
}

fn cargo_test(tally: &mut Tally, interpreter: Option<PathBuf>) -> Result<()> {
    let mut cargo = memory::command(Path::new(env!("CARGO")));
    // The Python module is an extension: an interpreter loads it, cargo cannot.
    cargo.args(["test", "--workspace", "--exclude", "nearfab-python", "--no-fail-fast"]).current_dir(workspace());
    if let Some(interpreter) = interpreter {
        cargo.env("NEARFAB_PYTHON", interpreter);
    }
    tally.watch("cargo test", &mut cargo)
}
