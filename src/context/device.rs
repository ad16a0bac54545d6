//! An EFA interface opened through libibverbs: the calls, and nothing else.

use std::ffi::{CStr, c_int};
use std::fs::File;
use std::io;
use std::mem::size_of;
use std::net::Ipv6Addr;
use std::path::Path;
use std::ptr::NonNull;
use std::slice;

use nearfab_sys::verbs::{efadv_device_attr, ibv_device_attr, ibv_gid, ibv_port_attr};
use nearfab_sys::{Verbs, ibv_context, ibv_device};
use nix::libc;

use super::registry::Shared;
use crate::efa::{self, EfaInterface};
use crate::error::{Error, Result};
use crate::root::HostRoot;
use crate::runtime;

/// An `ibv_context` that nearfab opened.
#[derive(Debug)]
pub(super) struct Device {
    verbs: &'static Verbs,
    /// Open until [`Shared::close`], which the registry calls when no user is left.
    context: NonNull<ibv_context>,
    /// For messages.
    name: String,
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
        let verbs = runtime::verbs()?;
        let name = format!("{rdma} ({address})");
        let list = DeviceList::get(verbs, &name)?;
        let device = list.find(rdma)?;
        // And again: what the list has under this name is the interface if the name was its own before and after.
        check_as_seen(&machine, interface)?;
        // SAFETY: the device is of a list that was not given back yet.
        let context = unsafe { (verbs.ibv_open_device)(device) };
        // Errno says something on failure only: after success it may be anything.
        match NonNull::new(context) {
            Some(context) => Ok(Self { verbs, context, name }),
            None => Err(failed("ibv_open_device", &name, io::Error::last_os_error())),
        }
    }

    pub(super) fn query_device(&self) -> Result<ibv_device_attr> {
        let mut attributes = ibv_device_attr::default();
        // SAFETY: the context is open, and the structure is one that the function fills.
        let status = unsafe { (self.verbs.ibv_query_device)(self.context.as_ptr(), &raw mut attributes) };
        self.check("ibv_query_device", status)?;
        Ok(attributes)
    }

    /// What comes after `flags` stays zero: see nearfab-sys about the two functions of this name.
    pub(super) fn query_port(&self, port: u8) -> Result<ibv_port_attr> {
        let mut attributes = ibv_port_attr::default();
        let old_part = (&raw mut attributes).cast();
        // SAFETY: the context is open, and the function fills the beginning of the structure, which it knows from before
        // the last fields were added.
        let status = unsafe { (self.verbs.ibv_query_port)(self.context.as_ptr(), port, old_part) };
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
        let efadv = runtime::efadv()?;
        let mut attributes = efadv_device_attr::default();
        // SAFETY: the context is open, and the function fills no more of the structure than the length says.
        let status = unsafe { (efadv.efadv_query_device)(self.context.as_ptr(), &raw mut attributes, LENGTH) };
        self.check("efadv_query_device", status)?;
        Ok(attributes)
    }

    /// Some functions return errno, some -1 and set it.
    fn check(&self, function: &'static str, status: c_int) -> Result<()> {
        match status {
            0 => Ok(()),
            -1 => Err(failed(function, &self.name, io::Error::last_os_error())),
            errno => Err(failed(function, &self.name, io::Error::from_raw_os_error(errno.abs()))),
        }
    }
}

impl Shared for Device {
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
        let name = unsafe { (self.verbs.ibv_get_device_name)(device) };
        // SAFETY: the name is a part of the device, ends with a zero byte, and lives as long as the list does.
        unsafe { CStr::from_ptr(name) }
    }
}

impl Drop for DeviceList {
    fn drop(&mut self) {
        // SAFETY: it is the list that the library gave, and nothing uses it any more. An open device stays.
        unsafe { (self.verbs.ibv_free_device_list)(self.first.as_ptr()) };
    }
}

fn failed(function: &'static str, device: &str, source: io::Error) -> Error {
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
