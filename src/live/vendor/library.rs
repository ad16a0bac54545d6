//! Finds one shared library, loads it, and keeps it loaded until the process ends.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::ffi::{CStr, CString, c_void};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use libloading::os::unix;
use nix::libc::{self, RTLD_NOLOAD};

use crate::error::{Error, Result};
use crate::scan::root::HostRoot;
use crate::system::{self, MappedLibrary};
use crate::types::Library;

/// A vendor library that may be installed: the places to search, and a hint for users without the library.
#[derive(Debug)]
pub(super) struct VendorLibrary {
    pub(super) kind: Library,
    pub(super) soname: &'static str,
    /// The environment variable that names the file to load.
    pub(super) variable: Option<&'static str>,
    /// The vendor's install paths, tried if the dynamic loader does not find the soname.
    pub(super) places: &'static [&'static str],
    /// Whether other libraries can look up the functions of this library by name (`RTLD_GLOBAL`).
    pub(super) global: bool,
    /// For users: what does not work without the library, and which package has it.
    pub(super) hint: &'static str,
}

/// A loaded library. A vendor library is never unloaded, because it has threads, exit handlers, thread-local values,
/// and other users in this process.
pub(super) struct Loaded {
    soname: &'static str,
    handle: ManuallyDrop<unix::Library>,
}

/// The file that the program chose for each library. Only [`prefer`] writes this map.
static PREFERRED: Mutex<BTreeMap<Library, String>> = Mutex::new(BTreeMap::new());

/// # Safety
///
/// If the file at `path` exists, it is a build of `library` with the ABI of its soname, and loading it is sound in this
/// process.
pub(super) unsafe fn prefer(library: Library, path: &str) {
    PREFERRED.lock().unwrap_or_else(PoisonError::into_inner).insert(library, path.to_owned());
}

