//! Vendor libraries, opened at run time: nearfab links none, so that it runs where they are missing. And the Neuron driver,
//! asked through its nodes.

use std::sync::OnceLock;

use nearfab_sys::{Efadv, Verbs, VerbsDmabuf};

use crate::error::Result;

mod child;
mod library;
pub(crate) mod neuron;

use library::Library;

const VERBS: Library = Library {
    soname: "libibverbs.so.1",
    hint: "EFA interfaces are opened through it: install the EFA software of AWS, or the package libibverbs1 (Debian, \
        Ubuntu) or libibverbs (Amazon Linux, Fedora)",
};

const EFA: Library = Library {
    soname: "libefa.so.1",
    hint: "libibverbs needs it for EFA interfaces: install the EFA software of AWS, or the package ibverbs-providers \
        (Debian, Ubuntu) or libibverbs (Amazon Linux, Fedora)",
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

/// Loads a library once. A failure is not kept: the library may be installed while the process runs.
fn once<T>(table: &'static OnceLock<T>, load: impl FnOnce() -> Result<T>) -> Result<&'static T> {
    match table.get() {
        Some(loaded) => Ok(loaded),
        None => load().map(|loaded| table.get_or_init(|| loaded)),
    }
}
