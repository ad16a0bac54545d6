//! Memory that a domain's endpoints may read and write.

use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use nearfab_sys::fabric::{
    FI_ENOKEY, FI_READ, FI_RECV, FI_REMOTE_READ, FI_REMOTE_WRITE, FI_SEND, FI_WRITE, fid, fid_mr,
};
use nearfab_sys::operations::fi_mr_reg;

use super::Domain;
use crate::error::Result;
use crate::live::context::object::{Closed, Object};
use crate::live::context::verbs::Access;

/// Registered memory.
///
/// Clones are uses of one region.
#[doc(alias = "fid_mr")]
#[derive(Debug, Clone)]
pub struct MemoryRegion {
    object: Arc<Object<fid, Domain>>,
}

impl Domain {
    /// Registers memory of this process.
    ///
    /// # Safety
    ///
    /// The memory stays mapped until the region is closed, and while an endpoint, or a peer by `access`, may write it, no
    /// reference of Rust's to it is used.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) where libfabric fails, [`Error::Forked`](crate::Error::Forked) in a forked child.
    #[doc(alias = "fi_mr_reg")]
    pub unsafe fn register(&self, memory: NonNull<[u8]>, access: Access) -> Result<MemoryRegion> {
        /// Other users of the domain may have chosen as many keys.
        const ATTEMPTS: usize = 256;
        const TAKEN: i32 = -FI_ENOKEY.cast_signed();
        let (domain, access) = (self.raw()?, access_of(access));
        let (start, length) = (memory.cast().as_ptr(), memory.len());
        let (mut status, mut raw): (i32, *mut fid_mr) = (TAKEN, ptr::null_mut());
        for _ in 0..ATTEMPTS {
            let key = self.next_key()?;
            // SAFETY: the domain is open; the caller promises the rest.
            status = unsafe { fi_mr_reg(domain, start, length, access, 0, key, 0, &raw mut raw, ptr::null_mut()) };
            if status != TAKEN {
                break;
            }
        }
        // SAFETY: it was made just now, and hangs on nothing else.
        Ok(MemoryRegion { object: unsafe { self.object("fi_mr_reg", status, raw, ())? } })
    }
}

impl MemoryRegion {
    /// The key by which peers name it.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    #[doc(alias = "fi_mr_key")]
    pub fn key(&self) -> Result<u64> {
        // SAFETY: the region is open, and its key never changes.
        Ok(unsafe { (*self.raw()?).key })
    }

    /// What operations of the process that made it name it by, or null for no region.
    #[inline]
    pub(super) fn descriptor_of(region: Option<&Self>) -> *mut c_void {
        region.map_or(ptr::null_mut(), |region| {
            let region: *mut fid_mr = region.object.get_unchecked().as_ptr().cast();
            // SAFETY: the region is open, and its descriptor never changes.
            unsafe { (*region).mem_desc }
        })
    }

    #[inline]
    fn raw(&self) -> Result<*mut fid_mr> {
        Ok(self.object.get()?.cast())
    }

    /// The `fid_mr`, to be used by others as long as this is there, and not to be closed by them.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.raw()?.cast())
    }

    /// Ends this use of the region.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) where it was the last use and libfabric reports a failure,
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    pub fn close(self) -> Result<Closed> {
        Object::close(self.object)
    }
}

/// libfabric tells a message from an operation on memory, where verbs do not.
fn access_of(access: Access) -> u64 {
    let mut bits = FI_SEND | FI_WRITE;
    for (one, also) in [
        (Access::LOCAL_WRITE, FI_RECV | FI_READ),
        (Access::REMOTE_WRITE, FI_REMOTE_WRITE),
        (Access::REMOTE_READ, FI_REMOTE_READ),
    ] {
        if access.bits() & one.bits() != 0 {
            bits |= also;
        }
    }
    bits
}
