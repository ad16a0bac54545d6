//! Endpoints, and the operations on them.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use nearfab_sys::fabric::{FI_EAGAIN, FI_RECV, FI_TRANSMIT, fi_addr_t, fi_context2, fid, fid_ep};
use nearfab_sys::operations::{fi_enable, fi_endpoint, fi_ep_bind, fi_getname, fi_recv, fi_send};

use super::address::AddressBuffer;
use super::{
    AddressVector, Domain, EndpointKind, FabricCompletionQueue, FabricMemoryRegion, Peer, call, failed, invalid,
};
use crate::error::Result;
use crate::live::context::object::{Closed, Object, Parent};

/// An endpoint, which sends and receives messages.
///
/// Clones are handles of one endpoint.
#[doc(alias = "fid_ep")]
#[derive(Debug, Clone)]
pub struct Endpoint {
    object: Arc<Object<fid, Domain, Dependencies>>,
}

/// The address vector, the send queue and the receive queue that an endpoint is bound to.
type Dependencies = (AddressVector, FabricCompletionQueue, FabricCompletionQueue);

/// Memory that the provider uses during an operation. The operation's completion carries the address of this memory.
#[doc(alias = "fi_context2")]
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Operation(UnsafeCell<fi_context2>);

/// Whether the endpoint accepted an operation.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Posted {
    /// The operation is in progress.
    Yes,
    /// Too many operations are in progress: read the completion queue, and try again.
    QueueFull,
}

// SAFETY: the type is plain memory for the provider, and the provider ties the memory to no thread.
unsafe impl Send for Operation {}

impl Domain {
    /// Makes an endpoint that sends to the peers in `peers`. `send` reports the finished sends of the endpoint, and
    /// `receive` reports its finished receives.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call): libfabric fails, a queue or the vector belongs to another domain, or the
    /// interface has connected endpoints, which nearfab does not support. [`Error::Forked`](crate::Error::Forked): in a
    /// forked child.
    #[doc(alias = "fi_endpoint")]
    #[doc(alias = "fi_enable")]
    pub fn endpoint(
        &self,
        peers: &AddressVector,
        send: &FabricCompletionQueue,
        receive: &FabricCompletionQueue,
    ) -> Result<Endpoint> {
        const FUNCTION: &str = "fi_endpoint";
        let (domain, info) = (self.raw()?, self.interface.info()?);
        if self.interface.endpoint == EndpointKind::Message {
            let reason = "its endpoints are connected; nearfab supports endpoints that address each message";
            return Err(call(FUNCTION, self.name(), io::Error::new(io::ErrorKind::Unsupported, reason)));
        }
        for (kind, parent) in [
            ("address vector", &peers.object.parent),
            ("completion queue", &send.object.parent),
            ("completion queue", &receive.object.parent),
        ] {
            if parent.raw()? != domain {
                return Err(invalid(
                    FUNCTION,
                    self.name(),
                    format!("the {kind} is of another domain, {}", parent.name()),
                ));
            }
        }
        let mut raw: *mut fid_ep = ptr::null_mut();
        // SAFETY: the domain is open, because this handle holds it. `info` is the entry of libfabric's list from which
        // this handle's domain was opened, and the interface keeps it alive. The function writes one pointer.
        let status = unsafe { fi_endpoint(domain, info.as_ptr(), &raw mut raw, ptr::null_mut()) };
        let dependencies = (peers.clone(), send.clone(), receive.clone());
        // SAFETY: `raw` is null, or the endpoint that libfabric made in this domain just now. The endpoint depends on
        // the domain and on `dependencies`, the objects that it is bound to below.
        let endpoint = Endpoint { object: unsafe { self.object(FUNCTION, status, raw, dependencies)? } };
        endpoint.bind_and_enable()?;
        Ok(endpoint)
    }
}

impl Endpoint {
    fn bind_and_enable(&self) -> Result<()> {
        let (raw, domain) = (self.raw()?, &self.object.parent);
        let (peers, send, receive) = &self.object.dependencies;
        for (to, flags) in
            [(peers.object.get()?, 0), (send.object.get()?, FI_TRANSMIT), (receive.object.get()?, FI_RECV)]
        {
            // SAFETY: the endpoint and `to` are open, because their handles hold them, and belong to one domain, as
            // `Domain::endpoint` checked. The endpoint's dependencies keep `to` open longer than the endpoint.
            domain.check("fi_ep_bind", unsafe { fi_ep_bind(raw, to, flags) })?;
        }
        // SAFETY: the endpoint is open, because this handle holds it, and bound to an address vector and to both
        // queues, as the function requires.
        domain.check("fi_enable", unsafe { fi_enable(raw) })
    }

