//! Hosts.

use std::ffi::c_char;

use nearfab::Host;

use crate::boundary::{Outcome, guard};
use crate::handle::{Kind, Table};
use crate::pointer::{self, Place};

pub(crate) static HOSTS: Table<Host> = Table::new(Kind::Host);

/// A host: one snapshot of EFA interfaces and Neuron devices, where they are, and who may use them. It never changes;
/// to look again, make a new one. Free it with nearfab_host_free.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NearfabHost {
    /// Zero is never a host.
    pub raw: u64,
}

impl NearfabHost {
    pub(crate) fn get(self) -> Outcome<Host> {
        HOSTS.get(self.raw)
    }
}

/// Looks at this machine. Opens no device, needs no privilege and no vendor library; a machine without devices is a
/// host without devices.
///
/// # Errors
/// NEARFAB_ERROR_READ where not even / can be opened, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `host` points to a nearfab_host_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_host_discover(host: *mut NearfabHost) -> i32 {
    // SAFETY: as our caller promises.
    guard(|| unsafe { make(host, || Ok(Host::discover()?)) })
}

/// Looks at the file tree below the folder `root`: /host in a container, or a recorded or synthetic sys and dev.
///
/// # Errors
/// NEARFAB_ERROR_READ where the folder cannot be opened, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `root` is NUL-terminated, `host` points to a nearfab_host_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_host_from_root(root: *const c_char, host: *mut NearfabHost) -> i32 {
    guard(|| {
        // SAFETY: as our caller promises.
        let root = unsafe { pointer::path("root", root) }?;
        // SAFETY: as our caller promises.
        unsafe { make(host, || Ok(Host::from_root(root)?)) }
    })
}

/// What a host of an instance type such as "trn2.48xlarge" looks like with every EFA interface attached, by nearfab's
/// table of the type.
///
/// # Errors
/// NEARFAB_ERROR_UNKNOWN_INSTANCE where there is no table, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `instance_type` is NUL-terminated, `host` points to a nearfab_host_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_host_from_instance(instance_type: *const c_char, host: *mut NearfabHost) -> i32 {
    guard(|| {
        // SAFETY: as our caller promises.
        let instance_type = unsafe { pointer::text("instance_type", instance_type) }?;
        // SAFETY: as our caller promises.
        unsafe { make(host, || Ok(Host::from_instance(instance_type)?)) }
    })
}

/// Reads a host recorded as JSON in a file.
///
/// # Errors
/// NEARFAB_ERROR_READ where the file cannot be read, NEARFAB_ERROR_RECORD where it is no recorded host,
/// NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `path` is NUL-terminated, `host` points to a nearfab_host_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_host_from_file(path: *const c_char, host: *mut NearfabHost) -> i32 {
    guard(|| {
        // SAFETY: as our caller promises.
        let path = unsafe { pointer::path("path", path) }?;
        // SAFETY: as our caller promises.
        unsafe { make(host, || Ok(Host::from_file(path)?)) }
    })
}

/// Frees a host. Its handle is an error from then on, in every thread; calls that have begun end well.
///
/// # Errors
/// NEARFAB_ERROR_INVALID_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn nearfab_host_free(host: NearfabHost) -> i32 {
    guard(|| HOSTS.remove(host.raw).map(drop))
}

/// Writes the instance type as the machine's firmware gives it into `buffer`, which has `size` bytes: an empty text
/// where it does not. A longer text is cut as by snprintf(3); `length` may be NULL and else gets the length of the
/// whole, without the NUL.
///
/// # Errors
/// NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
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
        // SAFETY: as our caller promises.
        unsafe { pointer::put_text(host.instance_type().unwrap_or_default(), buffer, size, length) }
    })
}

/// Writes all that is known of the host as JSON into `buffer`, which has `size` bytes: what nearfab_host_from_file
/// reads. A longer text is cut as by snprintf(3): ask for the `length` with a `size` of 0 first.
///
/// # Errors
/// NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
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
        // SAFETY: as our caller promises.
        unsafe { pointer::put_text(&host.to_json(), buffer, size, length) }
    })
}

/// # Safety
/// `host` is null or points to a handle.
unsafe fn make(host: *mut NearfabHost, look: impl FnOnce() -> Outcome<Host>) -> Outcome {
    // SAFETY: as our caller promises.
    let place = unsafe { Place::new("host", host) }?;
    place.set(NearfabHost { raw: HOSTS.insert(look()?)? });
    Ok(())
}
