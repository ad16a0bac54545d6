//! What can go wrong, and the number that says so in Rust, C and Python alike.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that nearfab reports as an error. Each says what was read or called, what was expected, and where it
/// helps, what to do; [`std::error::Error::source`] has the cause below it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The full path, root included.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file was read and does not hold what it should.
    #[error("{}: expected {expected}, found {found:?}", path.display())]
    Malformed {
        /// The full path, root included.
        path: PathBuf,
        /// What such a file holds.
        expected: &'static str,
        /// The beginning of what was found.
        found: String,
    },
    /// There is no table of this instance type.
    #[error("no instance table for {instance_type:?}; there are tables for: {known}")]
    UnknownInstance {
        /// The name that was asked for.
        instance_type: String,
        /// The names that there are, comma-separated.
        known: String,
    },
    /// A recorded host could not be understood.
    #[error("{origin} is not a recorded host: {reason}")]
    Record {
        /// The file, or `the text` for one handed over as text.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host has no such device or interface.
    #[error("this host has no {wanted}; it has {present}")]
    NoSuchDevice {
        /// What was asked for.
        wanted: String,
        /// What there is instead.
        present: String,
    },
    /// A text that names a device, core or interface could not be understood.
    #[error("{text:?} names no device: expected {expected}")]
    BadName {
        /// The text.
        text: String,
        /// The forms that are understood.
        expected: &'static str,
    },
    /// A device of a host that is not this machine was to be opened.
    #[error("only devices of the live machine can be opened; this host comes from {origin}")]
    NotLive {
        /// Where the host comes from.
        origin: String,
    },
    /// A device node could not be opened.
    #[error("cannot open {}: {hint}", path.display())]
    NodeRefused {
        /// The node.
        path: PathBuf,
        /// What the reason means and what to do.
        hint: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// A vendor library could not be loaded.
    #[error("{library} cannot be loaded ({reason}); {hint}")]
    Library {
        /// The library's soname.
        library: &'static str,
        /// The loader's own words.
        reason: String,
        /// What the absence means and which package has the library.
        hint: &'static str,
    },
    /// A vendor library is in the process more than once.
    #[error(
        "this process has {library} more than once: {}. Each has a state of its own, and the devices that one has the other \
         does not get: see to it that all use the same file, or tell nearfab which one is meant", paths.join(", ")
    )]
    SeveralLibraries {
        /// The library's soname.
        library: &'static str,
        /// The files.
        paths: Vec<String>,
    },
    /// A variable of this process makes a vendor library end it.
    #[error("libfabric would end this process, because of {variable}: {reason}; unset it")]
    Aborts {
        /// The environment variable.
        variable: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// A vendor library lacks a function that is needed.
    #[error("{library} has no {symbol}: it is older than the oldest supported version")]
    MissingSymbol {
        /// The library's soname.
        library: &'static str,
        /// The function.
        symbol: &'static str,
    },
    /// A function of a vendor library failed.
    #[error("{function} failed for {device}")]
    Call {
        /// The C function.
        function: &'static str,
        /// The device it was called for.
        device: String,
        /// Its errno.
        source: io::Error,
    },
    /// A handle of the parent process was used in a forked child.
    #[error(
        "this belongs to process {owner}, from which this one was forked: open the device again here, or where that \
         fails as well, in a process that is not forked"
    )]
    Forked {
        /// The process that opened the handle.
        owner: u32,
    },
    /// The Neuron driver did not answer a question as it should.
    #[error("{command} failed on {}: {hint}", node.display())]
    Driver {
        /// The ioctl, as the driver's header names it.
        command: &'static str,
        /// The device node that it was issued on.
        node: PathBuf,
        /// What the reason means and what to do.
        hint: &'static str,
        /// Its errno, or what was wrong with the answer.
        source: io::Error,
    },
    /// A device did not answer in time.
    #[error(
        "{} did not answer within {} s: a device in reset, or one that waits for its UltraServer, answers later; the \
         process that asked was killed", node.display(), deadline.as_secs_f64()
    )]
    Deadline {
        /// The device node.
        node: PathBuf,
        /// How long it was waited for.
        deadline: Duration,
    },
    /// A probe was not made, because of what it could change.
    #[error("not probed: {reason}")]
    ProbeRefused {
        /// What it could change, and what to do.
        reason: String,
    },
    /// Ranks cannot be placed as was asked.
    #[error("no plan: {reason}")]
    NoPlan {
        /// What stands against it, and what to do.
        reason: String,
    },
    /// Telemetry, or a process, was wanted of a host that is no file tree.
    #[error("telemetry and processes are read from a machine or a tree; this host comes from {origin}")]
    NoTree {
        /// Where the host comes from.
        origin: String,
    },
    /// Memory could not be registered with an interface.
    #[error("cannot register {length} bytes of memory with {device}: {hint}")]
    Memory {
        /// The interface.
        device: String,
        /// The length in bytes.
        length: usize,
        /// What the reason means here, with the limits that may be it.
        hint: String,
        /// The errno of the function.
        source: io::Error,
    },
}

