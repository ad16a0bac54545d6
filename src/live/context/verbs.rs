//! EFA interfaces through libibverbs and libefa.

use std::ffi::{c_int, c_void};
use std::net::Ipv6Addr;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::live::context::object::Home;
use crate::live::context::registry::Registry;
use crate::live::context::usage::Use;
use crate::types::Bdf;

mod attributes;
mod device;
mod event;
mod memory;
mod queue;

pub use attributes::{
    DeviceAttributes, EfaAttributes, EfaCapabilities, LinkLayer, LinkSpeed, LinkWidth, Mtu, PhysicalState,
    PortAttributes, PortState,
};
use device::Device;
pub use event::{AsyncEvent, AsyncEventKind, AsyncEventSubject};
pub use memory::{Access, MemoryRegion, ProtectionDomain};
pub use queue::{CompletionQueue, QueuePair, QueuePairKind, QueuePairOptions};

/// One for the process: an interface that has two users has one context.
static EFA: Registry<Device> = Registry::new();

/// The only port of an EFA interface, and the only entry of its GID table.
const PORT: u8 = 1;
const GID: i32 = 0;

/// An open EFA interface: one of its users.
#[doc(alias = "ibv_context")]
#[derive(Debug, Clone)]
pub struct Efa {
    usage: Use<Device>,
}

impl Efa {
    /// Opens the EFA interface at `address`, or shares it where this process has it open.
    ///
    /// The node is opened directly first, so that a refusal is reported at once and with its reason.
    ///
    /// ```
    /// use nearfab::{Error, Host, context::Efa};
    ///
    /// // A host from a table has addresses, and nothing that could be opened.
    /// let host = Host::from_instance("trn2.48xlarge")?;
    /// let error = Efa::open(&host, host.efa()[0].address()).unwrap_err();
    /// assert!(matches!(error, Error::NotLive { .. }));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::NotLive`]: the host is not this machine.
    /// - [`Error::NoSuchDevice`]: it has no such interface, or one without a driver, or the machine has changed since the
    ///   host was discovered, or libibverbs does not find it.
    /// - [`Error::NodeRefused`]: its node cannot be opened; the error says why and what to do.
    /// - [`Error::Library`], [`Error::MissingSymbol`]: libibverbs is not installed, or too old.
    /// - [`Error::Call`]: libibverbs failed to open it.
    /// - [`Error::Forked`]: this process was forked while another thread was opening or closing an interface.
    #[doc(alias = "ibv_open_device")]
    pub fn open(host: &Host, address: Bdf) -> Result<Self> {
        if !host.is_live() {
            return Err(Error::NotLive { origin: host.origin().to_string() });
        }
        let interface = host.find_efa(address)?;
        let lease = EFA.lease(address, || Device::open(interface))?;
        Ok(Self { usage: Use::Leased(lease) })
    }

    /// Uses an interface that another runtime of this process has opened. It is that runtime's to close; who opens the interface
    /// by [`Efa::open`] does not share it.
    ///
    /// # Safety
    ///
    /// `context` is an open `ibv_context`, and stays open until this and all that is made of it is dropped.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`]: the host has no interface of the context's name. [`Error::NotLive`]: the host is not this
    /// machine. [`Error::Library`], [`Error::MissingSymbol`]: libibverbs is not the one that opened it, or too old.
    #[doc(alias = "ibv_context")]
    pub unsafe fn borrow_raw(host: &Host, context: NonNull<c_void>) -> Result<Self> {
        if !host.is_live() {
            return Err(Error::NotLive { origin: host.origin().to_string() });
        }
        // SAFETY: as the caller promises.
        let (interface, device) = unsafe { Device::borrow(context.cast(), host.efa())? };
        Ok(Self { usage: Use::borrowed(interface.address(), device) })
    }

    /// The PCI address.
    #[must_use]
    pub fn address(&self) -> Bdf {
        *self.usage.key()
    }

    /// The device, in the process that opened it.
    fn device(&self) -> Result<&Device> {
        self.usage.get()
    }

    /// Whether both are uses of one context.
    fn is_same(&self, other: &Self) -> Result<bool> {
        Ok(self.device()?.context() == other.device()?.context())
    }

