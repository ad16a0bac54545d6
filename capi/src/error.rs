//! Error numbers and the last error's text.

use std::ffi::c_char;

use crate::boundary;

/// What the functions return: the numbers of `nearfab::ErrorCode`. They are never reused.
#[repr(C)]
pub enum NearfabError {
    /// No error.
    None = 0,
    /// A file or folder could not be read.
    Read = 1,
    /// A file was read and does not hold what it should.
    Malformed = 2,
    /// There is no table of this instance type.
    UnknownInstance = 3,
    /// A recorded host could not be understood.
    Record = 4,
    /// The host has no such device or interface.
    NoSuchDevice = 5,
    /// A text that names a device, core or interface could not be understood.
    BadName = 6,
    /// A device of a host that is not this machine was to be opened.
    NotLive = 7,
    /// A device node could not be opened.
    NodeRefused = 8,
    /// A vendor library could not be loaded.
    Library = 9,
    /// A vendor library lacks a function that is needed.
    MissingSymbol = 10,
    /// A function of a vendor library failed.
    Call = 11,
    /// A handle of the parent process was used in a forked child.
    Forked = 12,
    /// The Neuron driver did not answer a question as it should.
    Driver = 13,
    /// A device did not answer in time.
    Deadline = 14,
    /// A probe was not made, because of what it could change.
    ProbeRefused = 15,
    /// Telemetry, or a process, was wanted of a host that is no file tree.
    NoTree = 16,
    /// Memory could not be registered with an interface.
    Memory = 17,
    /// A vendor library is in the process more than once.
    SeveralLibraries = 18,
    /// A variable of this process makes a vendor library end it.
    Aborts = 19,
    /// Ranks cannot be placed as was asked.
    NoPlan = 20,
    /// An argument is a null pointer, a text that is not UTF-8, or a number out of range.
    InvalidArgument = 64,
    /// A handle is zero, closed or of another kind.
    InvalidHandle = 65,
    /// nearfab itself failed; please report it.
    Internal = 66,
}

/// What the last failed call of this thread has to say, for people, in UTF-8: what was read or called, what was
/// expected, what to do. Empty before the first failure; success leaves it alone.
///
/// The text stays as it is until the next failure on this thread; do not free it.
#[unsafe(no_mangle)]
pub extern "C" fn nearfab_error_text() -> *const c_char {
    boundary::last_text()
}

/// The version of this library, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn nearfab_version() -> *const c_char {
    VERSION.as_ptr()
}

const VERSION: &std::ffi::CStr =
    match std::ffi::CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a NUL in the version"),
    };