    /// Returns the address by which peers send to this endpoint.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call): libfabric fails. [`Error::Forked`](crate::Error::Forked): in a forked
    /// child.
    #[doc(alias = "fi_getname")]
    pub fn address(&self) -> Result<Vec<u8>> {
        const FUNCTION: &str = "fi_getname";
        let device = self.object.parent.name();
        let (mut buffer, mut length) = (AddressBuffer::new(), AddressBuffer::LENGTH);
        // SAFETY: the endpoint is open, because this handle holds it. The function writes at most `length` bytes, the
        // size of `buffer`.
        let status = unsafe { fi_getname(self.raw()?, (&raw mut buffer).cast(), &raw mut length) };
        if status != 0 {
            return Err(failed(FUNCTION, device, status));
        }
        let too_long = || invalid(FUNCTION, device, format!("the address has {length} bytes"));
        let address = buffer.first(length).ok_or_else(too_long)?;
        Ok(address.to_vec())
    }

    /// Sends memory to a peer.
    ///
    /// # Safety
    ///
    /// - Until the completion of this operation was read, or the endpoint is closed: the memory stays valid and is not
    ///   written; `operation` is not moved and not used for another operation; the region stays open.
    /// - The memory is in the region, and the region belongs to the endpoint's domain. Without a region, the interface
    ///   needs none ([`Interface::needs_regions`]).
    /// - The peer is in the endpoint's address vector.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call): libfabric fails. [`Error::Forked`](crate::Error::Forked): in a forked
    /// child.
    ///
    /// [`Interface::needs_regions`]: super::Interface::needs_regions
    #[doc(alias = "fi_send")]
    #[inline]
    pub unsafe fn send(
        &self,
        memory: NonNull<[u8]>,
        region: Option<&FabricMemoryRegion>,
        to: Peer,
        operation: NonNull<Operation>,
    ) -> Result<Posted> {
        let (endpoint, descriptor) = (self.raw()?, FabricMemoryRegion::descriptor_of(region));
        let (start, length) = (memory.cast().as_ptr(), memory.len());
        // SAFETY: the endpoint is open and enabled, because this handle holds it. The caller promises that the memory
        // and `operation` stay valid until the completion, that `descriptor` belongs to an open region with this
        // memory, and that `to` is in the address vector.
        let status = unsafe { fi_send(endpoint, start, length, descriptor, to.0, operation.as_ptr().cast()) };
        self.posted("fi_send", status)
    }

    /// Offers memory for a message from any peer.
    ///
    /// # Safety
    ///
    /// The conditions of [`send`](Self::send) apply, except the condition about the peer. In addition, nothing reads or
    /// writes the memory until the completion was read or the endpoint is closed.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call): libfabric fails. [`Error::Forked`](crate::Error::Forked): in a forked
    /// child.
    #[doc(alias = "fi_recv")]
    #[inline]
    pub unsafe fn receive(
        &self,
        memory: NonNull<[u8]>,
        region: Option<&FabricMemoryRegion>,
        operation: NonNull<Operation>,
    ) -> Result<Posted> {
        /// `FI_ADDR_UNSPEC`.
        const ANY_PEER: fi_addr_t = fi_addr_t::MAX;
        let (endpoint, descriptor) = (self.raw()?, FabricMemoryRegion::descriptor_of(region));
        let (start, length) = (memory.cast().as_ptr(), memory.len());
        // SAFETY: the endpoint is open and enabled, because this handle holds it. The caller promises that the memory
        // and `operation` stay valid until the completion, that nothing else uses the memory until then, and that
        // `descriptor` belongs to an open region with this memory.
        let status = unsafe { fi_recv(endpoint, start, length, descriptor, ANY_PEER, operation.as_ptr().cast()) };
        self.posted("fi_recv", status)
    }

    #[inline]
    fn posted(&self, function: &'static str, status: isize) -> Result<Posted> {
        if status == 0 { Ok(Posted::Yes) } else { self.not_posted(function, status) }
    }

    #[cold]
    fn not_posted(&self, function: &'static str, status: isize) -> Result<Posted> {
        const FULL: isize = -(FI_EAGAIN as isize);
        if status == FULL { Ok(Posted::QueueFull) } else { Err(failed(function, self.object.parent.name(), status)) }
    }

    #[inline]
    fn raw(&self) -> Result<*mut fid_ep> {
        Ok(self.object.get()?.cast())
    }

    /// Returns the `fid_ep` for other code, which must not close it. The pointer is valid as long as this handle
    /// exists.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked): in a forked child.
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.raw()?.cast())
    }

    /// Closes this handle, and the endpoint if this was the last handle.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call): this was the last handle and libfabric fails to close the object.
    /// [`Error::Forked`](crate::Error::Forked): in a forked child.
    pub fn close(self) -> Result<Closed> {
        Object::close(self.object)
    }
}
