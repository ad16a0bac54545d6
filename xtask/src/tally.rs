//! Counts the tests that passed, failed and were skipped, from the output of the test programs.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result};

use crate::run::say;

/// The counts of a run.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) skipped: u32,
    failures: Vec<String>,
    skips: Vec<String>,
}

impl Tally {
    /// Runs a test program, passes its output on, and counts its tests. A program that fails without reporting a failed
    /// test counts as one failure.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub(crate) fn watch(&mut self, name: &str, command: &mut Command) -> Result<()> {
        let failed_before = self.failed;
        let status = self.run(name, command)?;
        self.judge(name, status, failed_before);
        Ok(())
    }

    /// Runs a test program, passes its output on, counts its tests, and returns its status.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub(crate) fn run(&mut self, name: &str, command: &mut Command) -> Result<ExitStatus> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let counts = Mutex::new(&mut *self);
        thread::scope(|scope| {
            scope.spawn(|| pass_on(stdout, std::io::stdout(), &counts));
            scope.spawn(|| pass_on(stderr, std::io::stderr(), &counts));
        });
        child.wait().with_context(|| format!("waiting for {name}"))
    }

    /// Counts the tests of a program that has ended, and passes the program's output on.
    pub(crate) fn read(&mut self, name: &str, output: &Output) {
        let failed_before = self.failed;
        let counts = Mutex::new(&mut *self);
        pass_on(Some(&output.stdout[..]), std::io::stdout(), &counts);
        pass_on(Some(&output.stderr[..]), std::io::stderr(), &counts);
        self.judge(name, output.status, failed_before);
    }

    /// Counts a program that failed as one failure, unless it reported failed tests: `failed_before` is the count of
    /// failures before the program ran.
    pub(crate) fn judge(&mut self, name: &str, status: ExitStatus, failed_before: u32) {
        if status.success() {
            return;
        }
        if self.failed == failed_before {
            self.failed += 1;
        }
        self.failures.push(format!("{name} ended with {status}"));
    }

    /// Counts a failure that no test program reported.
    pub(crate) fn fail(&mut self, name: &str, error: &anyhow::Error) {
        self.failed += 1;
        self.failures.push(format!("{name}: {error:#}"));
    }

    /// Prints and counts that a bed is skipped.
    pub(crate) fn skip(&mut self, bed: &str, reason: &str) {
        let line = format!("SKIPPED {bed}: {reason}");
        say(&line);
        self.count(&line);
    }

    fn count(&mut self, line: &str) {
        if let Some(skip) = line.strip_prefix("SKIPPED ") {
            self.skipped += 1;
            self.skips.push(skip.to_owned());
        }
        // `test result: ok. 8 passed; 0 failed; …` of cargo, `==== 12 passed, 1 failed in 0.3s ====` of pytest.
        if line.starts_with("test result: ") || line.starts_with("===") || line.ends_with(" passed") {
            self.passed += number_before(line, "passed");
            self.failed += number_before(line, "failed");
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for skip in &self.skips {
            writeln!(f, "skipped: {skip}")?;
        }
        for failure in &self.failures {
            writeln!(f, "failed: {failure}")?;
        }
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

fn pass_on(from: Option<impl Read>, mut to: impl Write, counts: &Mutex<&mut Tally>) {
    let Some(from) = from else { return };
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        // The tests go on if the reader of the output has ended.
        let _ = to.write_all(&line);
        let text = String::from_utf8_lossy(&line);
        counts.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).count(text.trim_end());
        line.clear();
    }
}

fn number_before(line: &str, word: &str) -> u32 {
    let mut words = line.split([' ', ';', ',', '.']).filter(|word| !word.is_empty());
    let mut previous = words.next();
    for next in words {
        if next == word {
            return previous.and_then(|number| number.parse().ok()).unwrap_or(0);
        }
        previous = Some(next);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_counted() {
        let mut tally = Tally::default();
        for line in [
            "test result: FAILED. 8 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.22s",
            "======== 2 failed, 12 passed in 0.31s ========",
            "SKIPPED valgrind: it is not installed",
            "test two_users_share_one_context ... ok",
            "3 passed",
        ] {
            tally.count(line);
        }
        assert_eq!((tally.passed, tally.failed, tally.skipped), (23, 3, 1));
    }

    #[test]
    fn a_program_that_fails_is_a_failure_once() {
        let mut tally = Tally::default();
        tally.watch("false", &mut Command::new("false")).unwrap();
        assert_eq!(tally.failed, 1);
        tally.count("test result: FAILED. 0 passed; 2 failed; 0 ignored");
        let status = Command::new("false").status().unwrap();
        tally.judge("a program", status, 1);
        assert_eq!(tally.failed, 3);
    }
}
