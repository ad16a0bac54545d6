//! `cargo xtask valgrind`: everything that calls vendor libraries, under valgrind.

use std::process::Command;

use anyhow::Result;

use crate::run::{say, visibly, workspace};
use crate::tools;

/// The tests whose programs call libraries, real ones and stand-ins.
const TESTS: [&str; 6] = ["context", "domains", "fabric", "neuron_context", "runtimes", "verbs"];

/// Runs the tests of calls into C with each of their programs under valgrind: failures, forks and closing in every order too.
///
/// # Errors
/// When a test fails, or valgrind finds an error or a leak.
pub(crate) fn run() -> Result<()> {
    if tools::require(tools::VALGRIND).is_err() {
        say("SKIPPED valgrind: it is not installed");
        return Ok(());
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace()).env("NEARFAB_TEST_VALGRIND", "1").args(["test", "--package", "nearfab"]);
    visibly(cargo.args(TESTS.iter().flat_map(|test| ["--test", test])))
}
