//! Endpoints, and what they are to do.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use nearfab_sys::fabric::{FI_EAGAIN, FI_RECV, FI_TRANSMIT, fi_addr_t, fi_context2, fid, fid_ep};
use nearfab_sys::operations::{fi_enable, fi_endpoint, fi_ep_bind, fi_getname, fi_recv, fi_send};

use super::address::Room;
use super::{AddressVector, CompletionQueue, Domain, EndpointKind, MemoryRegion, Peer, call, failed, invalid};
use crate::error::Result;
use crate::live::context::object::{Closed, Home, Object};

/// Where messages come and go.
///
/// Clones are uses of one endpoint.
#[doc(alias = "fid_ep")]
#[derive(Debug, Clone)]
pub struct Endpoint {
    object: Arc<Object<fid, Domain, Parents>>,
}

/// What an endpoint is bound to.
type Parents = (AddressVector, CompletionQueue, CompletionQueue);

/// Room that the provider uses while an operation is under way, and by which its completion tells which one it was.
#[doc(alias = "fi_context2")]
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Operation(UnsafeCell<fi_context2>);

/// Whether an operation was taken.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Posted {
    /// It is under way.
    Yes,
    /// There are too many: read the completion queue, and try again.
    QueueFull,
}

// SAFETY: it is memory, without a thought of the thread that made it.
unsafe impl Send for Operation {}

impl Domain {
    /// Makes an endpoint that sends to the peers of `peers`, and whose sends and receives complete on these queues.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) where libfabric fails, where a queue or the vector is of another domain, and for
    /// endpoints that are connected; [`Error::Forked`](crate::Error::Forked) in a forked child.
    #[doc(alias = "fi_endpoint")]
    #[doc(alias = "fi_enable")]
    pub fn endpoint(
        &self,
        peers: &AddressVector,
        send: &CompletionQueue,
        receive: &CompletionQueue,
    ) -> Result<Endpoint> {
        const FUNCTION: &str = "fi_endpoint";
        let (domain, info) = (self.raw()?, self.interface.info()?);
        if self.interface.endpoint == EndpointKind::Message {
            let reason = "its endpoints are connected, and nearfab knows those that address each message";
            return Err(call(FUNCTION, self.name(), io::Error::new(io::ErrorKind::Unsupported, reason)));
        }
        for (what, of) in [
            ("address vector", &peers.object.home),
            ("completion queue", &send.object.home),
            ("completion queue", &receive.object.home),
        ] {
            if of.raw()? != domain {
                return Err(invalid(FUNCTION, self.name(), format!("an {what} is of another domain, {}", of.name())));
            }
        }
        let mut raw: *mut fid_ep = ptr::null_mut();
        // SAFETY: the domain is open, and the entry is of it.
        let status = unsafe { fi_endpoint(domain, info.as_ptr(), &raw mut raw, ptr::null_mut()) };
        let parents = (peers.clone(), send.clone(), receive.clone());
        // SAFETY: it was made just now, and is bound to nothing else.
        let endpoint = Endpoint { object: unsafe { self.object(FUNCTION, status, raw, parents)? } };
        endpoint.bind_and_enable()?;
        Ok(endpoint)
    }
}

impl Endpoint {
    fn bind_and_enable(&self) -> Result<()> {
        let (raw, domain) = (self.raw()?, &self.object.home);
        let (peers, send, receive) = &self.object.parents;
        for (to, flags) in
            [(peers.object.get()?, 0), (send.object.get()?, FI_TRANSMIT), (receive.object.get()?, FI_RECV)]
        {
            // SAFETY: both are open and of one domain, and the endpoint holds what it is bound to.
            domain.check("fi_ep_bind", unsafe { fi_ep_bind(raw, to, flags) })?;
        }
        // SAFETY: it is open, and bound to what it needs.
        domain.check("fi_enable", unsafe { fi_enable(raw) })
    }

