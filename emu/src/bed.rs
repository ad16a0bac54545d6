//! What a test says when its bed cannot run here.

use std::fmt::Display;
use std::io::{self, Write};

/// Says that a test bed cannot run on this machine: `SKIPPED <bed>: <reason>`, on standard error, past the capture of
/// the test runner, so that people read it and `cargo xtask test` counts it. A skipped bed is never a passed one.
pub fn skipped(bed: &str, reason: impl Display) {
    // Nowhere to say it is no reason to fail.
    let _ = writeln!(io::stderr(), "SKIPPED {bed}: {reason}");
}
