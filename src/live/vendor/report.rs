//! Which vendor libraries this process has or would get, and what they can do.

use std::ffi::CStr;
use std::mem;
use std::path::Path;

use nearfab_sys::{Efadv, Verbs, VerbsDmabuf};

use super::library::{self, Library, Loaded};
use super::{EFA, FABRIC, NRT, VERBS};
use crate::error::Result;
use crate::scan::root::HostRoot;
use crate::system;
use crate::types;

/// A vendor library in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Runtime {
    /// The name that programs ask for it by.
    pub soname: &'static str,
    /// The file, with the links to it followed as far as they lead to a file beside it.
    pub path: Option<String>,
    /// Its version: libfabric's by its own answer, that of the others by the name of its file.
    pub version: Option<String>,
    /// What nearfab would use and this library does not have.
    pub missing: Vec<Missing>,
}

/// Functions that a library does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// The first of them.
    pub symbol: &'static str,
    /// What is not possible without.
    pub means: &'static str,
}

/// What nearfab wants of a library: functions that belong together, and what is not possible without them.
struct Wanted {
    functions: &'static [&'static str],
    means: &'static str,
}

/// What is looked for, the lower libraries first.
const ALL: [(&Library, &[Wanted]); 4] = [
    (
        &VERBS,
        &[
            Wanted { functions: Verbs::NAMES, means: "EFA interfaces cannot be opened" },
            Wanted {
                functions: VerbsDmabuf::NAMES,
                means: "memory of accelerators cannot be registered as a dma-buf (rdma-core 34 has it)",
            },
        ],
    ),
    (&EFA, &[Wanted { functions: Efadv::NAMES, means: "what only EFA has, such as SRD queue pairs, is not there" }]),
    (
        &FABRIC,
        &[Wanted { functions: &["fi_getinfo", "fi_fabric", "fi_dupinfo"], means: "nothing can be done with it" }],
    ),
    (
        &NRT,
        &[
            Wanted { functions: &["nrt_init", "nrt_get_version"], means: "nothing can be done with it" },
            Wanted {
                functions: &["nrt_get_attached_efa_bdf"],
                means: "which interface is near an address is answered by the instance's table (libnrt 2.31 has its own answer)",
            },
        ],
    ),
];

/// Every vendor library that nearfab can use, or why it is not there. Those that this process has not are loaded, and
/// nothing is initialized: no device is opened, and libfabric is not asked for interfaces.
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
/// Each by itself: [`Error::Library`](crate::Error::Library) where it cannot be loaded, [`Error::SeveralLibraries`](crate::Error::SeveralLibraries) where the process has it more than
/// once and [`prefer`] has not said which is meant.
#[must_use]
pub fn all() -> Vec<(&'static str, Result<Runtime>)> {
    ALL.iter().map(|(library, wanted)| (library.soname, look(library, wanted))).collect()
}

/// Says which file to use of a library, where a process has several copies or the loader would find another. To be said
/// before it is used first: what is in use stays. It chooses among copies: where only others are mapped, it is refused, as a second
/// one would be there beside them.
///
/// For libnrt the environment variable `EFA_NEURON_LIBNRT` says the same for a program as it is.
///
/// ```
/// use nearfab::vendor::prefer;
/// use nearfab::system::Library;
/// prefer(Library::Libfabric, "/opt/amazon/efa/lib64/libfabric.so.1");
/// ```
pub fn prefer(library: types::Library, path: &str) {
    library::prefer(library, path);
}

fn look(library: &Library, wanted: &[Wanted]) -> Result<Runtime> {
    let loaded = library.load()?;
    let path = wanted.iter().flat_map(|wanted| wanted.functions).find_map(|function| file(&loaded, function));
    let version = match library.kind {
        types::Library::Libfabric => fabric_version(&loaded),
        _ => path.as_deref().and_then(system::version_of_file).map(str::to_owned),
    };
    let lacks = |wanted: &Wanted| {
        let symbol = wanted.functions.iter().copied().find(|function| !loaded.has(function))?;
        Some(Missing { symbol, means: wanted.means })
    };
    Ok(Runtime { soname: library.soname, path, version, missing: wanted.iter().filter_map(lacks).collect() })
}

/// The file of a function, and not the link to it by which the loader found it.
fn file(loaded: &Loaded, function: &str) -> Option<String> {
    let function = std::ffi::CString::new(function).ok()?;
    let path = loaded.file(&function)?;
    let link = HostRoot::open(Path::new("/")).and_then(|root| root.link(path.strip_prefix('/').unwrap_or(&path)));
    match link {
        Ok(Some(beside)) if !beside.contains('/') => Some(format!("{}/{beside}", path.rsplit_once('/')?.0)),
        _ => Some(path),
    }
}

/// By `fi_version`, which does nothing else.
fn fabric_version(loaded: &Loaded) -> Option<String> {
    const NAME: &CStr = c"fi_version";
    let address = loaded.address(NAME).ok()?;
    // SAFETY: the address is that of libfabric's `uint32_t fi_version(void)`, which never changed.
    let version = unsafe { mem::transmute::<*mut std::ffi::c_void, unsafe extern "C" fn() -> u32>(address.as_ptr()) };
    // SAFETY: it takes nothing and may be called at any time.
    let number = unsafe { version() };
    Some(format!("{}.{}", number >> 16, number & 0xffff))
}