    /// Its address, by which peers send to it.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) where libfabric fails, [`Error::Forked`](crate::Error::Forked) in a forked child.
    #[doc(alias = "fi_getname")]
    pub fn address(&self) -> Result<Vec<u8>> {
        const FUNCTION: &str = "fi_getname";
        let device = self.object.home.name();
        let (mut room, mut length) = (Room::new(), Room::LENGTH);
        // SAFETY: the endpoint is open, and writes no more than there is room for.
        let status = unsafe { fi_getname(self.raw()?, (&raw mut room).cast(), &raw mut length) };
        if status != 0 {
            return Err(failed(FUNCTION, device, status));
        }
        let address = room.first(length).ok_or_else(|| invalid(FUNCTION, device, format!("it has {length} bytes")))?;
        Ok(address.to_vec())
    }

    /// Sends memory to a peer.
    ///
    /// # Safety
    ///
    /// - Until the completion of this operation was read, or the endpoint is closed: the memory stays valid and is not written;
    ///   `operation` stays where it is, and is used for nothing else; the region is open.
    /// - The memory is in the region, and that of the endpoint's domain; without one, the interface does not ask for it
    ///   ([`Interface::needs_regions`]).
    /// - The peer is of the endpoint's address vector.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) where libfabric fails, [`Error::Forked`](crate::Error::Forked) in a forked child.
    ///
    /// [`Interface::needs_regions`]: super::Interface::needs_regions
    #[doc(alias = "fi_send")]
    #[inline]
    pub unsafe fn send(
        &self,
        memory: NonNull<[u8]>,
        region: Option<&MemoryRegion>,
        to: Peer,
        operation: NonNull<Operation>,
    ) -> Result<Posted> {
        let (endpoint, descriptor) = (self.raw()?, MemoryRegion::descriptor_of(region));
        let (start, length) = (memory.cast().as_ptr(), memory.len());
        // SAFETY: the endpoint is open and enabled; the caller promises the rest.
        let status = unsafe { fi_send(endpoint, start, length, descriptor, to.0, operation.as_ptr().cast()) };
        self.posted("fi_send", status)
    }

    /// Offers memory for a message of any peer.
    ///
    /// # Safety
    ///
    /// As for [`send`](Self::send), and the memory is used by nobody else meanwhile.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) where libfabric fails, [`Error::Forked`](crate::Error::Forked) in a forked child.
    #[doc(alias = "fi_recv")]
    #[inline]
    pub unsafe fn receive(
        &self,
        memory: NonNull<[u8]>,
        region: Option<&MemoryRegion>,
        operation: NonNull<Operation>,
    ) -> Result<Posted> {
        /// `FI_ADDR_UNSPEC`.
        const ANYBODY: fi_addr_t = fi_addr_t::MAX;
        let (endpoint, descriptor) = (self.raw()?, MemoryRegion::descriptor_of(region));
        let (start, length) = (memory.cast().as_ptr(), memory.len());
        // SAFETY: the endpoint is open and enabled; the caller promises the rest.
        let status = unsafe { fi_recv(endpoint, start, length, descriptor, ANYBODY, operation.as_ptr().cast()) };
        self.posted("fi_recv", status)
    }

    #[inline]
    fn posted(&self, function: &'static str, status: isize) -> Result<Posted> {
        if status == 0 { Ok(Posted::Yes) } else { self.not_posted(function, status) }
    }

    #[cold]
    fn not_posted(&self, function: &'static str, status: isize) -> Result<Posted> {
        const FULL: isize = -(FI_EAGAIN as isize);
        if status == FULL { Ok(Posted::QueueFull) } else { Err(failed(function, self.object.home.name(), status)) }
    }

    #[inline]
    fn raw(&self) -> Result<*mut fid_ep> {
        Ok(self.object.get()?.cast())
    }

    /// The `fid_ep`, to be used by others as long as this is there, and not to be closed by them.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.raw()?.cast())
    }

    /// Ends this use of the endpoint.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) where it was the last use and libfabric reports a failure,
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    pub fn close(self) -> Result<Closed> {
        Object::close(self.object)
    }
}
