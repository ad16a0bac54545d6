//! Reports the vendor libraries that this process has loaded or would load, and the functions that these libraries
//! lack.

use std::ffi::CStr;
use std::mem;
use std::path::Path;

use nearfab_sys::{Efadv, Verbs, VerbsDmabuf};

use super::library::{self, Loaded, VendorLibrary};
use super::{EFA, FABRIC, NRT, VERBS};
use crate::error::Result;
use crate::scan::root::HostRoot;
use crate::system;
use crate::types::Library;

/// A vendor library in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Runtime {
    /// The name by which programs load the library.
    pub soname: &'static str,
    /// The file. A link to a file in the same folder is followed.
    pub path: Option<String>,
    /// The version. For libfabric, the answer of `fi_version`; for the other libraries, the version in the file's name.
    pub version: Option<String>,
    /// The functions that nearfab uses and this library lacks.
    pub missing: Vec<Missing>,
}

/// Functions that a library lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// The first missing function.
    pub symbol: &'static str,
    /// What does not work without the functions.
    pub means: &'static str,
}

/// Functions that nearfab uses together, and what does not work without them.
struct Functions {
    names: &'static [&'static str],
    means: &'static str,
}

/// The libraries and the functions that nearfab uses. A library comes after the libraries that it is linked with.
const ALL: &[(&VendorLibrary, &[Functions])] = &[
    (
        &VERBS,
        &[
            Functions { names: Verbs::NAMES, means: "EFA interfaces cannot be opened" },
            Functions {
                names: VerbsDmabuf::NAMES,
                means: "memory of accelerators cannot be registered as a dma-buf (rdma-core 34 or newer can)",
            },
        ],
    ),
    (
        &EFA,
        &[Functions { names: Efadv::NAMES, means: "EFA's own features, such as SRD queue pairs, are not available" }],
    ),
    (&FABRIC, &[Functions { names: &["fi_getinfo", "fi_fabric", "fi_dupinfo"], means: "nearfab cannot use it" }]),
    (
        &NRT,
        &[
            Functions { names: &["nrt_init", "nrt_get_version"], means: "nearfab cannot use it" },
            Functions {
                names: &["nrt_get_attached_efa_bdf"],
                means: "nearfab finds the interface near an address by the instance's table (libnrt 2.31 or newer \
                    answers itself)",
            },
        ],
    ),
];

/// Returns every vendor library that nearfab can use, or the reason why nearfab cannot use the library.
///
/// Loads the libraries that this process has not loaded. Initializes no library: opens no device, and does not ask
/// libfabric for interfaces.
///
/// ```
/// for (soname, found) in nearfab::vendor::all() {
///     match found {
///         Ok(runtime) => println!("{soname} {}", runtime.version.unwrap_or_default()),
///         Err(reason) => println!("{reason}"),
///     }
/// }
/// ```
///
/// # Errors
/// In the place of each library: [`Error::Library`](crate::Error::Library) if the library cannot be loaded;
/// [`Error::SeveralLibraries`](crate::Error::SeveralLibraries) if the process has loaded the library more than once and
/// [`prefer`] chose no file.
#[must_use]
pub fn all() -> Vec<(&'static str, Result<Runtime>)> {
    ALL.iter().map(|(library, functions)| (library.soname, report(library, functions))).collect()
}

/// Chooses the file to use for a library, if the process has loaded several copies or if the dynamic loader would find
/// another file.
///
/// Call this function before nearfab uses the library: a library in use stays in use. The choice loads no second copy:
/// if the process has loaded other copies only, using the library fails
/// ([`Error::SeveralLibraries`](crate::Error::SeveralLibraries)).
///
/// For libnrt, the environment variable `NEARFAB_LIBNRT` makes the same choice for a program that is already built.
/// nearfab ignores the variable if the dynamic loader ignores `LD_PRELOAD` (in set-user-ID programs).
///
/// ```
/// use nearfab::system::Library;
/// use nearfab::vendor::prefer;
/// // SAFETY: the file is the libfabric of AWS's EFA software, in a folder that only root can write.
/// unsafe { prefer(Library::Libfabric, "/opt/amazon/efa/lib64/libfabric.so.1") };
/// ```
///
/// # Safety
///
/// If the file at `path` exists when nearfab first uses the library, then:
/// - the file is a build of `library` with the ABI of its soname: nearfab calls the functions of the file by the
///   prototypes in the library's headers;
/// - loading the file is sound in this process: its initializers run.
///
/// Safe code cannot choose a file:
///
/// ```compile_fail,E0133
/// use nearfab::{system::Library, vendor};
/// vendor::prefer(Library::Libfabric, "evil.so");
/// vendor::all();
/// ```
pub unsafe fn prefer(library: Library, path: &str) {
    // SAFETY: the caller makes the promise that `library::prefer` requires.
    unsafe { library::prefer(library, path) };
}

fn report(library: &VendorLibrary, functions: &[Functions]) -> Result<Runtime> {
    let loaded = library.load()?;
    let path = functions.iter().flat_map(|group| group.names).find_map(|function| file(&loaded, function));
    let version = match library.kind {
        Library::Libfabric => fabric_version(&loaded),
        _ => path.as_deref().and_then(system::version_of_file).map(str::to_owned),
    };
    let missing = |group: &Functions| {
        let symbol = group.names.iter().copied().find(|function| !loaded.has(function))?;
        Some(Missing { symbol, means: group.means })
    };
    Ok(Runtime { soname: library.soname, path, version, missing: functions.iter().filter_map(missing).collect() })
}

/// Returns the file that holds a function. If the loader found the file by a link to a file in the same folder, returns
/// the target of the link.
fn file(loaded: &Loaded, function: &str) -> Option<String> {
    let function = std::ffi::CString::new(function).ok()?;
    let path = loaded.file(&function)?;
    let link = HostRoot::open(Path::new("/")).and_then(|root| root.link(path.strip_prefix('/').unwrap_or(&path)));
    match link {
        Ok(Some(beside)) if !beside.contains('/') => Some(format!("{}/{beside}", path.rsplit_once('/')?.0)),
        _ => Some(path),
    }
}

/// Returns the answer of `fi_version`, which has no effect.
fn fabric_version(loaded: &Loaded) -> Option<String> {
    const NAME: &CStr = c"fi_version";
    let address = loaded.address(NAME).ok()?;
    // SAFETY: the address belongs to libfabric's `uint32_t fi_version(void)`. The prototype of this function has never
    // changed.
    let version = unsafe { mem::transmute::<*mut std::ffi::c_void, unsafe extern "C" fn() -> u32>(address.as_ptr()) };
    // SAFETY: the function takes no argument, reads no state, and may be called at any time, by its manual page.
    let number = unsafe { version() };
    Some(format!("{}.{}", number >> 16, number & 0xffff))
}
