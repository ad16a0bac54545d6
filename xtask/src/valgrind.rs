//! `cargo xtask valgrind`: the tests that call vendor libraries, under valgrind.

use std::process::Command;

use anyhow::Result;

use crate::files;
use crate::run::{say, visibly, workspace};
use crate::tools;

/// Runs each program that the tests start on an emulated machine under valgrind, including failures, forks and every
/// order of closing.
///
/// # Errors
/// If a test fails, or valgrind finds an error or a leak.
pub(crate) fn run() -> Result<()> {
    if tools::require(tools::VALGRIND).is_err() {
        say("SKIPPED valgrind: it is not installed");
        return Ok(());
    }
    let tests = tests()?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace()).env("NEARFAB_TEST_VALGRIND", "1").args(["test", "--package", "nearfab"]);
    cargo.args(tests.iter().flat_map(|test| ["--test", test]));
    visibly(cargo.args(["--", "--include-ignored"]))
}

/// Returns the integration tests that start programs on an emulated machine: the programs that call vendor libraries.
fn tests() -> Result<Vec<String>> {
    let starts_programs = |name: &&String| files::text(name).is_some_and(|text| text.contains("on_machine("));
    let names = files::tracked(&[":(glob)tests/*.rs"])?;
    let tests =
        names.iter().filter(starts_programs).filter_map(|name| name.strip_prefix("tests/")?.strip_suffix(".rs"));
    Ok(tests.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn tests_that_start_programs_on_an_emulated_machine_are_found() {
        let tests = super::tests().unwrap();
        for expected in ["context", "domains", "fabric", "neuron_context", "verbs"] {
            assert!(tests.iter().any(|test| test == expected), "{expected}: {tests:?}");
        }
        assert!(!tests.iter().any(|test| test == "judges"), "{tests:?}");
    }
}
