//! An EFA interface opened through libibverbs: the calls, and nothing else.

use std::ffi::{CStr, c_int};
use std::fs::File;
use std::io;
use std::mem::size_of;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::ptr;
use std::ptr::NonNull;
use std::slice;
use std::sync::{Mutex, PoisonError};

use nearfab_sys::verbs::{efadv_device_attr, ibv_async_event, ibv_device_attr, ibv_gid, ibv_port_attr};
use nearfab_sys::{Verbs, ibv_context, ibv_cq, ibv_device, ibv_pd};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::event::AsyncEvent;
use crate::error::{Error, Result};
use crate::live::context::registry::Shared;
use crate::live::vendor;
use crate::scan::efa::{self, EfaInterface};
use crate::scan::root::HostRoot;
use crate::types::Bdf;

/// An `ibv_context` that nearfab opened.
#[derive(Debug)]
pub(super) struct Device {
    verbs: &'static Verbs,
    /// Open until [`Shared::close`], which the registry calls when no user is left.
    context: NonNull<ibv_context>,
    /// For messages.
    name: String,
    /// One thread at a time takes an event: a second one would wait for the next.
    events: Mutex<()>,
}

// SAFETY: libibverbs lets any thread use a context at any time; `context` is never changed.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

impl Device {
    /// Opens an interface of the live machine.
    pub(super) fn open(interface: &EfaInterface) -> Result<Self> {
        let address = interface.address();
        let (Some(rdma), Some(node)) = (&interface.rdma, interface.node()) else {
            let driver = interface.function.driver.as_deref();
            return Err(Error::NoSuchDevice {
                wanted: format!("verbs device of EFA interface {address}"),
                present: match driver {
                    Some(driver) => format!("only its PCI function, bound to {driver}: is ib_uverbs loaded?"),
                    None => "only its PCI function, without a driver: is efa loaded?".to_owned(),
                },
            });
        };
        let machine = HostRoot::open(Path::new("/"))?;
        // First, or the reason for a refusal would be that of another interface's node.
        check_as_seen(&machine, interface)?;
        // libibverbs would wait five seconds for a node that is there and refuses, and then say that it is not there.
        try_node(Path::new(&node))?;
        let verbs = vendor::verbs()?;
        let name = format!("{rdma} ({address})");
        let list = DeviceList::get(verbs, &name)?;
        let device = list.find(rdma)?;
        // And again: what the list has under this name is the interface if the name was its own before and after.
        check_as_seen(&machine, interface)?;
        // SAFETY: the device is of a list that was not given back yet.
        let context = unsafe { (verbs.ibv_open_device)(device) };
        // Errno says something on failure only: after success it may be anything.
        match NonNull::new(context) {
            Some(context) => Ok(Self { verbs, context, name, events: Mutex::default() }),
            None => Err(failed("ibv_open_device", &name, io::Error::last_os_error())),
        }
    }

    /// One that another runtime opened, and the interface that it is.
    ///
    /// # Safety
    ///
    /// The context is open, and stays so as long as the device is used. It is not closed by it.
    pub(super) unsafe fn borrow(
        context: NonNull<ibv_context>,
        interfaces: &[EfaInterface],
    ) -> Result<(&EfaInterface, Self)> {
        let verbs = vendor::verbs()?;
        // SAFETY: the context is open.
        let device = unsafe { (*context.as_ptr()).device };
        // SAFETY: the device lives as long as its context.
        let name = unsafe { name_of(verbs, device) }.to_string_lossy();
        let interface = interfaces.iter().find(|interface| interface.rdma.as_deref() == Some(&*name));
        let interface = interface.ok_or_else(|| {
            let names: Vec<&str> = interfaces.iter().filter_map(|interface| interface.rdma.as_deref()).collect();
            Error::NoSuchDevice { wanted: format!("EFA interface with the name {name}"), present: names.join(", ") }
        })?;
        let name = format!("{name} ({})", interface.address());
        Ok((interface, Self { verbs, context, name, events: Mutex::default() }))
    }

