//! Error numbers, and the text of the last error.

use std::ffi::c_char;

use crate::boundary;

/// The numbers that the functions return. They are the same in Rust (`nearfab::ErrorCode`) and Python
/// (`nearfab.ErrorCode`), and no number is reused.
#[repr(C)]
pub enum NearfabError {
    /// The call succeeded.
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
    /// A C caller passed a null pointer, a text that is not UTF-8, or a number out of range.
    InvalidArgument = 64,
    /// A C caller passed a handle that is zero, closed or of another kind.
    InvalidHandle = 65,
    /// nearfab itself failed; please report it.
    Internal = 66,
}

/// Returns the text of this thread's last failure, for people, in UTF-8: what failed, why, and what to do. The text is
/// empty before the first failure. A call that succeeds does not change it.
///
/// The text stays valid and unchanged until the next failure on this thread. Do not free it.
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
