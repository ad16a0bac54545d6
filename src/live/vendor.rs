//! Vendor libraries, opened at run time: nearfab links none, so that it runs where they are missing. And the Neuron driver,
//! asked through its nodes.

use std::sync::OnceLock;

use nearfab_sys::nrt::Nrt;
use nearfab_sys::{Efadv, Fabric, Verbs, VerbsDmabuf};

use crate::error::Result;
use crate::types;

mod library;
mod report;

use library::Library;
pub use report::{Missing, Runtime, all, prefer};

const VERBS: Library = Library {
    kind: types::Library::Libibverbs,
    soname: "libibverbs.so.1",
    variable: None,
    places: &[],
    global: false,
    hint: "EFA interfaces are opened through it: install the EFA software of AWS, or the package libibverbs1 (Debian, \
        Ubuntu) or libibverbs (Amazon Linux, Fedora)",
};

const EFA: Library = Library {
    kind: types::Library::Libefa,
    soname: "libefa.so.1",
    variable: None,
    places: &[],
    global: false,
    hint: "libibverbs needs it for EFA interfaces: install the EFA software of AWS, or the package ibverbs-providers \
        (Debian, Ubuntu) or libibverbs (Amazon Linux, Fedora)",
};

const FABRIC: Library = Library {
    kind: types::Library::Libfabric,
    soname: "libfabric.so.1",
    variable: None,
    places: &["/opt/amazon/efa/lib64/libfabric.so.1", "/opt/amazon/efa/lib/libfabric.so.1"],
    global: false,
    hint: "MPI, NCCL and NIXL reach EFA through it: install the EFA software of AWS",
};

/// In the scope of all: libfabric looks for it by its soname when memory of a device is registered.
const NRT: Library = Library {
    kind: types::Library::Libnrt,
    soname: Nrt::LIBRARY,
    variable: Some("EFA_NEURON_LIBNRT"),
    places: &["/opt/aws/neuron/lib/libnrt.so.1"],
    global: true,
    hint: "it is the Neuron runtime: install aws-neuronx-runtime-lib",
};

/// The functions of libibverbs.
pub(crate) fn verbs() -> Result<&'static Verbs> {
    static TABLE: OnceLock<Verbs> = OnceLock::new();
    once(&TABLE, || {
        let library = VERBS.load()?;
        // SAFETY: the addresses are those of the functions in the library of this soname, whose ABI the headers describe;
        // it is never closed.
        unsafe { Verbs::resolve(|name| library.address(name)) }
    })
}

/// Those of them that older versions lack.
pub(crate) fn verbs_dmabuf() -> Result<&'static VerbsDmabuf> {
    static TABLE: OnceLock<VerbsDmabuf> = OnceLock::new();
    once(&TABLE, || {
        let library = VERBS.load()?;
        // SAFETY: as above.
        unsafe { VerbsDmabuf::resolve(|name| library.address(name)) }
    })
}

/// The functions of libefa that go beyond libibverbs.
pub(crate) fn efadv() -> Result<&'static Efadv> {
    static TABLE: OnceLock<Efadv> = OnceLock::new();
    once(&TABLE, || {
        let library = EFA.load()?;
        // SAFETY: as for libibverbs.
        unsafe { Efadv::resolve(|name| library.address(name)) }
    })
}

static NRT_TABLE: OnceLock<Nrt> = OnceLock::new();

/// The functions of libnrt, as far as it has them.
pub(crate) fn nrt() -> Result<&'static Nrt> {
    once(&NRT_TABLE, || {
        let library = NRT.load()?;
        // SAFETY: as for libibverbs, by what AWS publishes of it.
        Ok(unsafe { Nrt::resolve(|name| library.find(name)) })
    })
}

/// Whether this process has libnrt already.
pub(crate) fn is_nrt_mapped() -> bool {
    NRT_TABLE.get().is_some() || NRT.is_mapped()
}

/// The functions of libfabric that it exports.
pub(crate) fn fabric() -> Result<&'static Fabric> {
    static TABLE: OnceLock<Fabric> = OnceLock::new();
    once(&TABLE, || {
        let library = FABRIC.load()?;
        // SAFETY: as for libibverbs.
        unsafe { Fabric::resolve(|name| library.address(name)) }
    })
}

/// Loads a library once. A failure is not kept: the library may be installed while the process runs.
fn once<T>(table: &'static OnceLock<T>, load: impl FnOnce() -> Result<T>) -> Result<&'static T> {
    match table.get() {
        Some(loaded) => Ok(loaded),
        None => load().map(|loaded| table.get_or_init(|| loaded)),
    }
}
