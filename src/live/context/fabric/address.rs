//! Peers, by their addresses.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use nearfab_sys::fabric::{FI_AV_TABLE, fi_addr_t, fi_av_attr, fid, fid_av};
use nearfab_sys::operations::{fi_av_insert, fi_av_open};

use super::{Domain, failed, invalid};
use crate::error::Result;
use crate::live::context::object::{Closed, Object};

/// The addresses that endpoints send to.
///
/// Clones are uses of one vector; endpoints hold it.
#[doc(alias = "fid_av")]
#[derive(Debug, Clone)]
pub struct AddressVector {
    pub(super) object: Arc<Object<fid, Domain>>,
}

/// An address in a vector.
#[doc(alias = "fi_addr_t")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(pub(super) fi_addr_t);

/// Room for one address of any provider. They read as many bytes as their addresses have, whatever they are given: shm a text
/// of up to a file name's length, EFA 32 bytes, TCP a `sockaddr`.
#[repr(C, align(16))]
pub(super) struct Room([u8; Room::LENGTH]);

impl Room {
    pub(super) const LENGTH: usize = 512;

    pub(super) const fn new() -> Self {
        Self([0; Self::LENGTH])
    }

    /// With an address, and at least one zero after it.
    fn with(address: &[u8]) -> Option<Self> {
        let mut room = Self::new();
        room.0[..Self::LENGTH - 1].get_mut(..address.len())?.copy_from_slice(address);
        Some(room)
    }

    pub(super) fn first(&self, length: usize) -> Option<&[u8]> {
        self.0.get(..length)
    }
}

impl Domain {
    /// Makes an address vector.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) where libfabric fails, [`Error::Forked`](crate::Error::Forked) in a forked child.
    #[doc(alias = "fi_av_open")]
    pub fn address_vector(&self) -> Result<AddressVector> {
        let mut attributes = fi_av_attr { type_: FI_AV_TABLE, ..fi_av_attr::default() };
        let mut av: *mut fid_av = ptr::null_mut();
        // SAFETY: the domain is open.
        let status = unsafe { fi_av_open(self.raw()?, &raw mut attributes, &raw mut av, ptr::null_mut()) };
        // SAFETY: it was made just now, and hangs on nothing else.
        Ok(AddressVector { object: unsafe { self.object("fi_av_open", status, av, ())? } })
    }
}

impl AddressVector {
    /// Adds a peer by its address, as its own [`Endpoint::address`](super::Endpoint::address) tells it.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) where it is no address of this provider's, or libfabric fails;
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    #[doc(alias = "fi_av_insert")]
    pub fn insert(&self, address: &[u8]) -> Result<Peer> {
        const FUNCTION: &str = "fi_av_insert";
        let (av, device) = (self.object.get()?.cast(), self.object.home.name());
        let Some(room) = Room::with(address) else {
            return Err(invalid(FUNCTION, device, format!("no provider has addresses of {} bytes", address.len())));
        };
        let mut peer = fi_addr_t::MAX;
        let first = (&raw const room).cast();
        // SAFETY: the vector is open, and the room is longer than any address of one.
        match unsafe { fi_av_insert(av, first, 1, &raw mut peer, 0, ptr::null_mut()) } {
            1 => Ok(Peer(peer)),
            0 => Err(invalid(FUNCTION, device, "this is no address that the provider takes".to_owned())),
            status => Err(failed(FUNCTION, device, status)),
        }
    }

    /// The `fid_av`, to be used by others as long as this is there, and not to be closed by them.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.object.get()?.cast())
    }

    /// Ends this use of the vector.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) where it was the last use and libfabric reports a failure,
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    pub fn close(self) -> Result<Closed> {
        Object::close(self.object)
    }
}
