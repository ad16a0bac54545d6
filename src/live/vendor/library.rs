//! One shared library: found, mapped, and kept until the process ends.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::ffi::{CStr, CString, c_void};
use std::fs;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use libloading::os::unix;
use nix::libc::{self, RTLD_NOLOAD};

use crate::error::{Error, Result};
use crate::system::{self, MappedLibrary};
use crate::types;

/// A library that may be installed.
#[derive(Debug)]
pub(super) struct Library {
    pub(super) kind: types::Library,
    pub(super) soname: &'static str,
    /// The environment variable in which people name the file to use.
    pub(super) variable: Option<&'static str>,
    /// Where it is when the system's loader does not know it.
    pub(super) places: &'static [&'static str],
    /// Whether others that look for its functions by name are to find them.
    pub(super) global: bool,
    /// For people: what its absence means, and which package has it.
    pub(super) hint: &'static str,
}

/// A library that is mapped. It is never closed: it has threads, exit handlers and thread-local values of its own, and
/// other users in this process.
pub(super) struct Loaded {
    soname: &'static str,
    handle: ManuallyDrop<unix::Library>,
}

/// The copies that are wanted where there are several.
static PREFERRED: Mutex<BTreeMap<types::Library, String>> = Mutex::new(BTreeMap::new());

pub(super) fn prefer(library: types::Library, path: &str) {
    PREFERRED.lock().unwrap_or_else(PoisonError::into_inner).insert(library, path.to_owned());
}

impl Library {
    /// Takes the file that is named for it, or the copy that the process has already, under whatever name, or else maps the
    /// one that the system's loader finds, or the one in its vendor's place. A copy that was linked into the program is not
    /// seen.
    pub(super) fn load(&self) -> Result<Loaded> {
        if let Some(path) = self.named() {
            return self.load_named(path);
        }
        let mut copies: Vec<(MappedLibrary, unix::Library)> = self.mapped();
        if copies.len() > 1 {
            let paths = copies.into_iter().map(|(copy, _)| copy.path).collect();
            return Err(Error::SeveralLibraries { library: self.soname, paths });
        }
        match copies.pop() {
            Some((_, handle)) => self.loaded(Ok(handle)),
            None => self.loaded(self.find()),
        }
    }

    /// The file that the program names, or the environment; one that is set to nothing names none.
    fn named(&self) -> Option<String> {
        let preferred = PREFERRED.lock().unwrap_or_else(PoisonError::into_inner).get(&self.kind).cloned();
        if preferred.is_some() {
            return preferred;
        }
        let path = std::env::var_os(self.variable?)?.to_string_lossy().into_owned();
        Some(path).filter(|path| !path.is_empty())
    }

    /// It was named before anything was loaded: that may choose among copies, and adds no second one.
    fn load_named(&self, path: String) -> Result<Loaded> {
        let mapped = self.open(&path, RTLD_NOLOAD);
        if mapped.is_ok() {
            return self.loaded(mapped);
        }
        let mut paths: Vec<String> = self.mapped().into_iter().map(|(copy, _)| copy.path).collect();
        if paths.is_empty() {
            return self.loaded(self.open(&path, 0));
        }
        paths.push(path);
        Err(Error::SeveralLibraries { library: self.soname, paths })
    }

    /// Whether the process has it already.
    pub(super) fn is_mapped(&self) -> bool {
        !self.mapped().is_empty() || self.open(self.soname, RTLD_NOLOAD).is_ok()
    }

    /// The copies that the loader of this process has mapped. Others, which a debugger has mapped to read them, are none.
    fn mapped(&self) -> Vec<(MappedLibrary, unix::Library)> {
        // Where that cannot be read, the loader is asked by name alone. Names that are not UTF-8 are other files'.
        let maps = fs::read("/proc/self/maps").unwrap_or_default();
        let mapped = system::mapped(&String::from_utf8_lossy(&maps));
        let own = mapped.into_iter().filter(|copy| copy.library == self.kind);
        own.filter_map(|copy| Some((copy.clone(), self.open(&copy.path, RTLD_NOLOAD).ok()?))).collect()
    }

