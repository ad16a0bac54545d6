//! `cargo xtask test`: every test, counted.

mod inputs;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{say, workspace};
use crate::tally::Tally;
use crate::{python, setup};
use inputs::Inputs;

/// A test bed that costs minutes: it runs when what it depends on is not what it last passed with.
struct SlowBed {
    name: &'static str,
    /// The command of its own, below `cargo xtask`.
    command: &'static [&'static str],
    /// The files and folders it depends on.
    inputs: &'static [&'static str],
}

const SLOW_BEDS: [SlowBed; 4] = [
    SlowBed {
        name: "bare",
        command: &["bare"],
        inputs: &[".cargo", "Cargo.lock", "Cargo.toml", "build.rs", "cli", "data", "emu", "src", "sys", "xtask"],
    },
    SlowBed {
        name: "loom",
        command: &["loom"],
        inputs: &["Cargo.lock", "Cargo.toml", "src/context", "src/context.rs", "xtask/src/loom.rs"],
    },
    SlowBed {
        name: "valgrind",
        command: &["valgrind"],
        inputs: &[
            "Cargo.lock",
            "src/context",
            "src/context.rs",
            "src/runtime",
            "src/runtime.rs",
            "sys/src",
            "tests/stub",
            "tests/support",
        ],
    },
    SlowBed {
        name: "k8s",
        command: &["k8s", "test"],
        inputs: &[
            ".cargo",
            "Cargo.lock",
            "Cargo.toml",
            "build.rs",
            "data",
            "deploy",
            "dra",
            "emu",
            "src",
            "sys",
            "tests/cluster",
            "xtask",
        ],
    },
];

/// Sets up and runs all tests; with `all` also slow beds whose inputs did not change.
///
/// # Errors
/// When anything failed, after all has run that could.
pub(crate) fn run(all: bool) -> Result<()> {
    if let Err(reason) = setup::run() {
        say(reason); // What needs the missing packages skips itself by name.
    }
    let mut tally = Tally::default();
    let interpreter = python_face(&mut tally);
    cargo_test(&mut tally, interpreter)?;
    for bed in &SLOW_BEDS {
        slow(bed, all, &mut tally).unwrap_or_else(|error| tally.fail(bed.name, &error));
    }
    say(&tally);
    if tally.failed > 0 {
        bail!("{} failed", tally.failed);
    }
    Ok(())
}

/// Builds and tests the wheel; the interpreter that has it is for the test that compares all faces.
fn python_face(tally: &mut Tally) -> Option<PathBuf> {
    if let Some(reason) = python::impossible() {
        tally.skip("python", &reason);
        return None;
    }
    let tested = python::wheel(workspace()).and_then(|wheel| python::test(workspace(), &wheel, tally));
    tested.map_err(|error| tally.fail("python", &error)).ok()
}

fn cargo_test(tally: &mut Tally, interpreter: Option<PathBuf>) -> Result<()> {
    let mut cargo = Command::new(env!("CARGO"));
    // The Python module is an extension: an interpreter loads it, cargo cannot.
    cargo.args(["test", "--workspace", "--exclude", "nearfab-python", "--no-fail-fast"]).current_dir(workspace());
    if let Some(interpreter) = interpreter {
        cargo.env("NEARFAB_PYTHON", interpreter);
    }
    tally.watch("cargo test", &mut cargo)
}

fn slow(bed: &SlowBed, all: bool, tally: &mut Tally) -> Result<()> {
    // What cannot be told from what passed before, runs.
    let inputs = Inputs::of(bed.name, bed.inputs).ok();
    if !all && inputs.as_ref().is_some_and(Inputs::have_passed) {
        say(format_args!("UNCHANGED {}: passed before with the same inputs", bed.name));
        return Ok(());
    }
    let before = (tally.failed, tally.skipped);
    let program = std::env::current_exe().context("finding this program's own file")?;
    tally.watch(bed.name, Command::new(program).args(bed.command).current_dir(workspace()))?;
    match inputs {
        Some(inputs) if (tally.failed, tally.skipped) == before => inputs.keep_as_passed(),
        _ => Ok(()),
    }
}
