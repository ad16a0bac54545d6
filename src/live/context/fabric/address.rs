//! Address vectors: the addresses of peers.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use nearfab_sys::fabric::{FI_AV_TABLE, fi_addr_t, fi_av_attr, fid, fid_av};
use nearfab_sys::operations::{fi_av_insert, fi_av_open};

use super::{Domain, failed, invalid};
use crate::error::Result;
use crate::live::context::object::{Closed, Object};

/// An address vector: the addresses that endpoints send to.
///
/// Clones are handles of one vector. Each endpoint holds its vector.
#[doc(alias = "fid_av")]
#[derive(Debug, Clone)]
pub struct AddressVector {
    pub(super) object: Arc<Object<fid, Domain>>,
}

/// The address of a peer in an address vector.
#[doc(alias = "fi_addr_t")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(pub(super) fi_addr_t);

/// A buffer for one address of any provider. A provider reads the whole length of its addresses, even if the caller
/// gave fewer bytes: shm reads a text of up to the length of a file name, EFA reads 32 bytes, TCP reads a `sockaddr`.
#[repr(C, align(16))]
pub(super) struct AddressBuffer([u8; AddressBuffer::LENGTH]);

impl AddressBuffer {
    pub(super) const LENGTH: usize = 512;

    pub(super) const fn new() -> Self {
        Self([0; Self::LENGTH])
    }

    /// Makes a buffer that holds an address, followed by at least one zero byte. Returns `None` if the address is too
    /// long for any provider.
    fn with(address: &[u8]) -> Option<Self> {
        let mut buffer = Self::new();
        buffer.0[..Self::LENGTH - 1].get_mut(..address.len())?.copy_from_slice(address);
        Some(buffer)
    }

    /// Returns the first `length` bytes; `None` if the buffer is shorter.
    pub(super) fn first(&self, length: usize) -> Option<&[u8]> {
        self.0.get(..length)
    }
}

impl Domain {
    /// Makes an address vector.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call): libfabric fails. [`Error::Forked`](crate::Error::Forked): in a forked
    /// child.
    #[doc(alias = "fi_av_open")]
    pub fn address_vector(&self) -> Result<AddressVector> {
        let mut attributes = fi_av_attr { type_: FI_AV_TABLE, ..fi_av_attr::default() };
        let mut av: *mut fid_av = ptr::null_mut();
        // SAFETY: the domain is open, because this handle holds it. The attributes are a local structure, and the
        // function writes one pointer.
        let status = unsafe { fi_av_open(self.raw()?, &raw mut attributes, &raw mut av, ptr::null_mut()) };
        // SAFETY: `av` is null, or the address vector that libfabric made in this domain just now, which depends on the
        // domain only.
        Ok(AddressVector { object: unsafe { self.object("fi_av_open", status, av, ())? } })
    }
}

impl AddressVector {
    /// Adds a peer by the address that [`Endpoint::address`](super::Endpoint::address) returned in the peer's process.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call): the provider does not accept the address, or libfabric fails.
    /// [`Error::Forked`](crate::Error::Forked): in a forked child.
    #[doc(alias = "fi_av_insert")]
    pub fn insert(&self, address: &[u8]) -> Result<Peer> {
        const FUNCTION: &str = "fi_av_insert";
        let (av, device) = (self.object.get()?.cast(), self.object.parent.name());
        let Some(buffer) = AddressBuffer::with(address) else {
            return Err(invalid(FUNCTION, device, format!("no provider has addresses of {} bytes", address.len())));
        };
        let mut peer = fi_addr_t::MAX;
        let first = (&raw const buffer).cast();
        // SAFETY: the vector is open, because this handle holds it. `buffer` is longer than the address of any
        // provider, so the provider reads inside it. The function writes one `fi_addr_t`.
        match unsafe { fi_av_insert(av, first, 1, &raw mut peer, 0, ptr::null_mut()) } {
            1 => Ok(Peer(peer)),
            0 => Err(invalid(FUNCTION, device, "the provider does not accept this address".to_owned())),
            status => Err(failed(FUNCTION, device, status)),
        }
    }

    /// Returns the `fid_av` for other code, which must not close it. The pointer is valid as long as this handle
    /// exists.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked): in a forked child.
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.object.get()?.cast())
    }

    /// Closes this handle, and the vector if this was the last handle.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call): this was the last handle and libfabric fails to close the object.
    /// [`Error::Forked`](crate::Error::Forked): in a forked child.
    pub fn close(self) -> Result<Closed> {
        Object::close(self.object)
    }
}
