//! Vendor libraries: libibverbs, libefa, libfabric and libnrt. nearfab loads these libraries at run time and links none
//! of them, so nearfab also runs on machines without them.

use std::sync::OnceLock;

use nearfab_sys::nrt::Nrt;
use nearfab_sys::{Efadv, Fabric, Verbs, VerbsDmabuf};

use crate::error::Result;
use crate::types::Library;

mod library;
mod report;

use library::VendorLibrary;
pub use report::{Missing, Runtime, all, prefer};

const VERBS: VendorLibrary = VendorLibrary {
    kind: Library::Libibverbs,
    soname: "libibverbs.so.1",
    variable: None,
    places: &[],
    global: false,
    hint: "nearfab opens EFA interfaces through it: install the EFA software of AWS, or the package libibverbs1 \
        (Debian, Ubuntu) or libibverbs (Amazon Linux, Fedora)",
};

const EFA: VendorLibrary = VendorLibrary {
    kind: Library::Libefa,
    soname: "libefa.so.1",
    variable: None,
    places: &[],
    global: false,
    hint: "libibverbs needs it for EFA interfaces: install the EFA software of AWS, or the package ibverbs-providers \
        (Debian, Ubuntu) or libibverbs (Amazon Linux, Fedora)",
};

const FABRIC: VendorLibrary = VendorLibrary {
    kind: Library::Libfabric,
    soname: "libfabric.so.1",
    variable: None,
    places: &["/opt/amazon/efa/lib64/libfabric.so.1", "/opt/amazon/efa/lib/libfabric.so.1"],
    global: false,
    hint: "MPI, NCCL and NIXL use EFA through it: install the EFA software of AWS",
};

/// libnrt, loaded with `RTLD_GLOBAL`: libfabric looks up libnrt by its soname when memory of a Neuron device is
/// registered.
const NRT: VendorLibrary = VendorLibrary {
    kind: Library::Libnrt,
    soname: Nrt::LIBRARY,
    variable: Some("NEARFAB_LIBNRT"),
    places: &["/opt/aws/neuron/lib/libnrt.so.1"],
    global: true,
    hint: "it is the Neuron runtime: install aws-neuronx-runtime-lib",
};

/// Returns the functions of libibverbs.
pub(crate) fn verbs() -> Result<&'static Verbs> {
    static TABLE: OnceLock<Verbs> = OnceLock::new();
    once(&TABLE, || {
        let library = VERBS.load()?;
        // SAFETY: `load` returns a libibverbs, so each address belongs to the function of this name. The headers of
        // rdma-core give the prototype of the function for this soname. The library is never unloaded, so the addresses
        // stay valid.
        unsafe { Verbs::resolve(|name| library.address(name)) }
    })
}

/// Returns the functions of libibverbs that register dma-bufs. Versions before rdma-core 34 lack these functions.
pub(crate) fn verbs_dmabuf() -> Result<&'static VerbsDmabuf> {
    static TABLE: OnceLock<VerbsDmabuf> = OnceLock::new();
    once(&TABLE, || {
        let library = VERBS.load()?;
        // SAFETY: `load` returns a libibverbs, so each address belongs to the function of this name. The headers of
        // rdma-core give the prototype of the function for this soname. The library is never unloaded, so the addresses
        // stay valid.
        unsafe { VerbsDmabuf::resolve(|name| library.address(name)) }
    })
}

/// Returns the functions of libefa.
pub(crate) fn efadv() -> Result<&'static Efadv> {
    static TABLE: OnceLock<Efadv> = OnceLock::new();
    once(&TABLE, || {
        let library = EFA.load()?;
        // SAFETY: `load` returns a libefa, so each address belongs to the function of this name. The headers of
        // rdma-core give the prototype of the function for this soname. The library is never unloaded, so the addresses
        // stay valid.
        unsafe { Efadv::resolve(|name| library.address(name)) }
    })
}

static NRT_TABLE: OnceLock<Nrt> = OnceLock::new();

/// Returns the functions of libnrt. A function that this libnrt lacks is an error when nearfab calls the function.
pub(crate) fn nrt() -> Result<&'static Nrt> {
    once(&NRT_TABLE, || {
        let library = NRT.load()?;
        // SAFETY: `load` returns a libnrt, so each address belongs to the function of this name. AWS publishes the
        // prototype of the function in libnrt's headers for this soname. The library is never unloaded, so the
        // addresses stay valid.
        Ok(unsafe { Nrt::resolve(|name| library.find(name)) })
    })
}

/// Returns whether this process has loaded libnrt already.
pub(crate) fn is_nrt_mapped() -> bool {
    NRT_TABLE.get().is_some() || NRT.is_mapped()
}

/// Returns the functions that libfabric exports.
pub(crate) fn fabric() -> Result<&'static Fabric> {
    static TABLE: OnceLock<Fabric> = OnceLock::new();
    once(&TABLE, || {
        let library = FABRIC.load()?;
        // SAFETY: `load` returns a libfabric, so each address belongs to the function of this name. libfabric's headers
        // give the prototype of the function for this soname. The library is never unloaded, so the addresses stay
        // valid.
        unsafe { Fabric::resolve(|name| library.address(name)) }
    })
}

/// Fills the table once. The next call tries again after a failure: the library may be installed while the process
/// runs.
fn once<T>(table: &'static OnceLock<T>, load: impl FnOnce() -> Result<T>) -> Result<&'static T> {
    match table.get() {
        Some(loaded) => Ok(loaded),
        None => load().map(|loaded| table.get_or_init(|| loaded)),
    }
}