    fn find(&self) -> std::result::Result<unix::Library, libloading::Error> {
        let by_name = self.open(self.soname, RTLD_NOLOAD).or_else(|_| self.open(self.soname, 0));
        // What the loader says of its own search is the reason to tell.
        by_name.or_else(|error| self.places.iter().find_map(|place| self.open(place, 0).ok()).ok_or(error))
    }

    fn open(&self, name: &str, more: i32) -> std::result::Result<unix::Library, libloading::Error> {
        let scope = if self.global { unix::RTLD_GLOBAL } else { unix::RTLD_LOCAL };
        // SAFETY: initializers run, of libraries that are made to be loaded by any program at any time; their finalizers run
        // only when the process ends.
        unsafe { unix::Library::open(Some(name), unix::RTLD_NOW | scope | more) }
    }

    fn loaded(&self, handle: std::result::Result<unix::Library, libloading::Error>) -> Result<Loaded> {
        match handle {
            Ok(handle) => Ok(Loaded { soname: self.soname, handle: ManuallyDrop::new(handle) }),
            Err(error) => Err(Error::Library { library: self.soname, reason: reason(&error), hint: self.hint }),
        }
    }
}

impl Loaded {
    /// The address of a function.
    pub(super) fn address(&self, symbol: &'static CStr) -> Result<NonNull<c_void>> {
        let missing = || Error::MissingSymbol { library: self.soname, symbol: symbol.to_str().unwrap_or_default() };
        self.find(symbol).ok_or_else(missing)
    }

    /// Whether it has a function.
    pub(super) fn has(&self, function: &str) -> bool {
        CString::new(function).is_ok_and(|function| self.find(&function).is_some())
    }

    pub(super) fn find(&self, symbol: &CStr) -> Option<NonNull<c_void>> {
        // SAFETY: the symbol is not used as anything but an address here.
        let found = unsafe { self.handle.get::<*mut c_void>(symbol) };
        NonNull::new(found.ok()?.into_raw())
    }

    /// The file that a function of it is in, as the loader names it.
    pub(super) fn file(&self, function: &CStr) -> Option<String> {
        let address = self.find(function)?;
        let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
        // SAFETY: any address may be asked about, and the structure is one that the function fills.
        let found = unsafe { libc::dladdr(address.as_ptr(), info.as_mut_ptr()) } != 0;
        // SAFETY: zero is a value of each of its fields.
        let name = unsafe { info.assume_init() }.dli_fname;
        if !found || name.is_null() {
            return None;
        }
        // SAFETY: the loader's name of an object that is never closed.
        Some(unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
    }
}

/// The loader's own words: libloading's only say that dlopen failed, and keep them as the cause.
fn reason(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(soname: &'static str, places: &'static [&'static str], hint: &'static str) -> Library {
        Library { kind: types::Library::Unknown, soname, variable: None, places, global: false, hint }
    }

    #[test]
    fn a_missing_library_is_explained() {
        let library = library("libnearfab-absent.so.1", &["/nowhere/libnearfab-absent.so.1"], "install it");
        let Err(error) = library.load() else { panic!("there is such a library") };
        assert_eq!(
            error.to_string(),
            "libnearfab-absent.so.1 cannot be loaded (libnearfab-absent.so.1: cannot open shared object file: No such \
             file or directory); install it"
        );
    }

    #[test]
    fn a_missing_function_is_named_with_its_library() {
        let libc = library("libc.so.6", &[], "").load().unwrap();
        libc.address(c"getpid").unwrap();
        assert!(libc.has("getpid") && !libc.has("nearfab_absent"));
        assert!(libc.file(c"getpid").unwrap().contains("libc.so.6"));
        let error = libc.address(c"nearfab_absent").unwrap_err();
        assert!(matches!(error, Error::MissingSymbol { library: "libc.so.6", symbol: "nearfab_absent" }), "{error}");
    }

    #[test]
    fn what_the_loader_does_not_know_is_found_in_its_place() {
        let libc = library("libc.so.6", &[], "").load().unwrap().file(c"getpid").unwrap();
        let place: &'static str = libc.leak();
        let elsewhere = library("libnearfab-absent.so.1", Vec::leak(vec!["/nowhere", place]), "");
        elsewhere.load().unwrap().address(c"getpid").unwrap();
    }
}
