//! The calls of libibverbs and libefa on an open EFA interface.

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

/// An open `ibv_context`, which nearfab opened or another runtime lent.
#[derive(Debug)]
pub(super) struct Device {
    verbs: &'static Verbs,
    /// The context, open until [`Shared::close`]. The registry calls `close` when no user is left.
    context: NonNull<ibv_context>,
    /// The interface's name in messages.
    name: String,
    /// Held while a thread takes an event: a second thread would wait for the next event.
    events: Mutex<()>,
}

// SAFETY: libibverbs ties no state of a context to the thread that opened it; any thread may use and close it.
// `context` never changes.
unsafe impl Send for Device {}
// SAFETY: libibverbs is thread-safe by its documentation: any threads may call its functions on one context at the same
// time. `context` never changes.
unsafe impl Sync for Device {}

impl Device {
    /// Opens an EFA interface of the live machine.
    pub(super) fn open(interface: &EfaInterface) -> Result<Self> {
        let address = interface.address();
        let (Some(rdma), Some(node)) = (&interface.rdma, interface.node()) else {
            let driver = interface.function.driver.as_deref();
            return Err(Error::NoSuchDevice {
                wanted: format!("RDMA device of EFA interface {address}"),
                present: match driver {
                    Some(driver) => format!("only the PCI function, bound to {driver}: load the module ib_uverbs"),
                    None => "only the PCI function, without a driver: load the module efa".to_owned(),
                },
            });
        };
        let machine = HostRoot::open(Path::new("/"))?;
        // This check comes before the node is opened: the path could lead to the node of another interface by now.
        check_unchanged(&machine, interface)?;
        // libibverbs waits five seconds for a node that cannot be opened, and then reports the node as missing.
        try_node(Path::new(&node))?;
        let verbs = vendor::verbs()?;
        let name = format!("{rdma} ({address})");
        let list = DeviceList::get(verbs, &name)?;
        let device = list.find(rdma)?;
        // The check is repeated after the lookup: if the name belonged to the interface before and after the lookup,
        // the device in the list is the interface.
        check_unchanged(&machine, interface)?;
        // SAFETY: `device` is an entry of `list`, which is freed at the end of this function. An open context keeps its
        // device.
        let context = unsafe { (verbs.ibv_open_device)(device) };
        // errno is valid after a failure only.
        match NonNull::new(context) {
            Some(context) => Ok(Self { verbs, context, name, events: Mutex::default() }),
            None => Err(failed("ibv_open_device", &name, io::Error::last_os_error())),
        }
    }

    /// Makes a device of a context that another runtime opened, and finds the EFA interface that the context belongs
    /// to.
    ///
    /// # Safety
    ///
    /// The context is open, is of this process's libibverbs, and stays open as long as the device is used.
    pub(super) unsafe fn borrow(
        context: NonNull<ibv_context>,
        interfaces: &[EfaInterface],
    ) -> Result<(&EfaInterface, Self)> {
        let verbs = vendor::verbs()?;
        // SAFETY: the caller promises an open context, so the pointer is valid. libibverbs sets `device` before it
        // returns the context, and never changes it.
        let device = unsafe { (*context.as_ptr()).device };
        // SAFETY: `device` is the device of an open context, which keeps it alive until it is closed. The name is
        // copied below, before the context is closed.
        let name = unsafe { name_of(verbs, device) }.to_string_lossy();
        let interface = interfaces.iter().find(|interface| interface.rdma.as_deref() == Some(&*name));
        let interface = interface.ok_or_else(|| {
            let names: Vec<&str> = interfaces.iter().filter_map(|interface| interface.rdma.as_deref()).collect();
            Error::NoSuchDevice {
                wanted: format!("EFA interface with the RDMA device {name}"),
                present: list_of(&names),
            }
        })?;
        let name = format!("{name} ({})", interface.address());
        Ok((interface, Self { verbs, context, name, events: Mutex::default() }))
    }

