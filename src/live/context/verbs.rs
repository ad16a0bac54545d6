//! Opens EFA interfaces through libibverbs and libefa.

use std::ffi::{c_int, c_void};
use std::net::Ipv6Addr;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::live::context::handle::Handle;
use crate::live::context::object::{Closed, Parent};
use crate::live::context::registry::Registry;
use crate::types::Bdf;

mod attributes;
mod device;
mod event;
mod memory;
mod queue;

pub use attributes::{
    DeviceAttributes, EfaAttributes, EfaCapabilities, LinkLayer, Mtu, PhysicalState, PortAttributes, PortSpeed,
    PortWidth,
};
use device::Device;
pub use event::{AsyncEvent, AsyncEventKind, AsyncEventSubject};
pub use memory::{Access, MemoryRegion, ProtectionDomain};
pub use queue::{CompletionQueue, QueuePair, QueuePairKind, QueuePairOptions};

/// The open interfaces of this process. All handles of an interface share one context.
static EFA: Registry<Device> = Registry::new();

/// The only port of an EFA interface, and the only entry of its GID table.
const PORT: u8 = 1;
const GID: i32 = 0;

/// A handle of an open EFA interface. Clones are further handles of the same interface.
#[doc(alias = "ibv_context")]
#[derive(Debug, Clone)]
pub struct Efa {
    handle: Handle<Device>,
}

impl Efa {
    /// Opens the EFA interface at `address`, or shares it if this process has it open.
    ///
    /// nearfab opens the device node directly first, to report a refusal at once and with its reason.
    ///
    /// ```
    /// use nearfab::{Error, Host, context::Efa};
    ///
    /// // A host from a table has addresses, but no device to open.
    /// let host = Host::from_instance("trn2.48xlarge")?;
    /// let error = Efa::open(&host, host.efa_interfaces()[0].address()).unwrap_err();
    /// assert!(matches!(error, Error::NotLive { .. }));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::NotLive`]: the host is not this machine.
    /// - [`Error::NoSuchDevice`]: the host has no interface at this address, the interface has no driver, the machine
    ///   has changed since the host was discovered, or libibverbs does not list the interface.
    /// - [`Error::NodeRefused`]: the device node cannot be opened; the error says why and what to do.
    /// - [`Error::Library`], [`Error::MissingSymbol`]: libibverbs is not installed, or too old.
    /// - [`Error::Call`]: libibverbs fails to open the interface.
    /// - [`Error::Forked`]: this process was forked while another thread was opening or closing an interface.
    #[doc(alias = "ibv_open_device")]
    pub fn open(host: &Host, address: Bdf) -> Result<Self> {
        if !host.is_live() {
            return Err(Error::NotLive { origin: host.origin().to_string() });
        }
        let interface = host.find_efa(address)?;
        let lease = EFA.lease(address, || Device::open(interface))?;
        Ok(Self { handle: Handle::Leased(lease) })
    }

    /// Makes a handle of an interface that another runtime of this process opened. nearfab does not close the
    /// interface, and [`Efa::open`] does not share it.
    ///
    /// # Safety
    ///
    /// `context` is an `ibv_context` that the libibverbs of this process opened ([`vendor::all`](crate::vendor::all)
    /// reports the library's file). The context stays open until this handle, its clones, and all objects made on them
    /// are dropped.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`]: the host has no interface with the context's name. [`Error::NotLive`]: the host is not
    /// this machine. [`Error::Library`], [`Error::SeveralLibraries`], [`Error::MissingSymbol`]: libibverbs cannot be
    /// loaded, is loaded more than once, or is too old.
    #[doc(alias = "ibv_context")]
    pub unsafe fn borrow_raw(host: &Host, context: NonNull<c_void>) -> Result<Self> {
        if !host.is_live() {
            return Err(Error::NotLive { origin: host.origin().to_string() });
        }
        // SAFETY: the caller promises that the context is open, is of this process's libibverbs, and outlives the
        // handle.
        let (interface, device) = unsafe { Device::borrow(context.cast(), host.efa_interfaces())? };
        Ok(Self { handle: Handle::borrowed(interface.address(), device) })
    }

    /// Returns the PCI address.
    #[must_use]
    pub fn address(&self) -> Bdf {
        *self.handle.key()
    }

    /// Returns the device. Fails outside the process that opened the device.
    fn device(&self) -> Result<&Device> {
        self.handle.get()
    }

    /// Returns whether both handles share one context.
    fn is_same(&self, other: &Self) -> Result<bool> {
        Ok(self.device()?.context() == other.device()?.context())
    }

