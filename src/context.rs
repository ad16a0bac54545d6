//! Opening devices, and sharing what is open.
//!
//! A [`Host`] only looks. What is here opens device nodes of the live machine, through vendor libraries that
//! are loaded when the first device is opened.
//!
//! Each EFA interface is opened once in a process, however many users it has: the first [`Efa::open`] opens it, the others
//! and [`Efa::clone`] share it, and it is closed when the last of them is gone. In a forked child a handle of the parent
//! is of no use and does no harm: its calls return [`Error::Forked`], and dropping it touches nothing. The child can open
//! the interface for itself.

use std::net::Ipv6Addr;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::pci::Bdf;

mod attributes;
mod device;
mod process;
mod registry;

pub use attributes::{
    DeviceAttributes, EfaAttributes, EfaCapabilities, LinkLayer, LinkSpeed, LinkWidth, Mtu, PhysicalState,
    PortAttributes, PortState,
};
use device::Device;
#[doc(hidden)]
pub use process::{Owned, PerProcess};
use registry::{Lease, Registry};

/// One for the process: an interface that has two users has one context.
static EFA: Registry<Device> = Registry::new();

/// The only port of an EFA interface, and the only entry of its GID table.
const PORT: u8 = 1;
const GID: i32 = 0;

/// An open EFA interface: one of its users.
#[doc(alias = "ibv_context")]
#[derive(Debug, Clone)]
pub struct Efa {
    lease: Lease<Device>,
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
        Ok(Self { lease })
    }

    /// The PCI address.
    #[must_use]
    pub fn address(&self) -> Bdf {
        self.lease.address()
    }

    /// How many users the interface has in this process, this one included.
    ///
    /// # Errors
    /// [`Error::Forked`] in a forked child.
    pub fn users(&self) -> Result<usize> {
        self.lease.users()
    }

    /// Attributes and limits of the device.
    ///
    /// # Errors
    /// [`Error::Call`] where libibverbs fails, [`Error::Forked`] in a forked child.
    #[doc(alias = "ibv_query_device")]
    pub fn device_attributes(&self) -> Result<DeviceAttributes> {
        Ok(DeviceAttributes::from_raw(&self.lease.shared()?.query_device()?))
    }

    /// Attributes of the port: an EFA interface has one.
    ///
    /// # Errors
    /// [`Error::Call`] where libibverbs fails, [`Error::Forked`] in a forked child.
    #[doc(alias = "ibv_query_port")]
    pub fn port_attributes(&self) -> Result<PortAttributes> {
        Ok(PortAttributes::from_raw(&self.lease.shared()?.query_port(PORT)?))
    }

    /// Attributes and limits that only an EFA interface has.
    ///
    /// # Errors
    /// [`Error::Library`], [`Error::MissingSymbol`] where libefa is not installed or too old, [`Error::Call`] where it
    /// fails, [`Error::Forked`] in a forked child.
    #[doc(alias = "efadv_query_device")]
    pub fn efa_attributes(&self) -> Result<EfaAttributes> {
        Ok(EfaAttributes::from_raw(&self.lease.shared()?.query_efa()?))
    }

    /// The port's GID, which peers address it by: a link-local IPv6 address made from its hardware address.
    ///
    /// # Errors
    /// [`Error::Call`] where libibverbs fails, [`Error::Forked`] in a forked child.
    #[doc(alias = "ibv_query_gid")]
    pub fn gid(&self) -> Result<Ipv6Addr> {
        self.lease.shared()?.query_gid(PORT, GID)
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
        self.lease.give_back()
    }
}