    /// Returns the interface's name in messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn context(&self) -> NonNull<ibv_context> {
        self.context
    }

    pub(super) fn query_device(&self) -> Result<ibv_device_attr> {
        let mut attributes = ibv_device_attr::default();
        // SAFETY: the context is open as long as this device exists. The function writes one `ibv_device_attr`.
        let status = unsafe { (self.verbs.ibv_query_device)(self.context.as_ptr(), &raw mut attributes) };
        self.check("ibv_query_device", status)?;
        Ok(attributes)
    }

    pub(super) fn query_port(&self, port: u8) -> Result<ibv_port_attr> {
        let mut attributes = ibv_port_attr::default();
        // SAFETY: the context is open as long as this device exists. The contexts of its libibverbs have this
        // operations table.
        let status = match unsafe { ibv_context::query_port(self.context.as_ptr()) } {
            Some(query) => {
                let length = size_of::<ibv_port_attr>();
                // SAFETY: the operation belongs to this open context. The operation writes at most `length` bytes, the
                // structure's size.
                unsafe { query(self.context.as_ptr(), port, &raw mut attributes, length) }
            }
            None => {
                let old_part = (&raw mut attributes).cast();
                // SAFETY: the context is open. This older function writes the older structure, which is the beginning
                // of `ibv_port_attr`. The rest of `attributes` stays zero, as it was initialized.
                unsafe { (self.verbs.ibv_query_port)(self.context.as_ptr(), port, old_part) }
            }
        };
        self.check("ibv_query_port", status)?;
        Ok(attributes)
    }

    pub(super) fn query_gid(&self, port: u8, index: c_int) -> Result<Ipv6Addr> {
        let mut gid = ibv_gid::default();
        // SAFETY: the context is open as long as this device exists. The function writes one `ibv_gid`.
        let status = unsafe { (self.verbs.ibv_query_gid)(self.context.as_ptr(), port, index, &raw mut gid) };
        self.check("ibv_query_gid", status)?;
        // SAFETY: the union's 16 bytes were initialized with zero before the call, and each value of a byte is valid
        // for `raw`.
        Ok(Ipv6Addr::from(unsafe { gid.raw }))
    }

    pub(super) fn query_efa(&self) -> Result<efadv_device_attr> {
        const LENGTH: u32 = {
            assert!(size_of::<efadv_device_attr>() == 32);
            32
        };
        let efadv = vendor::efadv()?;
        let mut attributes = efadv_device_attr::default();
        // SAFETY: the context is open as long as this device exists. The function writes at most `LENGTH` bytes, the
        // structure's size. For a context that does not belong to an EFA interface, the function fails and writes
        // nothing.
        let status = unsafe { (efadv.efadv_query_device)(self.context.as_ptr(), &raw mut attributes, LENGTH) };
        self.check("efadv_query_device", status)?;
        Ok(attributes)
    }

    pub(super) fn alloc_pd(&self) -> Result<NonNull<ibv_pd>> {
        // SAFETY: the context is open as long as this device exists.
        let domain = unsafe { (self.verbs.ibv_alloc_pd)(self.context.as_ptr()) };
        NonNull::new(domain).ok_or_else(|| failed("ibv_alloc_pd", &self.name, io::Error::last_os_error()))
    }

    /// Makes a completion queue without a completion channel: its users poll the queue.
    pub(super) fn create_cq(&self, entries: u32) -> Result<NonNull<ibv_cq>> {
        let failed = |error| failed("ibv_create_cq", &self.name, error);
        let entries = c_int::try_from(entries).map_err(|e| failed(io::Error::new(io::ErrorKind::InvalidInput, e)))?;
        let (context, null) = (self.context.as_ptr(), ptr::null_mut());
        // SAFETY: the context is open as long as this device exists. A null channel and a null user pointer are
        // allowed.
        let queue = unsafe { (self.verbs.ibv_create_cq)(context, entries, null, ptr::null_mut(), 0) };
        NonNull::new(queue).ok_or_else(|| failed(io::Error::last_os_error()))
    }

    /// Returns the descriptor that is readable while an event is pending.
    pub(super) fn async_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the context is open as long as this device exists, so the pointer is valid. `async_fd` never changes.
        let fd = unsafe { (*self.context.as_ptr()).async_fd };
        // SAFETY: the context owns the descriptor and keeps it open until it is closed. The result borrows `self`, so
        // it ends before the context is closed.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }

    /// Takes and acknowledges the next event, if one is pending.
    pub(super) fn next_event(&self) -> Result<Option<AsyncEvent>> {
        let _one_thread = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |function, error| failed(function, &self.name, error);
        let fd = self.async_fd();
        let ready = poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO);
        if ready.map_err(|errno| failed("poll", errno.into()))? == 0 {
            return Ok(None);
        }
        let mut event = ibv_async_event::default();
        // SAFETY: the context is open as long as this device exists. The function writes one `ibv_async_event`.
        let status = unsafe { (self.verbs.ibv_get_async_event)(self.context.as_ptr(), &raw mut event) };
        match (status, io::Error::last_os_error()) {
            (0, _) => {}
            (_, error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None), // Other code took the event.
            (_, error) => return Err(failed("ibv_get_async_event", error)),
        }
        // SAFETY: libibverbs returned the event just now, and the event is acknowledged after this call.
        let taken = unsafe { AsyncEvent::from_raw(&event) };
        // SAFETY: libibverbs returned the event above, and the event is acknowledged once, here.
        unsafe { (self.verbs.ibv_ack_async_event)(&raw mut event) };
        Ok(Some(taken))
    }

    /// Turns a status into a result. Some functions return errno; some return -1 and set errno.
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
        // SAFETY: the context is open, because only this function closes it. The caller promises to call this function
        // once, in the process that opened the context. The caller also promises that nothing uses the context from
        // here on. The registry never holds a borrowed device.
        let status = unsafe { (self.verbs.ibv_close_device)(self.context.as_ptr()) };
        self.check("ibv_close_device", status)
    }
}