impl VendorLibrary {
    /// Returns the library. Uses the file that the program or the environment names, else the copy that the process has
    /// loaded under any name, else the file that the dynamic loader finds, else the file at the vendor's install path.
    ///
    /// A copy that was linked into the program statically is not found.
    pub(super) fn load(&self) -> Result<Loaded> {
        if let Some(path) = self.preferred() {
            // SAFETY: the caller of `prefer` promised that this file is a sound build of the library.
            return unsafe { self.load_named(path) };
        }
        if let Some(path) = self.named_by_environment() {
            // SAFETY: by its documentation the variable names a build of this library. The variable adds no power to
            // the environment, which can already make the dynamic loader run any file (LD_PRELOAD, LD_LIBRARY_PATH). If
            // the loader ignores those variables (in set-user-ID programs), `named_by_environment` returns `None`. A
            // program that sets a variable in this process calls the unsafe `set_var`, and is responsible for the file.
            return unsafe { self.load_named(path) };
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

    /// Returns the file that the program chose with [`prefer`].
    fn preferred(&self) -> Option<String> {
        PREFERRED.lock().unwrap_or_else(PoisonError::into_inner).get(&self.kind).cloned()
    }

    /// Returns the file that the environment variable names; `None` if the variable is unset or empty. Also returns
    /// `None` in programs that run with more rights than their user (set-user-ID): the dynamic loader ignores such
    /// variables there too.
    fn named_by_environment(&self) -> Option<String> {
        let path = std::env::var_os(self.variable?)?.to_string_lossy().into_owned();
        Some(path).filter(|path| !path.is_empty() && !is_secure_execution())
    }

    /// Returns the library at `path`. If the process has loaded other copies only, fails instead of loading a second
    /// copy.
    ///
    /// # Safety
    ///
    /// If the file exists, it is a build of this library, and loading it is sound in this process.
    unsafe fn load_named(&self, path: String) -> Result<Loaded> {
        let mapped = self.find_loaded(&path);
        if mapped.is_ok() {
            return self.loaded(mapped);
        }
        let mut paths: Vec<String> = self.mapped().into_iter().map(|(copy, _)| copy.path).collect();
        if paths.is_empty() {
            // SAFETY: the caller promises that the file is a sound build of this library.
            return self.loaded(unsafe { self.load_file(&path) });
        }
        paths.push(path);
        Err(Error::SeveralLibraries { library: self.soname, paths })
    }

    /// Returns whether the process has loaded the library already.
    pub(super) fn is_mapped(&self) -> bool {
        !self.mapped().is_empty() || self.find_loaded(self.soname).is_ok()
    }

    /// Returns the copies that this process's dynamic loader has loaded. A file that was mapped in another way, such as
    /// by a debugger that reads it, is no copy.
    fn mapped(&self) -> Vec<(MappedLibrary, unix::Library)> {
        // Without a readable list, the soname alone shows whether the loader has the library. A path with U+FFFD
        // belongs to another file: the names of these libraries are ASCII.
        let maps = HostRoot::open(Path::new("/")).and_then(|root| root.read_lossy("proc/self/maps"));
        let mapped = system::mapped(&maps.ok().flatten().unwrap_or_default());
        let own = mapped.into_iter().filter(|copy| copy.library == self.kind);
        own.filter_map(|copy| Some((copy.clone(), self.find_loaded(&copy.path).ok()?))).collect()
    }

    fn find(&self) -> std::result::Result<unix::Library, libloading::Error> {
        let by_name = self.find_loaded(self.soname).or_else(|_| {
            // SAFETY: the dynamic loader finds the file of this soname in the system's folders or in the folders of
            // LD_LIBRARY_PATH, as the loader does for each program that is linked with the library.
            unsafe { self.load_file(self.soname) }
        });
        // If no install path works, the loader's answer for the soname is the reason to report.
        by_name.or_else(|error| {
            // SAFETY: the path is the constant at which the vendor's package installs this library. The folder of the
            // file belongs to root.
            let installed = |place: &&str| unsafe { self.load_file(place) }.ok();
            self.places.iter().find_map(installed).ok_or(error)
        })
    }

    /// Returns a library that the dynamic loader has loaded already.
    fn find_loaded(&self, name: &str) -> std::result::Result<unix::Library, libloading::Error> {
        // SAFETY: with RTLD_NOLOAD the loader maps nothing and runs no initializer: the loader returns an object that
        // it has already loaded, or fails. The returned handle is never closed (`Loaded`), or closing the handle undoes
        // this reference alone.
        unsafe { unix::Library::open(Some(name), self.flags() | RTLD_NOLOAD) }
    }

    /// Loads a file, by a path or by the soname that the dynamic loader searches for.
    ///
    /// # Safety
    ///
    /// If the loader finds the file, it is a build of this library, and loading it is sound in this process.
    unsafe fn load_file(&self, name: &str) -> std::result::Result<unix::Library, libloading::Error> {
        // SAFETY: the caller promises that the file's initializers may run here. The file's finalizers run at the
        // process's exit only, because `Loaded` never closes the handle.
        unsafe { unix::Library::open(Some(name), self.flags()) }
    }

    fn flags(&self) -> i32 {
        unix::RTLD_NOW | if self.global { unix::RTLD_GLOBAL } else { unix::RTLD_LOCAL }
    }

    fn loaded(&self, handle: std::result::Result<unix::Library, libloading::Error>) -> Result<Loaded> {
        match handle {
            Ok(handle) => Ok(Loaded { soname: self.soname, handle: ManuallyDrop::new(handle) }),
            Err(error) => Err(Error::Library { library: self.soname, reason: reason(&error), hint: self.hint }),
        }
    }
}

impl Loaded {
    /// Returns the address of a function.
    pub(super) fn address(&self, symbol: &'static CStr) -> Result<NonNull<c_void>> {
        let missing = || Error::MissingSymbol { library: self.soname, symbol: symbol.to_str().unwrap_or_default() };
        self.find(symbol).ok_or_else(missing)
    }

    /// Returns whether the library has a function.
    pub(super) fn has(&self, function: &str) -> bool {
        CString::new(function).is_ok_and(|function| self.find(&function).is_some())
    }

    pub(super) fn find(&self, symbol: &CStr) -> Option<NonNull<c_void>> {
        // SAFETY: any symbol may be read as a `*mut c_void`: the result is the symbol's address, and the address is not
        // dereferenced here.
        let found = unsafe { self.handle.get::<*mut c_void>(symbol) };
        NonNull::new(found.ok()?.into_raw())
    }

    /// Returns the loader's path of the file that holds a function of this library.
    pub(super) fn file(&self, function: &CStr) -> Option<String> {
        let address = self.find(function)?;
        let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
        // SAFETY: `dladdr` takes any address and does not dereference it. The function writes at most one `Dl_info`,
        // and `info` has space for one.
        let found = unsafe { libc::dladdr(address.as_ptr(), info.as_mut_ptr()) } != 0;
        // SAFETY: `info` was zeroed, and zero is valid for each field: pointers and, on some systems, integers.
        let name = unsafe { info.assume_init() }.dli_fname;
        if !found || name.is_null() {
            return None;
        }
        // SAFETY: the loader set `dli_fname` to the zero-terminated path of the object, which lives until the object is
        // unloaded. This object is never unloaded.
        Some(unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
    }
}

/// Returns the loader's message. libloading's own message says that dlopen failed, and has the loader's message as its
/// source.
fn reason(error: &libloading::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// Returns whether the program runs with more rights than its user, as a set-user-ID program does. The dynamic loader
/// then ignores the variables that name files to load.
fn is_secure_execution() -> bool {
    // SAFETY: the function reads a constant that the kernel gave to the process, for any argument.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(soname: &'static str, places: &'static [&'static str], hint: &'static str) -> VendorLibrary {
        VendorLibrary { kind: Library::Unknown, soname, variable: None, places, global: false, hint }
    }

    #[test]
    fn a_missing_library_is_explained() {
        let library = library("libnearfab-absent.so.1", &["/nowhere/libnearfab-absent.so.1"], "install it");
        let Err(error) = library.load() else { panic!("the library exists") };
        assert_eq!(
            error.to_string(),
            "cannot load libnearfab-absent.so.1: libnearfab-absent.so.1: cannot open shared object file: No such file or \
             directory; install it"
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
    fn a_library_outside_the_loaders_folders_is_found_at_its_install_path() {
        let libc = library("libc.so.6", &[], "").load().unwrap().file(c"getpid").unwrap();
        let place: &'static str = libc.leak();
        let elsewhere = library("libnearfab-absent.so.1", Vec::leak(vec!["/nowhere", place]), "");
        elsewhere.load().unwrap().address(c"getpid").unwrap();
    }
}
