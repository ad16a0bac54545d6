//! What went wrong, and saying so.

use std::io::{self, Write};

use nearfab::{Error, NothingFound};

pub(crate) enum Failure {
    Nearfab(Error),
    Output(io::Error),
    /// Something was asked of a host that has nothing.
    Nothing(NothingFound),
    /// A command could not be started, or not where it should.
    Launch {
        reason: String,
        status: u8,
    },
}

impl Failure {
    /// A command is not started, for this reason.
    pub(crate) fn launch(reason: impl Into<String>) -> Self {
        Self::Launch { reason: reason.into(), status: 1 }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Nearfab(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// A sentence on standard error.
pub(crate) fn complain(reason: &str) {
    // Nobody reads it where standard error is closed.
    let _ = writeln!(io::stderr(), "nearfab: {reason}");
}
