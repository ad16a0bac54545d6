//! The functions that libfabric's headers define inline. These functions call through the tables of libfabric's
//! objects.
//!
//! A table begins with its size in the loaded library. A function returns `-FI_ENOSYS` if its operation is beyond that
//! size, if the operation is null, or if the object has no table. The functions have the same names, arguments and
//! results as in the headers (fi_endpoint(3), fi_domain(3), fi_av(3), fi_cq(3), fi_mr(3), fi_msg(3)).
//!
//! # Safety
//!
//! The same conditions apply to all functions. Objects and attributes must be valid as the manual pages require: a
//! single library created all of them, the library stays mapped, and the objects are not closed. No more threads may
//! use the objects at the same time than the domain's threading model allows.

#![expect(
    clippy::missing_safety_doc,
    reason = "the documentation of the module states the conditions for all functions"
)]

use core::ffi::{c_int, c_void};
use core::mem::offset_of;

use crate::fabric::*;

/// Returns the status of a missing operation, `-FI_ENOSYS`.
#[cold]
#[inline(never)] // If `missing` were inlined, each call would load this constant before the constant is needed.
fn missing() -> i16 {
    const STATUS: i16 = {
        assert!(FI_ENOSYS == 38);
        -38
    };
    STATUS
}

/// Calls an operation of a table, if the table is long enough and the operation is not null.
macro_rules! call {
    ($table:expr, $kind:ident, $operation:ident($($argument:expr),*)) => {{
        let table: *const $kind = $table;
        if table.is_null() {
            return missing().into();
        }
        // SAFETY: the table pointer comes from a valid object, by the module's conditions, and is not null. Every table
        // of libfabric begins with its size.
        let size = unsafe { (&raw const (*table).size).read() };
        if size <= offset_of!($kind, $operation) {
            return missing().into();
        }
        // SAFETY: the size is that of the library's own structure. All fields of the structure after the size are
        // pointers, so a field that begins before the structure's end also ends before the structure's end.
        match unsafe { (&raw const (*table).$operation).read() } {
            // SAFETY: the operation belongs to the object's own table, so the library that created the object takes the
            // arguments. The arguments come from the caller, and the caller promises that the arguments are valid by
            // the module's conditions.
            Some(operation) => unsafe { operation($($argument),*) },
            None => missing().into(),
        }
    }};
}

/// Closes an object. Returns 0 or a negative error.
pub unsafe extern "C" fn fi_close(object: *mut fid) -> c_int {
    // SAFETY: `object` is valid by the module's conditions, so its field `ops` can be read.
    call!(unsafe { (*object).ops }, fi_ops, close(object))
}

/// Opens a domain of a fabric. Returns 0 or a negative error.
pub unsafe fn fi_domain(
    fabric: *mut fid_fabric,
    info: *mut fi_info,
    domain: *mut *mut fid_domain,
    context: *mut c_void,
) -> c_int {
    // SAFETY: `fabric` is valid by the module's conditions, so its field `ops` can be read.
    call!(unsafe { (*fabric).ops }, fi_ops_fabric, domain(fabric, info, domain, context))
}

/// Opens an endpoint of a domain. Returns 0 or a negative error.
pub unsafe fn fi_endpoint(
    domain: *mut fid_domain,
    info: *mut fi_info,
    endpoint: *mut *mut fid_ep,
    context: *mut c_void,
) -> c_int {
    // SAFETY: `domain` is valid by the module's conditions, so its field `ops` can be read.
    call!(unsafe { (*domain).ops }, fi_ops_domain, endpoint(domain, info, endpoint, context))
}

/// Binds a queue or an address vector to an endpoint. Returns 0 or a negative error.
pub unsafe fn fi_ep_bind(endpoint: *mut fid_ep, to: *mut fid, flags: u64) -> c_int {
    let object = endpoint.cast::<fid>();
    // SAFETY: `object` is valid by the module's conditions, so its field `ops` can be read.
    call!(unsafe { (*object).ops }, fi_ops, bind(object, to, flags))
}

/// Enables an endpoint. Returns 0 or a negative error.
pub unsafe fn fi_enable(endpoint: *mut fid_ep) -> c_int {
    let object = endpoint.cast::<fid>();
    const COMMAND: c_int = FI_ENABLE.cast_signed();
    // SAFETY: `object` is valid by the module's conditions, so its field `ops` can be read.
    call!(unsafe { (*object).ops }, fi_ops, control(object, COMMAND, core::ptr::null_mut()))
}

