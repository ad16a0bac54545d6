//! Memory regions of a domain.

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

/// Registered memory, which the endpoints of a domain may read and write.
///
/// Clones are handles of one region.
#[doc(alias = "fid_mr")]
#[derive(Debug, Clone)]
pub struct FabricMemoryRegion {
    object: Arc<Object<fid, Domain>>,
}

impl Domain {
    /// Registers memory of this process.
    ///
    /// # Safety
    ///
    /// The memory stays mapped until the region is closed. While an endpoint may write the memory, or a peer may write
    /// it by `access`, no Rust reference to the memory is used.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call): libfabric fails. [`Error::Forked`](crate::Error::Forked): in a forked
    /// child.
    #[doc(alias = "fi_mr_reg")]
    pub unsafe fn register(&self, memory: NonNull<[u8]>, access: Access) -> Result<FabricMemoryRegion> {
        /// The most keys to try: other users of the domain may have taken some keys.
        const ATTEMPTS: usize = 256;
        const TAKEN: i32 = -FI_ENOKEY.cast_signed();
        let (domain, access) = (self.raw()?, access_of(access));
        let (start, length) = (memory.cast().as_ptr(), memory.len());
        let (mut status, mut raw): (i32, *mut fid_mr) = (TAKEN, ptr::null_mut());
        for _ in 0..ATTEMPTS {
            let key = self.next_key()?;
            // SAFETY: the domain is open, because this handle holds it. `start` and `length` describe the caller's
            // memory, which the caller promises to keep mapped and not to use by reference while an endpoint or peer
            // writes it. The function writes one pointer.
            status = unsafe { fi_mr_reg(domain, start, length, access, 0, key, 0, &raw mut raw, ptr::null_mut()) };
            if status != TAKEN {
                break;
            }
        }
        // SAFETY: `raw` is null, or the region that libfabric made in this domain just now, which depends on the domain
        // only.
        Ok(FabricMemoryRegion { object: unsafe { self.object("fi_mr_reg", status, raw, ())? } })
    }
}

impl FabricMemoryRegion {
    /// Returns the key by which peers name the region.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked): in a forked child.
    #[doc(alias = "fi_mr_key")]
    pub fn key(&self) -> Result<u64> {
        // SAFETY: the region is open, because this handle holds it, so the pointer is valid. libfabric never changes
        // `key`.
        Ok(unsafe { (*self.raw()?).key })
    }

    /// Returns the descriptor by which operations name the region; null without a region. Call this function in the
    /// process that made the region.
    #[inline]
    pub(super) fn descriptor_of(region: Option<&Self>) -> *mut c_void {
        region.map_or(ptr::null_mut(), |region| {
            let region: *mut fid_mr = region.object.get_unchecked().as_ptr().cast();
            // SAFETY: the region is open, because the handle holds it, so the pointer is valid. libfabric never changes
            // `mem_desc`.
            unsafe { (*region).mem_desc }
        })
    }

    #[inline]
    fn raw(&self) -> Result<*mut fid_mr> {
        Ok(self.object.get()?.cast())
    }

    /// Returns the `fid_mr` for other code, which must not close it. The pointer is valid as long as this handle
    /// exists.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked): in a forked child.
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.raw()?.cast())
    }

    /// Closes this handle, and the region if this was the last handle.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call): this was the last handle and libfabric fails to close the object.
    /// [`Error::Forked`](crate::Error::Forked): in a forked child.
    pub fn close(self) -> Result<Closed> {
        Object::close(self.object)
    }
}

/// Returns libfabric's bits for an access. libfabric has separate bits for messages and for RDMA; verbs has one bit for
/// both.
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