/// The stable number of an [`Error`], the same in Rust, C (`NEARFAB_ERROR_*`) and Python (`NearfabError.code`).
/// Numbers are never reused; 0 is success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(i32)]
pub enum ErrorCode {
    /// [`Error::Read`].
    Read = 1,
    /// [`Error::Malformed`].
    Malformed = 2,
    /// [`Error::UnknownInstance`].
    UnknownInstance = 3,
    /// [`Error::Record`].
    Record = 4,
    /// [`Error::NoSuchDevice`].
    NoSuchDevice = 5,
    /// [`Error::BadName`].
    BadName = 6,
    /// [`Error::NotLive`].
    NotLive = 7,
    /// [`Error::NodeRefused`].
    NodeRefused = 8,
    /// [`Error::Library`].
    Library = 9,
    /// [`Error::MissingSymbol`].
    MissingSymbol = 10,
    /// [`Error::Call`].
    Call = 11,
    /// [`Error::Forked`].
    Forked = 12,
    /// [`Error::Driver`].
    Driver = 13,
    /// [`Error::Deadline`].
    Deadline = 14,
    /// [`Error::ProbeRefused`].
    ProbeRefused = 15,
    /// [`Error::NoTree`].
    NoTree = 16,
    /// [`Error::Memory`].
    Memory = 17,
    /// [`Error::SeveralLibraries`].
    SeveralLibraries = 18,
    /// [`Error::Aborts`].
    Aborts = 19,
    /// [`Error::NoPlan`].
    NoPlan = 20,
    /// A C caller passed a null pointer, a text that is not UTF-8, or a number out of range.
    InvalidArgument = 64,
    /// A C caller passed a handle that is zero, closed or of another kind.
    InvalidHandle = 65,
    /// nearfab itself failed; please report it.
    Internal = 66,
}

impl ErrorCode {
    /// Every code, ascending.
    pub const ALL: [Self; 23] = [
        Self::Read,
        Self::Malformed,
        Self::UnknownInstance,
        Self::Record,
        Self::NoSuchDevice,
        Self::BadName,
        Self::NotLive,
        Self::NodeRefused,
        Self::Library,
        Self::MissingSymbol,
        Self::Call,
        Self::Forked,
        Self::Driver,
        Self::Deadline,
        Self::ProbeRefused,
        Self::NoTree,
        Self::Memory,
        Self::SeveralLibraries,
        Self::Aborts,
        Self::NoPlan,
        Self::InvalidArgument,
        Self::InvalidHandle,
        Self::Internal,
    ];
}

impl Error {
    /// The stable number of this error.
    ///
    /// ```
    /// use nearfab::{ErrorCode, Host};
    /// let error = Host::from_instance("trn9.large").unwrap_err();
    /// assert_eq!(error.code(), ErrorCode::UnknownInstance);
    /// assert_eq!(error.code() as i32, 3);
    /// ```
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Read { .. } => ErrorCode::Read,
            Self::Malformed { .. } => ErrorCode::Malformed,
            Self::UnknownInstance { .. } => ErrorCode::UnknownInstance,
            Self::Record { .. } => ErrorCode::Record,
            Self::NoSuchDevice { .. } => ErrorCode::NoSuchDevice,
            Self::BadName { .. } => ErrorCode::BadName,
            Self::NotLive { .. } => ErrorCode::NotLive,
            Self::NodeRefused { .. } => ErrorCode::NodeRefused,
            Self::Library { .. } => ErrorCode::Library,
            Self::MissingSymbol { .. } => ErrorCode::MissingSymbol,
            Self::Call { .. } => ErrorCode::Call,
            Self::Forked { .. } => ErrorCode::Forked,
            Self::Driver { .. } => ErrorCode::Driver,
            Self::Deadline { .. } => ErrorCode::Deadline,
            Self::ProbeRefused { .. } => ErrorCode::ProbeRefused,
            Self::NoTree { .. } => ErrorCode::NoTree,
            Self::Memory { .. } => ErrorCode::Memory,
            Self::SeveralLibraries { .. } => ErrorCode::SeveralLibraries,
            Self::Aborts { .. } => ErrorCode::Aborts,
            Self::NoPlan { .. } => ErrorCode::NoPlan,
        }
    }

    /// This error and its causes in one line, as people want to read it.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// A result with nearfab's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What could not be read on the way. A scan goes on past it: one bad attribute hides nothing else.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    pub(crate) fn add(&mut self, error: Error) {
        self.0.push(error.chain());
    }

    pub(crate) fn note(&mut self, text: String) {
        self.0.push(text);
    }

    pub(crate) fn into_sentences(self) -> Vec<String> {
        self.0
    }

    /// The value where there is one; what is refused to this user by design is no problem of the host.
    pub(crate) fn take_unless_refused<T>(&mut self, result: Result<Option<T>>) -> Option<T> {
        match result {
            Err(Error::Read { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => None,
            other => self.take(other).flatten(),
        }
    }

    /// The value, or `None` and one more problem.
    pub(crate) fn take<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }
}
