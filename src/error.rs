//! The errors of nearfab, and the stable number of each in Rust, C and Python.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Every error that a function of nearfab returns.
///
/// The text ([`Display`](std::fmt::Display)) names what failed, why, and what to do, and contains the text of the
/// error's cause. The cause itself is the variant's field `cause`, so that a program can look at its errno.
/// [`std::error::Error::source`] is `None`: a printer that appends the text of each source would print the cause twice.
///
/// ```
/// use nearfab::{Error, Host};
/// let error = Host::from_root("/no/such/tree").unwrap_err();
/// assert_eq!(error.to_string(), "cannot read /no/such/tree: No such file or directory (os error 2)");
/// assert!(matches!(error, Error::Read { cause, .. } if cause.raw_os_error() == Some(2)));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    #[non_exhaustive]
    Read {
        /// The full path, root included.
        path: PathBuf,
        /// The error of the system call.
        cause: io::Error,
    },
    /// A file, or an answer of a driver, has unexpected content.
    #[error("{}: expected {expected}, found {found:?}", path.display())]
    #[non_exhaustive]
    Malformed {
        /// The full path, root included.
        path: PathBuf,
        /// The expected form, with an example.
        expected: &'static str,
        /// The beginning of the content.
        found: String,
    },
    /// nearfab has no table of this instance type.
    #[error("no instance table for {instance_type:?}; there are tables for: {known}")]
    #[non_exhaustive]
    UnknownInstance {
        /// The name that the caller gave.
        instance_type: String,
        /// The instance types with a table, comma-separated.
        known: String,
    },
    /// A text is not a recorded host, or a host recorded in another format.
    #[error("{origin} is not a recorded host: {reason}")]
    #[non_exhaustive]
    Record {
        /// The file, or `the text` if the caller gave a text.
        origin: String,
        /// What is wrong with the text.
        reason: String,
    },
    /// The host has no such device, core or interface.
    #[error("this host has no {wanted}; it has {present}")]
    #[non_exhaustive]
    NoSuchDevice {
        /// The device that the caller named.
        wanted: String,
        /// The devices of this kind that the host has.
        present: String,
    },
    /// A text is not a device, core, interface or list of them.
    #[error("invalid value {text:?}: expected {expected}")]
    BadName {
        /// The text.
        text: String,
        /// The accepted forms.
        expected: &'static str,
    },
    /// The caller asked to open a device of a host that is not this machine.
    #[error(
        "cannot open a device of {origin}: only devices of this machine can be opened; discover this machine first"
    )]
    #[non_exhaustive]
    NotLive {
        /// Where the host comes from: an [`Origin`](crate::Origin) as text.
        origin: String,
    },
    /// A device node cannot be opened.
    #[error("cannot open {}: {cause}; {hint}", path.display())]
    #[non_exhaustive]
    NodeRefused {
        /// The node.
        path: PathBuf,
        /// What the cause means for this node, and what to do.
        hint: &'static str,
        /// The error of the system call.
        cause: io::Error,
    },
    /// A vendor library cannot be loaded.
    #[error("cannot load {library}: {reason}; {hint}")]
    #[non_exhaustive]
    Library {
        /// The library's soname.
        library: &'static str,
        /// The text of the dynamic loader's error.
        reason: String,
        /// What does not work without the library, and which package contains it.
        hint: &'static str,
    },
    /// Several copies of a vendor library are loaded in this process.
    #[error(
        "this process has loaded {library} more than once: {}; each copy has its own state, and a device that one copy \
         opened is unknown to the others. Make all parts of the program load the same file, or name the file that nearfab \
         must use", paths.join(", ")
    )]
    #[non_exhaustive]
    SeveralLibraries {
        /// The library's soname.
        library: &'static str,
        /// The loaded files.
        paths: Vec<String>,
    },
    /// An environment variable of this process would make a vendor library abort the process.
    #[error("libfabric would abort this process because of {variable}: {reason}; unset {variable}")]
    #[non_exhaustive]
    Aborts {
        /// The environment variable.
        variable: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// A vendor library lacks a function that nearfab needs.
    #[error(
        "{library} has no function {symbol}: it is older than the oldest version that nearfab supports; install a newer one"
    )]
    #[non_exhaustive]
    MissingSymbol {
        /// The library's soname.
        library: &'static str,
        /// The function.
        symbol: &'static str,
    },
    /// A function of a vendor library failed.
    #[error("{function} failed for {device}: {cause}")]
    #[non_exhaustive]
    Call {
        /// The C function.
        function: &'static str,
        /// The device that nearfab called the function for.
        device: String,
        /// The errno or status of the function.
        cause: io::Error,
    },
    /// A forked child used a handle that its parent had opened.
    #[error(
        "this handle was opened by process {owner} before fork(): open the device again in this process; if that fails \
         too, open it in a process that was not forked"
    )]
    #[non_exhaustive]
    Forked {
        /// The process that opened the handle.
        owner: u32,
    },
    /// The Neuron driver refused a command, or its answer is incomplete.
    #[error("{command} failed on {}: {cause}; {hint}", node.display())]
    #[non_exhaustive]
    Driver {
        /// The ioctl, as the driver's header names it.
        command: &'static str,
        /// The device node that nearfab issued the command on.
        node: PathBuf,
        /// What the cause means, and what to do.
        hint: &'static str,
        /// The errno of the command, or what is wrong with the answer.
        cause: io::Error,
    },
    /// A device did not answer in time.
    #[error(
        "{} did not answer within {} s: a device that is being reset, or that waits for its UltraServer, answers later; \
         the child process that waited for it was killed, try again later", node.display(), deadline.as_secs_f64()
    )]
    #[non_exhaustive]
    Deadline {
        /// The device node.
        node: PathBuf,
        /// How long nearfab waited.
        deadline: Duration,
    },
    /// nearfab did not probe, because a probe could affect other machines or the open devices of this process.
    #[error("not probed: {reason}")]
    #[non_exhaustive]
    ProbeRefused {
        /// The possible effect of a probe, and what to do.
        reason: String,
    },
    /// The ranks cannot be placed on this host as the caller wants.
    #[error("no plan: {reason}")]
    NoPlan {
        /// Why the ranks cannot be placed, and what to do.
        reason: String,
    },
    /// The caller asked for telemetry, or for a process, of a host without a file tree.
    #[error("cannot read telemetry or processes of {origin}: they are read from this machine or from a file tree only")]
    #[non_exhaustive]
    NoTree {
        /// Where the host comes from: an [`Origin`](crate::Origin) as text.
        origin: String,
    },
    /// Memory cannot be registered with an interface.
    #[error("cannot register {length} bytes of memory with {device}: {cause}; {hint}")]
    #[non_exhaustive]
    Memory {
        /// The interface.
        device: String,
        /// The length in bytes.
        length: usize,
        /// What the cause means here, with the limits that the registration may have exceeded.
        hint: String,
        /// The errno of the function.
        cause: io::Error,
    },
}

