//! Runs the command line inside the process of a test, and compares its output with files.

use std::env;
use std::fs;
use std::path::Path;

use nearfab_cli::Session;

/// The exit status and the output of a command line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) status: u8,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command line in this process.
pub(crate) fn nearfab(arguments: &[&str]) -> Output {
    nearfab_in(&mut Session::default(), arguments)
}

/// Runs a command line in this process, with the hosts that the session has read.
pub(crate) fn nearfab_in(session: &mut Session, arguments: &[&str]) -> Output {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let status = session.run(arguments, &mut stdout, &mut stderr);
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Output { status, stdout, stderr }
}

/// Returns the standard output of a command line that succeeds.
#[track_caller]
pub(crate) fn stdout(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = nearfab(arguments);
    assert_eq!(status, 0, "{arguments:?}: {stderr}");
    stdout
}

/// Returns the standard error of a command line that fails with this status.
#[track_caller]
pub(crate) fn error(status: u8, arguments: &[&str]) -> String {
    let output = nearfab(arguments);
    assert_eq!(output.status, status, "{arguments:?}: {}{}", output.stdout, output.stderr);
    output.stderr
}

/// Whether the tests write the files instead of comparing them: `SNAPSHOTS=overwrite cargo test -p nearfab-cli`.
pub(crate) fn overwrites() -> bool {
    env::var_os("SNAPSHOTS").is_some_and(|wish| wish == "overwrite")
}

/// Compares a text with a file, or writes the file.
#[track_caller]
pub(crate) fn compare(file: &Path, shown: &str) {
    if overwrites() {
        fs::write(file, shown).unwrap();
    }
    let kept = fs::read_to_string(file).unwrap_or_default();
    let help = "SNAPSHOTS=overwrite writes the file anew, see CONTRIBUTING.md";
    for (number, (kept, shown)) in (1..).zip(kept.lines().zip(shown.lines())) {
        assert_eq!(kept, shown, "{}, line {number}: {help}", file.display());
    }
    assert_eq!(kept.lines().count(), shown.lines().count(), "{}: {help}", file.display());
    let trailing = shown.lines().find(|line| line.ends_with(' '));
    assert_eq!(trailing, None, "spaces at the end of a line");
}
