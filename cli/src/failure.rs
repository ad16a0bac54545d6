//! Why a command failed, and the messages on standard error.

use std::fmt;
use std::io::{self, Write};

use nearfab::{Error, NothingFound};

/// Why a command failed.
pub(crate) enum Failure {
    /// The library could not answer.
    Nearfab(Error),
    /// The output could not be written.
    Output(io::Error),
    /// The command needs a device, and the host has none.
    Nothing(NothingFound),
    /// The doctor could make no check, for this reason.
    NotExamined(String),
    /// A rank could not be started, or not with its cores and CPUs.
    Launch {
        reason: String,
        /// The exit status of nearfab.
        status: u8,
    },
}

impl Failure {
    /// Returns the failure of a rank that is not started, for this reason; the exit status is 1.
    pub(crate) fn launch(reason: impl Into<String>) -> Self {
        Self::Launch { reason: reason.into(), status: 1 }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nearfab(error) => f.write_str(&error.to_string()),
            Self::Output(error) => write!(f, "cannot write the output: {error}"),
            Self::Nothing(reason) => write!(f, "no Neuron device and no EFA interface: {reason}"),
            Self::NotExamined(reason) => write!(f, "nothing could be examined: {reason}"),
            Self::Launch { reason, .. } => f.write_str(reason),
        }
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

/// Writes one line to standard error: `nearfab: MESSAGE`.
pub(crate) fn print_message(err: &mut dyn Write, message: &str) {
    // If standard error is closed, the message has no reader.
    let _ = writeln!(err, "nearfab: {message}");
}