/// Reads the endpoint's own address. Returns 0 or a negative error. `*length` is the length of the buffer. The call
/// sets `*length` to the length of the address.
pub unsafe fn fi_getname(endpoint: *mut fid_ep, address: *mut c_void, length: *mut usize) -> c_int {
    // SAFETY: `endpoint` is valid by the module's conditions, so its field `cm` can be read.
    call!(unsafe { (*endpoint).cm }, fi_ops_cm, getname(endpoint.cast(), address, length))
}

/// Opens an address vector. Returns 0 or a negative error.
pub unsafe fn fi_av_open(
    domain: *mut fid_domain,
    attributes: *mut fi_av_attr,
    av: *mut *mut fid_av,
    context: *mut c_void,
) -> c_int {
    // SAFETY: `domain` is valid by the module's conditions, so its field `ops` can be read.
    call!(unsafe { (*domain).ops }, fi_ops_domain, av_open(domain, attributes, av, context))
}

/// Inserts addresses. Returns the number of inserted addresses or a negative error.
pub unsafe fn fi_av_insert(
    av: *mut fid_av,
    addresses: *const c_void,
    count: usize,
    inserted: *mut fi_addr_t,
    flags: u64,
    context: *mut c_void,
) -> c_int {
    // SAFETY: `av` is valid by the module's conditions, so its field `ops` can be read.
    call!(unsafe { (*av).ops }, fi_ops_av, insert(av, addresses, count, inserted, flags, context))
}

/// Opens a completion queue. Returns 0 or a negative error.
pub unsafe fn fi_cq_open(
    domain: *mut fid_domain,
    attributes: *mut fi_cq_attr,
    cq: *mut *mut fid_cq,
    context: *mut c_void,
) -> c_int {
    // SAFETY: `domain` is valid by the module's conditions, so its field `ops` can be read.
    call!(unsafe { (*domain).ops }, fi_ops_domain, cq_open(domain, attributes, cq, context))
}

/// Reads completions in the format of the queue. Returns the number of completions or a negative error: `-FI_EAGAIN` if
/// the queue is empty, `-FI_EAVAIL` if a failed completion is next.
#[inline]
pub unsafe fn fi_cq_read(cq: *mut fid_cq, entries: *mut c_void, count: usize) -> isize {
    // SAFETY: `cq` is valid by the module's conditions, so its field `ops` can be read.
    call!(unsafe { (*cq).ops }, fi_ops_cq, read(cq, entries, count))
}

/// Reads a failed completion. Returns 1 or a negative error.
pub unsafe fn fi_cq_readerr(cq: *mut fid_cq, entry: *mut fi_cq_err_entry, flags: u64) -> isize {
    // SAFETY: `cq` is valid by the module's conditions, so its field `ops` can be read.
    call!(unsafe { (*cq).ops }, fi_ops_cq, readerr(cq, entry, flags))
}

/// Registers memory. Returns 0 or a negative error.
#[expect(clippy::too_many_arguments, reason = "as in C")]
pub unsafe fn fi_mr_reg(
    domain: *mut fid_domain,
    buffer: *const c_void,
    length: usize,
    access: u64,
    offset: u64,
    key: u64,
    flags: u64,
    mr: *mut *mut fid_mr,
    context: *mut c_void,
) -> c_int {
    // SAFETY: `domain` is valid by the module's conditions, so its field `mr` can be read.
    let table = unsafe { (*domain).mr };
    call!(table, fi_ops_mr, reg(domain.cast(), buffer, length, access, offset, key, flags, mr, context))
}

/// Sends a message. Returns 0 or a negative error. After `-FI_EAGAIN`, read the completion queue and try again.
#[inline]
pub unsafe fn fi_send(
    endpoint: *mut fid_ep,
    buffer: *const c_void,
    length: usize,
    descriptor: *mut c_void,
    to: fi_addr_t,
    context: *mut c_void,
) -> isize {
    // SAFETY: `endpoint` is valid by the module's conditions, so its field `msg` can be read.
    call!(unsafe { (*endpoint).msg }, fi_ops_msg, send(endpoint, buffer, length, descriptor, to, context))
}

/// Posts a buffer for the next message. Returns 0 or a negative error. After `-FI_EAGAIN`, read the completion queue
/// and try again.
#[inline]
pub unsafe fn fi_recv(
    endpoint: *mut fid_ep,
    buffer: *mut c_void,
    length: usize,
    descriptor: *mut c_void,
    from: fi_addr_t,
    context: *mut c_void,
) -> isize {
    // SAFETY: `endpoint` is valid by the module's conditions, so its field `msg` can be read.
    call!(unsafe { (*endpoint).msg }, fi_ops_msg, recv(endpoint, buffer, length, descriptor, from, context))
}