    /// How many users the interface has in this process, this one included. What is made on it is a user as well.
    ///
    /// # Errors
    /// [`Error::Forked`] in a forked child.
    pub fn users(&self) -> Result<usize> {
        self.usage.users()
    }

    /// Attributes and limits of the device.
    ///
    /// # Errors
    /// [`Error::Call`] where libibverbs fails, [`Error::Forked`] in a forked child.
    #[doc(alias = "ibv_query_device")]
    pub fn device_attributes(&self) -> Result<DeviceAttributes> {
        Ok(DeviceAttributes::from_raw(&self.device()?.query_device()?))
    }

    /// Attributes of the port: an EFA interface has one.
    ///
    /// # Errors
    /// [`Error::Call`] where libibverbs fails, [`Error::Forked`] in a forked child.
    #[doc(alias = "ibv_query_port")]
    pub fn port_attributes(&self) -> Result<PortAttributes> {
        Ok(PortAttributes::from_raw(&self.device()?.query_port(PORT)?))
    }

    /// Attributes and limits that only an EFA interface has.
    ///
    /// # Errors
    /// [`Error::Library`], [`Error::MissingSymbol`] where libefa is not installed or too old, [`Error::Call`] where it
    /// fails, [`Error::Forked`] in a forked child.
    #[doc(alias = "efadv_query_device")]
    pub fn efa_attributes(&self) -> Result<EfaAttributes> {
        Ok(EfaAttributes::from_raw(&self.device()?.query_efa()?))
    }

    /// The port's GID, which peers address it by: a link-local IPv6 address made from its hardware address.
    ///
    /// # Errors
    /// [`Error::Call`] where libibverbs fails, [`Error::Forked`] in a forked child.
    #[doc(alias = "ibv_query_gid")]
    pub fn gid(&self) -> Result<Ipv6Addr> {
        self.device()?.query_gid(PORT, GID)
    }

    /// A new protection domain on it.
    ///
    /// # Errors
    /// [`Error::Call`] where libibverbs fails, [`Error::Forked`] in a forked child.
    #[doc(alias = "ibv_alloc_pd")]
    pub fn protection_domain(&self) -> Result<ProtectionDomain> {
        ProtectionDomain::new(self)
    }

    /// A new completion queue on it, for at least so many completions.
    ///
    /// # Errors
    /// [`Error::Call`] where libibverbs fails, [`Error::Forked`] in a forked child.
    #[doc(alias = "ibv_create_cq")]
    pub fn completion_queue(&self, entries: u32) -> Result<CompletionQueue> {
        CompletionQueue::new(self, entries)
    }

    /// The next asynchronous event, if there is one; it is acknowledged, so that nothing that is closed waits for it.
    ///
    /// Any number of threads may ask. Who else reads events of the context, having borrowed it or lent it, can take away the one
    /// that is seen here, and then this waits for the next: let one side read them.
    ///
    /// # Errors
    /// [`Error::Call`] where libibverbs fails, [`Error::Forked`] in a forked child.
    #[doc(alias = "ibv_get_async_event")]
    pub fn next_event(&self) -> Result<Option<AsyncEvent>> {
        self.device()?.next_event()
    }

    /// Readable when there is an asynchronous event: to be waited for together with others.
    ///
    /// # Errors
    /// [`Error::Forked`] in a forked child.
    pub fn event_fd(&self) -> Result<BorrowedFd<'_>> {
        Ok(self.device()?.async_fd())
    }

    /// The `ibv_context`, to be used by others as long as this is there, and not to be closed by them.
    ///
    /// # Errors
    /// [`Error::Forked`] in a forked child.
    #[doc(alias = "ibv_context")]
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.device()?.context().as_ptr().cast())
    }

    /// Ends this use, and tells how many other users the interface has in this process; at none, it has been closed.
    ///
    /// Dropping does the same, and logs what goes wrong.
    ///
    /// # Errors
    /// [`Error::Call`] where it was the last use and libibverbs reports a failure: the interface counts as closed all the
    /// same. [`Error::Forked`] in a forked child.
    #[doc(alias = "ibv_close_device")]
    pub fn close(self) -> Result<usize> {
        self.usage.close()
    }
}

impl Home for Efa {
    fn check(&self, function: &'static str, status: c_int) -> Result<()> {
        self.device()?.check(function, status)
    }
}
