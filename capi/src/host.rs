//! Hosts.

use std::ffi::c_char;

use nearfab::Host;

use crate::boundary::{Outcome, guard};
use crate::handle::{Kind, Table};
use crate::pointer::{self, Place};

pub(crate) static HOSTS: Table<Host> = Table::new(Kind::Host);

/// A handle of a host: a snapshot of the EFA interfaces and Neuron devices of one machine. The snapshot has the places
/// of the devices, and whether this process may use each device. A host never changes: to see a change of the machine,
/// make a new host. Free a host with nearfab_host_free.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NearfabHost {
    /// The number of the handle, never 0 for a host.
    pub raw: u64,
}

impl NearfabHost {
    pub(crate) fn get(self) -> Outcome<Host> {
        HOSTS.get(self.raw)
    }
}

/// Discovers this machine. The discovery opens no device, and needs no privilege and no vendor library. A machine
/// without devices gives a host without devices.
///
/// # Errors
/// NEARFAB_ERROR_READ if the folder / cannot be opened, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `host` points to a nearfab_host_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_host_discover(host: *mut NearfabHost) -> i32 {
    // SAFETY: the caller guarantees that `host` is null or points to a nearfab_host_t that this call may write.
    guard(|| unsafe { put_host(host, || Ok(Host::discover()?)) })
}

/// Makes a host from the file tree below the folder `root`. `root` can be the machine's root at /host in a container,
/// or a folder with copied or emulated folders sys and dev.
///
/// # Errors
/// NEARFAB_ERROR_READ if the folder cannot be opened, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `root` is NUL-terminated, `host` points to a nearfab_host_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_host_from_root(root: *const c_char, host: *mut NearfabHost) -> i32 {
    guard(|| {
        // SAFETY: the caller guarantees that `root` is null or NUL-terminated, and does not change it during this call.
        let root = unsafe { pointer::path("root", root) }?;
        // SAFETY: the caller guarantees that `host` is null or points to a nearfab_host_t that this call may write.
        unsafe { put_host(host, || Ok(Host::from_root(root)?)) }
    })
}

/// Makes a host of an instance type such as "trn2.48xlarge" from nearfab's table of the type, with every EFA interface
/// attached.
///
/// # Errors
/// NEARFAB_ERROR_UNKNOWN_INSTANCE if nearfab has no table of the type, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `instance_type` is NUL-terminated, `host` points to a nearfab_host_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_host_from_instance(instance_type: *const c_char, host: *mut NearfabHost) -> i32 {
    guard(|| {
        // SAFETY: the caller guarantees that `instance_type` is null or NUL-terminated, and does not change it during
        // this call.
        let instance_type = unsafe { pointer::text("instance_type", instance_type) }?;
        // SAFETY: the caller guarantees that `host` is null or points to a nearfab_host_t that this call may write.
        unsafe { put_host(host, || Ok(Host::from_instance(instance_type)?)) }
    })
}

/// Reads a host that was recorded as JSON in a file.
///
/// # Errors
/// NEARFAB_ERROR_READ if the file cannot be read, NEARFAB_ERROR_RECORD if the file does not contain a recorded host,
/// NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `path` is NUL-terminated, `host` points to a nearfab_host_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_host_from_file(path: *const c_char, host: *mut NearfabHost) -> i32 {
    guard(|| {
        // SAFETY: the caller guarantees that `path` is null or NUL-terminated, and does not change it during this call.
        let path = unsafe { pointer::path("path", path) }?;
        // SAFETY: the caller guarantees that `host` is null or points to a nearfab_host_t that this call may write.
        unsafe { put_host(host, || Ok(Host::from_file(path)?)) }
    })
}

/// Frees a host. After this call the handle is an error in every thread. Calls that other threads have begun on the
/// handle end normally.
///
/// # Errors
/// NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn nearfab_host_free(host: NearfabHost) -> i32 {
    guard(|| HOSTS.remove(host.raw).map(drop))
}

/// Writes the instance type into `buffer` of `size` bytes. The firmware of the machine reports the instance type. The
/// text is empty if the firmware reports no instance type. If the text is longer than the buffer, the text is cut as by
/// snprintf(3). If `length` is not NULL, `*length` becomes the length of the whole text without the NUL.
///
/// # Errors
/// NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `buffer` is valid for `size` bytes, `length` is NULL or points to a size_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_host_instance_type(
    host: NearfabHost,
    buffer: *mut c_char,
    size: usize,
    length: *mut usize,
) -> i32 {
    guard(|| {
        let host = host.get()?;
        // SAFETY: the caller guarantees that `size` bytes of `buffer` can be written, and that `length` is null or
        // points to a size_t that can be written.
        unsafe { pointer::put_text(host.instance_type().unwrap_or_default(), buffer, size, length) }
    })
}

/// Writes the whole host as JSON into `buffer` of `size` bytes. nearfab_host_from_file reads a file with this text. If
/// the text is longer than the buffer, the text is cut as by snprintf(3). If `length` is not NULL, `*length` becomes
/// the length of the whole text without the NUL. To get only the length, call this function with a `size` of 0.
///
/// # Errors
/// NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `buffer` is valid for `size` bytes, `length` is NULL or points to a size_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_host_to_json(
    host: NearfabHost,
    buffer: *mut c_char,
    size: usize,
    length: *mut usize,
) -> i32 {
    guard(|| {
        let host = host.get()?;
        // SAFETY: the caller guarantees that `size` bytes of `buffer` can be written, and that `length` is null or
        // points to a size_t that can be written.
        unsafe { pointer::put_text(&host.to_json(), buffer, size, length) }
    })
}

/// Makes a host and writes its handle.
///
/// # Safety
/// `host` is null or points to a handle that this call may write.
unsafe fn put_host(host: *mut NearfabHost, make: impl FnOnce() -> Outcome<Host>) -> Outcome {
    // SAFETY: the caller guarantees that `host` is null or points to a handle that this call may write.
    let place = unsafe { Place::new("host", host) }?;
    place.set(NearfabHost { raw: HOSTS.insert(make()?)? });
    Ok(())
}