/// The list of devices that libibverbs finds.
struct DeviceList {
    verbs: &'static Verbs,
    first: NonNull<*mut ibv_device>,
    count: usize,
}

impl DeviceList {
    /// Gets the list. `wanted` is the interface's name in messages.
    fn get(verbs: &'static Verbs, wanted: &str) -> Result<Self> {
        let mut count = 0;
        // SAFETY: the function writes the number of devices to `count`, and nothing else of this process's Rust values.
        let first = unsafe { (verbs.ibv_get_device_list)(&raw mut count) };
        if let Some(first) = NonNull::new(first) {
            return Ok(Self { verbs, first, count: usize::try_from(count).unwrap_or_default() });
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ENOSYS) {
            return Err(Error::NoSuchDevice {
                wanted: format!("{wanted} in the list of libibverbs"),
                present: "no RDMA subsystem in its kernel: load the module ib_uverbs".to_owned(),
            });
        }
        Err(failed("ibv_get_device_list", wanted, error))
    }

    fn find(&self, rdma: &str) -> Result<*mut ibv_device> {
        let named = |device: &&*mut ibv_device| self.name(**device).to_bytes() == rdma.as_bytes();
        self.devices().iter().find(named).copied().ok_or_else(|| {
            let names: Vec<_> = self.devices().iter().map(|device| self.name(*device).to_string_lossy()).collect();
            let names = list_of(&names);
            Error::NoSuchDevice {
                wanted: format!("{rdma} in the list of libibverbs"),
                present: format!(
                    "{names} there: install the EFA provider (libefa; package ibverbs-providers on Debian and Ubuntu), \
                     or if the device was renamed, discover the host again"
                ),
            }
        })
    }

    fn devices(&self) -> &[*mut ibv_device] {
        // SAFETY: libibverbs returned `first` with `count` valid pointers behind it, which stay in place until `drop`
        // frees the list. The slice borrows `self`.
        unsafe { slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }

    fn name(&self, device: *mut ibv_device) -> &CStr {
        // SAFETY: each caller passes an entry of this list, which lives until the list is freed. The name borrows
        // `self`.
        unsafe { name_of(self.verbs, device) }
    }
}

/// Returns the kernel's name of a device.
///
/// # Safety
///
/// `device` is a device of libibverbs, and lives as long as the name is used.
unsafe fn name_of<'a>(verbs: &Verbs, device: *mut ibv_device) -> &'a CStr {
    // SAFETY: the caller promises a live device of libibverbs.
    let name = unsafe { (verbs.ibv_get_device_name)(device) };
    // SAFETY: the function returns a field of the device: a text that ends with a zero byte, is never changed, and
    // lives as long as the device. The caller promises that the device lives as long as the name is used.
    unsafe { CStr::from_ptr(name) }
}

impl Drop for DeviceList {
    fn drop(&mut self) {
        // SAFETY: `first` is the list that libibverbs returned. The list is freed once, here, and nothing borrows it
        // any more. An open device stays alive.
        unsafe { (self.verbs.ibv_free_device_list)(self.first.as_ptr()) };
    }
}

pub(super) fn failed(function: &'static str, device: &str, cause: io::Error) -> Error {
    Error::Call { function, device: device.to_owned(), cause }
}

/// Fails if the interface's names and numbers have changed since the host was discovered: another interface may have
/// them now.
fn check_unchanged(machine: &HostRoot, interface: &EfaInterface) -> Result<()> {
    if efa::is_as_seen(machine, interface)? {
        return Ok(());
    }
    let name = interface.rdma.as_deref().unwrap_or_default();
    let node = interface.node().unwrap_or_default();
    Err(Error::NoSuchDevice {
        wanted: format!(
            "EFA interface {} with the RDMA device {name} and the node {node} any more",
            interface.address()
        ),
        present: "changed since it was discovered: discover the host again".to_owned(),
    })
}

/// Opens the node in the same way as libibverbs, and closes it again.
fn try_node(node: &Path) -> Result<()> {
    let opened = File::options().read(true).write(true).open(node);
    opened.map(drop).map_err(|cause| Error::NodeRefused { path: node.to_owned(), hint: hint(&cause), cause })
}

/// Lists names for a message.
fn list_of(names: &[impl AsRef<str>]) -> String {
    if names.is_empty() {
        return "no device".to_owned();
    }
    names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

/// Returns the meaning of an errno of opening a node, and what to do.
fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EACCES) => {
            "this user may not read and write it: change its mode or group (rdma-core's udev rules set the mode 0666)"
        }
        Some(libc::EPERM) => "the device rules of this container forbid it: give the interface to the container",
        Some(libc::ENOENT) => "the node does not exist: give the interface to this container, or check that udev runs",
        Some(libc::ENXIO | libc::ENODEV) => {
            "the node has no driver: the interface or its driver was removed; discover the host again"
        }
        _ => "the system refused it",
    }
}