    /// Its name for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn context(&self) -> NonNull<ibv_context> {
        self.context
    }

    pub(super) fn query_device(&self) -> Result<ibv_device_attr> {
        let mut attributes = ibv_device_attr::default();
        // SAFETY: the context is open, and the structure is one that the function fills.
        let status = unsafe { (self.verbs.ibv_query_device)(self.context.as_ptr(), &raw mut attributes) };
        self.check("ibv_query_device", status)?;
        Ok(attributes)
    }

    pub(super) fn query_port(&self, port: u8) -> Result<ibv_port_attr> {
        let mut attributes = ibv_port_attr::default();
        // SAFETY: the context is open.
        let status = match unsafe { ibv_context::query_port(self.context.as_ptr()) } {
            Some(query) => {
                let length = size_of::<ibv_port_attr>();
                // SAFETY: the operation is this context's, and fills no more of the structure than the length says.
                unsafe { query(self.context.as_ptr(), port, &raw mut attributes, length) }
            }
            None => {
                let old_part = (&raw mut attributes).cast();
                // SAFETY: the function, which is older, fills the beginning of the structure. The rest stays zero.
                unsafe { (self.verbs.ibv_query_port)(self.context.as_ptr(), port, old_part) }
            }
        };
        self.check("ibv_query_port", status)?;
        Ok(attributes)
    }

    pub(super) fn query_gid(&self, port: u8, index: c_int) -> Result<Ipv6Addr> {
        let mut gid = ibv_gid::default();
        // SAFETY: the context is open, and the union is one that the function fills.
        let status = unsafe { (self.verbs.ibv_query_gid)(self.context.as_ptr(), port, index, &raw mut gid) };
        self.check("ibv_query_gid", status)?;
        // SAFETY: all 16 bytes were zero before they were filled, and any byte is a byte.
        Ok(Ipv6Addr::from(unsafe { gid.raw }))
    }

    pub(super) fn query_efa(&self) -> Result<efadv_device_attr> {
        const LENGTH: u32 = {
            assert!(size_of::<efadv_device_attr>() == 32);
            32
        };
        let efadv = vendor::efadv()?;
        let mut attributes = efadv_device_attr::default();
        // SAFETY: the context is open, and the function fills no more of the structure than the length says.
        let status = unsafe { (efadv.efadv_query_device)(self.context.as_ptr(), &raw mut attributes, LENGTH) };
        self.check("efadv_query_device", status)?;
        Ok(attributes)
    }

    pub(super) fn alloc_pd(&self) -> Result<NonNull<ibv_pd>> {
        // SAFETY: the context is open.
        let domain = unsafe { (self.verbs.ibv_alloc_pd)(self.context.as_ptr()) };
        NonNull::new(domain).ok_or_else(|| failed("ibv_alloc_pd", &self.name, io::Error::last_os_error()))
    }

    /// Without a channel: completions are polled for.
    pub(super) fn create_cq(&self, entries: u32) -> Result<NonNull<ibv_cq>> {
        let failed = |error| failed("ibv_create_cq", &self.name, error);
        let entries = c_int::try_from(entries).map_err(|e| failed(io::Error::new(io::ErrorKind::InvalidInput, e)))?;
        let (context, null) = (self.context.as_ptr(), ptr::null_mut());
        // SAFETY: the context is open.
        let queue = unsafe { (self.verbs.ibv_create_cq)(context, entries, null, ptr::null_mut(), 0) };
        NonNull::new(queue).ok_or_else(|| failed(io::Error::last_os_error()))
    }

    /// Readable when there is an event.
    pub(super) fn async_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the context is open.
        let fd = unsafe { (*self.context.as_ptr()).async_fd };
        // SAFETY: the descriptor is the open context's.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }

    /// The next event, acknowledged, if there is one.
    pub(super) fn next_event(&self) -> Result<Option<AsyncEvent>> {
        let _alone = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |function, error| failed(function, &self.name, error);
        let fd = self.async_fd();
        let ready = poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO);
        if ready.map_err(|errno| failed("poll", errno.into()))? == 0 {
            return Ok(None);
        }
        let mut event = ibv_async_event::default();
        // SAFETY: the context is open, and the structure is one that the function fills.
        let status = unsafe { (self.verbs.ibv_get_async_event)(self.context.as_ptr(), &raw mut event) };
        match (status, io::Error::last_os_error()) {
            (0, _) => {}
            (_, error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None), // Somebody else took it.
            (_, error) => return Err(failed("ibv_get_async_event", error)),
        }
        // SAFETY: it was given just now, and is acknowledged below.
        let seen = unsafe { AsyncEvent::from_raw(&event) };
        // SAFETY: once, and for an event of this context.
        unsafe { (self.verbs.ibv_ack_async_event)(&raw mut event) };
        Ok(Some(seen))
    }

    /// Some functions return errno, some -1 and set it.
    pub(super) fn check(&self, function: &'static str, status: c_int) -> Result<()> {
        match status {
            0 => Ok(()),
            -1 => Err(failed(function, &self.name, io::Error::last_os_error())),
            errno => Err(failed(function, &self.name, io::Error::from_raw_os_error(errno.abs()))),
        }
    }
}

