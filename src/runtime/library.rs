//! One shared library: found, mapped, and kept until the process ends.

use std::error::Error as _;
use std::ffi::{CStr, c_void};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use libloading::os::unix;
use nix::libc::RTLD_NOLOAD;

use crate::error::{Error, Result};

/// A library that may be installed.
pub(super) struct Library {
    pub(super) soname: &'static str,
    /// For people: what its absence means, and which package has it.
    pub(super) hint: &'static str,
}

/// A library that is mapped. It is never closed: it has threads, exit handlers and thread-local values of its own, and
/// other users in this process.
pub(super) struct Loaded {
    soname: &'static str,
    handle: ManuallyDrop<unix::Library>,
}

impl Library {
    /// Takes the copy of this soname that the process has already, or else maps the one that the system's loader finds. A
    /// copy that was built with another soname, or linked into the program, is not seen.
    pub(super) fn load(&self) -> Result<Loaded> {
        let flags = unix::RTLD_NOW | unix::RTLD_LOCAL;
        let handle = dlopen(self.soname, flags | RTLD_NOLOAD).or_else(|_| dlopen(self.soname, flags));
        match handle {
            Ok(handle) => Ok(Loaded { soname: self.soname, handle: ManuallyDrop::new(handle) }),
            Err(error) => Err(Error::Library { library: self.soname, reason: reason(&error), hint: self.hint }),
        }
    }
}

impl Loaded {
    /// The address of a function.
    pub(super) fn address(&self, symbol: &'static CStr) -> Result<NonNull<c_void>> {
        // SAFETY: the symbol is not used as anything but an address here.
        let found = unsafe { self.handle.get::<*mut c_void>(symbol) };
        found
            .ok()
            .and_then(|found| NonNull::new(found.into_raw()))
            .ok_or_else(|| Error::MissingSymbol { library: self.soname, symbol: symbol.to_str().unwrap_or_default() })
    }
}

fn dlopen(soname: &str, flags: i32) -> std::result::Result<unix::Library, libloading::Error> {
    // SAFETY: initializers run, of libraries that are made to be loaded by any program at any time; their finalizers run
    // only when the process ends.
    unsafe { unix::Library::open(Some(soname), flags) }
}

/// The loader's own words: libloading's only say that dlopen failed, and keep them as the cause.
fn reason(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_library_is_explained() {
        let library = Library { soname: "libnearfab-absent.so.1", hint: "install it" };
        let Err(error) = library.load() else { panic!("there is such a library") };
        assert_eq!(
            error.to_string(),
            "libnearfab-absent.so.1 cannot be loaded (libnearfab-absent.so.1: cannot open shared object file: No such \
             file or directory); install it"
        );
    }

    #[test]
    fn a_missing_function_is_named_with_its_library() {
        let libc = Library { soname: "libc.so.6", hint: "" }.load().unwrap();
        libc.address(c"getpid").unwrap();
        let error = libc.address(c"nearfab_absent").unwrap_err();
        assert!(matches!(error, Error::MissingSymbol { library: "libc.so.6", symbol: "nearfab_absent" }), "{error}");
    }
}