    /// Returns the number of users that the interface has in this process, this handle included. Each handle and each
    /// object made on the interface is a user.
    ///
    /// # Errors
    /// [`Error::Forked`]: in a forked child.
    pub fn users(&self) -> Result<usize> {
        self.handle.users()
    }

    /// Queries the attributes and limits of the device.
    ///
    /// # Errors
    /// [`Error::Call`]: libibverbs fails. [`Error::Forked`]: in a forked child.
    #[doc(alias = "ibv_query_device")]
    pub fn device_attributes(&self) -> Result<DeviceAttributes> {
        Ok(DeviceAttributes::from_raw(&self.device()?.query_device()?))
    }

    /// Queries the attributes of the port. An EFA interface has one port.
    ///
    /// # Errors
    /// [`Error::Call`]: libibverbs fails. [`Error::Forked`]: in a forked child.
    #[doc(alias = "ibv_query_port")]
    pub fn port_attributes(&self) -> Result<PortAttributes> {
        Ok(PortAttributes::from_raw(&self.device()?.query_port(PORT)?))
    }

    /// Queries the attributes and limits that only EFA interfaces have.
    ///
    /// # Errors
    /// [`Error::Library`], [`Error::MissingSymbol`]: libefa is not installed, or too old. [`Error::Call`]: libefa
    /// fails. [`Error::Forked`]: in a forked child.
    #[doc(alias = "efadv_query_device")]
    pub fn efa_attributes(&self) -> Result<EfaAttributes> {
        Ok(EfaAttributes::from_raw(&self.device()?.query_efa()?))
    }

    /// Returns the port's GID, by which peers address it: a link-local IPv6 address made from the hardware address.
    ///
    /// # Errors
    /// [`Error::Call`]: libibverbs fails. [`Error::Forked`]: in a forked child.
    #[doc(alias = "ibv_query_gid")]
    pub fn gid(&self) -> Result<Ipv6Addr> {
        self.device()?.query_gid(PORT, GID)
    }

    /// Makes a protection domain.
    ///
    /// # Errors
    /// [`Error::Call`]: libibverbs fails. [`Error::Forked`]: in a forked child.
    #[doc(alias = "ibv_alloc_pd")]
    pub fn protection_domain(&self) -> Result<ProtectionDomain> {
        ProtectionDomain::new(self)
    }

    /// Makes a completion queue with room for at least `entries` completions.
    ///
    /// # Errors
    /// [`Error::Call`]: libibverbs fails. [`Error::Forked`]: in a forked child.
    #[doc(alias = "ibv_create_cq")]
    pub fn completion_queue(&self, entries: u32) -> Result<CompletionQueue> {
        CompletionQueue::new(self, entries)
    }

    /// Takes the next asynchronous event, if one is pending. The event is acknowledged, so destroying an object never
    /// waits for it.
    ///
    /// Any thread may call this function. If other code reads events of the same context (a runtime that lent or
    /// borrowed it), that code can take the event that this call has seen. This call then waits for the next event. Let
    /// only one side read the events.
    ///
    /// # Errors
    /// [`Error::Call`]: libibverbs fails. [`Error::Forked`]: in a forked child.
    #[doc(alias = "ibv_get_async_event")]
    pub fn next_event(&self) -> Result<Option<AsyncEvent>> {
        self.device()?.next_event()
    }

    /// Returns the descriptor that is readable while an asynchronous event is pending, for `poll` or `epoll`.
    ///
    /// # Errors
    /// [`Error::Forked`]: in a forked child.
    pub fn event_fd(&self) -> Result<BorrowedFd<'_>> {
        Ok(self.device()?.async_fd())
    }

    /// Returns the `ibv_context` for other code, which must not close it. The pointer is valid as long as this handle
    /// exists.
    ///
    /// # Errors
    /// [`Error::Forked`]: in a forked child.
    #[doc(alias = "ibv_context")]
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.device()?.context().as_ptr().cast())
    }

    /// Closes this handle, and the interface if this was its last user.
    ///
    /// Dropping the handle does the same, and logs a failure.
    ///
    /// # Errors
    /// [`Error::Call`]: this was the last user and libibverbs fails to close the interface. The interface counts as
    /// closed nevertheless. [`Error::Forked`]: in a forked child.
    #[doc(alias = "ibv_close_device")]
    pub fn close(self) -> Result<Closed> {
        self.handle.close()
    }
}

impl Parent for Efa {
    fn check(&self, function: &'static str, status: c_int) -> Result<()> {
        self.device()?.check(function, status)
    }
}