/// The stable number of an [`Error`], the same in Rust, C (`NEARFAB_ERROR_*`) and Python (`NearfabError.code`).
///
/// A number is never reused. 0 is success.
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
    /// A C caller passed a handle that is zero, closed or of another type.
    InvalidHandle = 65,
    /// nearfab itself failed: please report it.
    Internal = 66,
}

impl ErrorCode {
    /// Every code, ascending.
    pub const ALL: &'static [Self] = &[
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
    /// Returns the stable number of this error.
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
}

/// A result with nearfab's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// The problems that a scan met, one sentence each. A scan continues after a problem: an attribute that cannot be read
/// hides no other attribute.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    pub(crate) fn add(&mut self, error: &Error) {
        self.0.push(error.to_string());
    }

    pub(crate) fn note(&mut self, text: String) {
        self.0.push(text);
    }

    pub(crate) fn into_sentences(self) -> Vec<String> {
        self.0
    }

    /// Returns the value, or `None` after adding the error. Adds nothing if this user may not read the file: some files
    /// are readable by root only, which is no problem of the host.
    pub(crate) fn take_unless_refused<T>(&mut self, result: Result<Option<T>>) -> Option<T> {
        match result {
            Err(Error::Read { cause, .. }) if cause.kind() == io::ErrorKind::PermissionDenied => None,
            other => self.take(other).flatten(),
        }
    }

    /// Returns the value, or `None` after adding the error.
    pub(crate) fn take<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.add(&error)).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const CAUSE: &str = "the text of the cause";

    fn cause() -> io::Error {
        io::Error::other(CAUSE)
    }

    /// Returns one error of each variant, and whether the error has a cause.
    fn one_of_each() -> Vec<(Error, bool)> {
        let (path, node) = (|| PathBuf::from("/tree/file"), || PathBuf::from("/dev/neuron0"));
        let text = |text: &str| text.to_owned();
        vec![
            (Error::Read { path: path(), cause: cause() }, true),
            (Error::Malformed { path: path(), expected: "a number", found: text("x") }, false),
            (Error::UnknownInstance { instance_type: text("x"), known: text("trn1.32xlarge") }, false),
            (Error::Record { origin: text("the text"), reason: text("x") }, false),
            (Error::NoSuchDevice { wanted: text("Neuron device neuron1"), present: text("neuron0") }, false),
            (Error::BadName { text: text("x"), expected: "a Neuron device such as neuron5" }, false),
            (Error::NotLive { origin: text("the tree /tree") }, false),
            (Error::NodeRefused { path: node(), hint: "load the driver", cause: cause() }, true),
            (Error::Library { library: "libnrt.so.1", reason: text(CAUSE), hint: "install it" }, true),
            (Error::SeveralLibraries { library: "libnrt.so.1", paths: vec![text("/a"), text("/b")] }, false),
            (Error::Aborts { variable: text("FI_X"), reason: text("it is not a number") }, false),
            (Error::MissingSymbol { library: "libnrt.so.1", symbol: "nrt_init" }, false),
            (Error::Call { function: "nrt_init", device: text("neuron0"), cause: cause() }, true),
            (Error::Forked { owner: 1 }, false),
            (Error::Driver { command: "BDF", node: node(), hint: "load the driver", cause: cause() }, true),
            (Error::Deadline { node: node(), deadline: Duration::from_secs(1) }, false),
            (Error::ProbeRefused { reason: text("x") }, false),
            (Error::NoPlan { reason: text("x") }, false),
            (Error::NoTree { origin: text("the tree /tree") }, false),
            (Error::Memory { device: text("efa"), length: 1, hint: text("raise the limit"), cause: cause() }, true),
        ]
    }

    /// Returns the text that a program prints if it appends the text of each source, as anyhow does.
    fn with_sources(error: &Error) -> String {
        let mut text = error.to_string();
        let mut next = std::error::Error::source(error);
        while let Some(source) = next {
            text += &format!(": {source}");
            next = source.source();
        }
        text
    }

    #[test]
    fn text_contains_the_cause_exactly_once() {
        for (error, has_cause) in one_of_each() {
            for text in [error.to_string(), with_sources(&error)] {
                assert_eq!(text.matches(CAUSE).count(), usize::from(has_cause), "{text}");
            }
        }
    }

    #[test]
    fn text_separates_what_failed_from_the_reason_or_the_choices() {
        for (error, _) in one_of_each() {
            let text = error.to_string();
            assert!(text.contains(": ") || text.contains("; "), "{text}");
            assert!(!text.ends_with('.'), "{text}");
        }
    }

    #[test]
    fn every_variant_has_a_code_and_every_code_is_listed_once() {
        let codes: BTreeSet<i32> = ErrorCode::ALL.iter().map(|code| *code as i32).collect();
        assert_eq!(codes.len(), ErrorCode::ALL.len());
        assert!(ErrorCode::ALL.windows(2).all(|pair| (pair[0] as i32) < pair[1] as i32), "ascending");
        let of_variants: BTreeSet<i32> = one_of_each().iter().map(|(error, _)| error.code() as i32).collect();
        // The codes from 64 on belong to the C and Python interfaces. They have no variant.
        assert_eq!(of_variants, codes.into_iter().filter(|code| *code < 64).collect());
    }
}