impl Shared for Device {
    type Key = Bdf;

    unsafe fn close(&self) -> Result<()> {
        // SAFETY: the context is open, and as our caller promises, nothing uses it from here on.
        let status = unsafe { (self.verbs.ibv_close_device)(self.context.as_ptr()) };
        self.check("ibv_close_device", status)
    }
}

/// The devices that libibverbs finds, in its list.
struct DeviceList {
    verbs: &'static Verbs,
    first: NonNull<*mut ibv_device>,
    count: usize,
}

impl DeviceList {
    fn get(verbs: &'static Verbs, wanted: &str) -> Result<Self> {
        let mut count = 0;
        // SAFETY: the function writes the number and nothing else of ours.
        let first = unsafe { (verbs.ibv_get_device_list)(&raw mut count) };
        if let Some(first) = NonNull::new(first) {
            return Ok(Self { verbs, first, count: usize::try_from(count).unwrap_or_default() });
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ENOSYS) {
            return Err(Error::NoSuchDevice {
                wanted: format!("{wanted} for libibverbs"),
                present: "no RDMA subsystem in its kernel: is ib_uverbs loaded?".to_owned(),
            });
        }
        Err(failed("ibv_get_device_list", wanted, error))
    }

    fn find(&self, rdma: &str) -> Result<*mut ibv_device> {
        let named = |device: &&*mut ibv_device| self.name(**device).to_bytes() == rdma.as_bytes();
        self.devices().iter().find(named).copied().ok_or_else(|| {
            let names: Vec<_> = self.devices().iter().map(|device| self.name(*device).to_string_lossy()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Error::NoSuchDevice {
                wanted: format!("{rdma} for libibverbs"),
                present: format!(
                    "{names}: if interfaces are missing, its provider libefa is (package ibverbs-providers on Debian and \
                     Ubuntu); if they have other names, they were renamed: discover again"
                ),
            }
        })
    }

    fn devices(&self) -> &[*mut ibv_device] {
        // SAFETY: the library said that there are so many pointers, and they stay until the list is given back.
        unsafe { slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }

    fn name(&self, device: *mut ibv_device) -> &CStr {
        // SAFETY: the device is of this list.
        unsafe { name_of(self.verbs, device) }
    }
}

/// The kernel's name of a device.
///
/// # Safety
///
/// The library's device lives as long as the name is used.
unsafe fn name_of<'a>(verbs: &Verbs, device: *mut ibv_device) -> &'a CStr {
    // SAFETY: as the caller promises.
    let name = unsafe { (verbs.ibv_get_device_name)(device) };
    // SAFETY: the name is a part of the device, ends with a zero byte, and lives as long as it.
    unsafe { CStr::from_ptr(name) }
}

impl Drop for DeviceList {
    fn drop(&mut self) {
        // SAFETY: it is the list that the library gave, and nothing uses it any more. An open device stays.
        unsafe { (self.verbs.ibv_free_device_list)(self.first.as_ptr()) };
    }
}

pub(super) fn failed(function: &'static str, device: &str, source: io::Error) -> Error {
    Error::Call { function, device: device.to_owned(), source }
}

/// Names and numbers were looked up when the host was discovered. Behind those of another day may be another interface.
fn check_as_seen(machine: &HostRoot, interface: &EfaInterface) -> Result<()> {
    if efa::is_as_seen(machine, interface)? {
        return Ok(());
    }
    let name = interface.rdma.as_deref().unwrap_or_default();
    let node = interface.node().unwrap_or_default();
    Err(Error::NoSuchDevice {
        wanted: format!("EFA interface {} with the name {name} and the node {node}", interface.address()),
        present: "changed since it was looked at: discover again".to_owned(),
    })
}

/// Opens the node as libibverbs is going to, and closes it again.
fn try_node(node: &Path) -> Result<()> {
    let opened = File::options().read(true).write(true).open(node);
    opened.map(drop).map_err(|source| Error::NodeRefused { path: node.to_owned(), hint: hint(&source), source })
}

fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EACCES) => "this user may not read and write it (udev's rules of rdma-core make it 0666)",
        Some(libc::EPERM) => "the rules of this container forbid it: the interface was not given to it",
        Some(libc::ENOENT) => {
            "there is no such node here: the interface was not given to this container, or udev did not run"
        }
        Some(libc::ENXIO | libc::ENODEV) => {
            "no driver stands behind the node: the interface was removed, or its driver was"
        }
        _ => "the system refuses it",
    }
}
