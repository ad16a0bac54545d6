//! `cargo xtask quick`: checks within a minute whether a small change broke something.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::memory;
use crate::packages::{self, PACKAGES, Package};
use crate::run::{output, say, visibly, workspace};
use crate::tally::Tally;

/// The packages whose tests run after every change. One build of both packages serves all the tests.
const ALWAYS: [&str; 2] = ["nearfab", "nearfab-cli"];

/// The integration tests that run after every change, and the arguments of their programs. Tests that look at every
/// instance type or every defect take too long.
const INTEGRATION: [(&str, &[&str]); 7] = [
    (
        "host",
        &[
            "--skip=captures::",
            "--skip=description::",
            "--skip=formats::mooncake_reads_the_rails_of_every_accelerator_and_node",
            "--skip=judges::",
            "--skip=names::printed_names_lead_back_to_the_device_on_every_type",
            "--skip=pairing::",
            "--skip=redaction::redaction_changes_no_answer_about_nearness",
            "--skip=robustness::all_these_tests_pass_on_a_file_system_without_device_nodes",
            "--skip=verify::",
        ],
    ),
    ("neuron_context", &[]),
    ("vendor", &[]),
    ("views", &["quick"]),
    ("doctor", &["--skip=each_defect_is_found", "--skip=record_gives_the_same_report"]),
    ("verify", &[]),
    ("launch", &[]),
];

/// Checks the format and the lints of the packages that changed since the last commit. Runs the unit tests and the quick
/// integration tests.
///
/// # Errors
/// If a check or a test fails.
pub(crate) fn run() -> Result<()> {
    let start = Instant::now();
    let files = changed_files()?;
    let changed = packages_of(&files);
    let mut format = cargo();
    visibly(format.args(["fmt", "--all", "--check"])).context("run `cargo fmt --all`")?;
    lint(&changed, &files)?;
    let mut tally = Tally::default();
    run_tests(&build_always()?, &mut tally)?;
    for package in changed.iter().filter(|package| !ALWAYS.contains(&package.name)) {
        let Some(unit_tests) = package.unit_tests else { continue };
        tally.watch(package.name, cargo().args(["test", "--quiet", "--package", package.name, unit_tests]))?;
    }
    say(&tally);
    say(format_args!("quick: {} s", start.elapsed().as_secs()));
    ensure!(tally.failed == 0, "{} failed", tally.failed);
    Ok(())
}

/// Returns the files that differ from the last commit, and the files that git does not track yet.
fn changed_files() -> Result<Vec<String>> {
    let git = |arguments: &[&str]| output(Command::new("git").current_dir(workspace()).args(arguments));
    let mut names = git(&["diff", "--name-only", "-z", "HEAD"])?;
    names += &git(&["ls-files", "--others", "--exclude-standard", "-z"])?;
    Ok(names.split_terminator('\0').map(str::to_owned).collect())
}

/// Returns the packages that compile the files, each once.
fn packages_of(files: &[String]) -> Vec<&'static Package> {
    let names: BTreeSet<&str> = files.iter().filter_map(|file| Some(packages::of_file(file)?.name)).collect();
    PACKAGES.iter().filter(|package| names.contains(package.name)).collect()
}

/// Runs clippy on the packages; on tests, benchmarks and examples only if one of these files changed.
fn lint(packages: &[&Package], files: &[String]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let mut clippy = cargo();
    clippy.args(["clippy", "--quiet"]).args(packages.iter().flat_map(|package| ["--package", package.name]));
    let is_source = |file: &String| file.starts_with("src/") || file.contains("/src/");
    let mut compiled = files.iter().filter(|file| packages::of_file(file).is_some());
    if !compiled.all(is_source) {
        clippy.arg("--all-targets");
    }
    visibly(clippy.args(["--", "--deny", "warnings"]))
}

/// A test program.
struct Program {
    /// The target and its kind, such as `test views`.
    name: String,
    file: PathBuf,
    /// The folder that cargo would start it in.
    folder: PathBuf,
    arguments: &'static [&'static str],
}

/// Builds the unit tests and the integration tests of the packages that are always tested.
fn build_always() -> Result<Vec<Program>> {
    let mut build = cargo();
    build.args(["test", "--quiet", "--no-run", "--message-format", "json-render-diagnostics", "--lib"]);
    build.args(ALWAYS.iter().flat_map(|name| ["--package", name]));
    build.args(INTEGRATION.iter().flat_map(|(name, _)| ["--test", name]));
    build.stderr(std::process::Stdio::inherit());
    let messages = output(&mut build)?;
    let programs: Vec<Program> = messages.lines().filter_map(program).collect();
    if programs.len() != ALWAYS.len() + INTEGRATION.len() {
        bail!("cargo built {} test programs; expected {}", programs.len(), ALWAYS.len() + INTEGRATION.len());
    }
    Ok(programs)
}

/// Returns the test program that a message of cargo names.
fn program(message: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_test = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
    let manifest = PathBuf::from(message["manifest_path"].as_str()?);
    let (kind, name) = (message["target"]["kind"][0].as_str()?, message["target"]["name"].as_str()?);
    let arguments = INTEGRATION.iter().find(|(test, _)| kind == "test" && *test == name);
    is_test.then_some(Program {
        name: format!("{kind} {name}"),
        file: message["executable"].as_str()?.into(),
        folder: manifest.parent()?.to_owned(),
        arguments: arguments.map_or(&[], |(_, arguments)| arguments),
    })
}

/// Runs the programs side by side, since some tests wait. The output of a program is written when the program has ended.
fn run_tests(programs: &[Program], tally: &mut Tally) -> Result<()> {
    let (next, tally) = (AtomicUsize::new(0), Mutex::new(tally));
    let work = || -> Result<()> {
        while let Some(Program { name, file, folder, arguments }) = programs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut command = memory::command(file);
            command.current_dir(folder).env("CARGO_MANIFEST_DIR", folder).arg("--quiet").args(*arguments);
            let output = command.output().with_context(|| format!("cannot start {name}"))?;
            tally.lock().unwrap_or_else(PoisonError::into_inner).read(name, &output);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a test runner panicked")))
    })
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
    fn a_package_is_checked_once_if_its_files_changed() {
        let files = ["docs/a.md", "src/topology/near.rs", "data/a.toml", "cli/src/main.rs"].map(str::to_owned);
        let names: Vec<&str> = packages_of(&files).iter().map(|package| package.name).collect();
        assert_eq!(names, ["nearfab", "nearfab-cli"]);
    }

    #[test]
    fn cargo_names_the_test_programs() {
        let message = |kind: &str, test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/w/cli/Cargo.toml","target":{{"kind":["{kind}"],"name":"views"}},
                "profile":{{"test":{test}}},"executable":"/w/target/debug/deps/a"}}"#
            )
        };
        let unit = program(&message("lib", true)).unwrap();
        assert_eq!((unit.name.as_str(), unit.folder, unit.arguments), ("lib views", "/w/cli".into(), &[][..]));
        assert_eq!(program(&message("test", true)).unwrap().arguments, &["quick"][..]);
        assert!(program(&message("bin", false)).is_none());
    }
}
