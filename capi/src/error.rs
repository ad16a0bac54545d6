//! Error numbers, and the text of the last error.

use std::ffi::c_char;

use crate::boundary;

/// The numbers that the functions return. Rust (`nearfab::ErrorCode`) and Python (`nearfab.ErrorCode`) have the same
/// numbers. No number is reused.
#[repr(C)]
pub enum NearfabError {
    /// The call succeeded.
    None = 0,
    /// A file or folder cannot be read.
    Read = 1,
    /// A file, or an answer of a driver, has unexpected content.
    Malformed = 2,
    /// nearfab has no table of this instance type.
    UnknownInstance = 3,
    /// A text is not a recorded host, or a host recorded in another format.
    Record = 4,
    /// The host has no such device, core or interface.
    NoSuchDevice = 5,
    /// A text is not a device, core, interface or list of them.
    BadName = 6,
    /// The caller asked to open a device of a host that is not this machine.
    NotLive = 7,
    /// A device node cannot be opened.
    NodeRefused = 8,
    /// A vendor library cannot be loaded.
    Library = 9,
    /// A vendor library lacks a function that nearfab needs.
    MissingSymbol = 10,
    /// A function of a vendor library failed.
    Call = 11,
    /// A forked child used a handle that its parent had opened.
    Forked = 12,
    /// The Neuron driver refused a command, or its answer is incomplete.
    Driver = 13,
    /// A device did not answer in time.
    Deadline = 14,
    /// nearfab did not probe, because a probe could affect other machines or the open devices of this process.
    ProbeRefused = 15,
    /// The caller asked for telemetry, or for a process, of a host without a file tree.
    NoTree = 16,
    /// Memory cannot be registered with an interface.
    Memory = 17,
    /// Several copies of a vendor library are loaded in this process.
    SeveralLibraries = 18,
    /// An environment variable of this process would make a vendor library abort the process.
    Aborts = 19,
    /// The ranks cannot be placed on this host as the caller wants.
    NoPlan = 20,
    /// A C caller passed a null pointer, a text that is not UTF-8, or a number out of range.
    InvalidArgument = 64,
    /// A C caller passed a handle that is zero, closed or of another type.
    InvalidHandle = 65,
    /// nearfab itself failed: please report it.
    Internal = 66,
}

/// Returns the text of this thread's last failure, for people, in UTF-8: what failed, why, and what to do. The text is
/// empty before the first failure. A call that succeeds does not change the text.
///
/// The text stays valid and unchanged until the next failure on this thread. Do not free the text.
#[unsafe(no_mangle)]
pub extern "C" fn nearfab_error_text() -> *const c_char {
    boundary::last_text()
}

/// Returns the version of this library, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn nearfab_version() -> *const c_char {
    VERSION.as_ptr()
}

const VERSION: &std::ffi::CStr =
    match std::ffi::CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("the version contains a NUL"),
    };

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    #[test]
    fn the_version_is_that_of_the_package() {
        // SAFETY: `nearfab_version` returns a NUL-terminated text that lives as long as the program.
        let version = unsafe { CStr::from_ptr(super::nearfab_version()) };
        assert_eq!(version.to_str(), Ok(env!("CARGO_PKG_VERSION")));
    }
}
