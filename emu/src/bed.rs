//! The report of a test bed that cannot run on this machine.

use std::fmt::Display;
use std::io::{self, Write};

/// Reports that a test bed cannot run on this machine, as `SKIPPED <bed>: <reason>` on standard error. The test runner
/// does not capture this line, so people see the line and `cargo xtask test` counts it. A skipped bed never counts as
/// passed.
pub fn skipped(bed: &str, reason: impl Display) {
    // A test must not fail because standard error is closed.
    let _ = writeln!(io::stderr(), "SKIPPED {bed}: {reason}");
}
