//! What libfabric's headers define as inline functions: calls through the tables of its objects.
//!
//! A table begins with its size, as the library knows it; an operation beyond it, or one that is null, answers
//! `-FI_ENOSYS`. The functions have the names, arguments and results of those in the headers (fi_endpoint(3),
//! fi_domain(3), fi_av(3), fi_cq(3), fi_mr(3), fi_msg(3)).
//!
//! # Safety
//!
//! Of all of them: objects and attributes are valid as their manual pages want them, made by one library that stays mapped,
//! and used by as many threads at a time as the domain's threading model allows.

#![expect(clippy::missing_safety_doc, reason = "one condition for all, above")]

use core::ffi::{c_int, c_void};
use core::mem::offset_of;

use crate::fabric::*;

/// There is no such operation.
#[cold]
#[inline(never)] // A constant, but not one to be made ready on the way to each call.
fn missing() -> i16 {
    const STATUS: i16 = {
        assert!(FI_ENOSYS == 38);
        -38
    };
    STATUS
}

/// Calls an operation of a table, if the table is long enough and has it.
macro_rules! call {
    ($table:expr, $kind:ident, $operation:ident($($argument:expr),*)) => {{
        let table: *const $kind = $table;
        if table.is_null() {
            return missing().into();
        }
        // SAFETY: every table begins with its size, and the caller promises a valid object.
        let size = unsafe { (&raw const (*table).size).read() };
        if size <= offset_of!($kind, $operation) {
            return missing().into();
        }
        // SAFETY: the table is long enough to have the field, as its size says.
        match unsafe { (&raw const (*table).$operation).read() } {
            // SAFETY: as the caller of the function around this promises.
            Some(operation) => unsafe { operation($($argument),*) },
            None => missing().into(),
        }
    }};
}

/// Closes an object: 0, or a negative error.
pub unsafe extern "C" fn fi_close(object: *mut fid) -> c_int {
    // SAFETY: a valid object, as the caller promises.
    call!(unsafe { (*object).ops }, fi_ops, close(object))
}

/// Opens a domain of a fabric: 0, or a negative error.
pub unsafe fn fi_domain(
    fabric: *mut fid_fabric,
    info: *mut fi_info,
    domain: *mut *mut fid_domain,
    context: *mut c_void,
) -> c_int {
    // SAFETY: a valid object, as the caller promises.
    call!(unsafe { (*fabric).ops }, fi_ops_fabric, domain(fabric, info, domain, context))
}

/// Opens an endpoint of a domain: 0, or a negative error.
pub unsafe fn fi_endpoint(
    domain: *mut fid_domain,
    info: *mut fi_info,
    endpoint: *mut *mut fid_ep,
    context: *mut c_void,
) -> c_int {
    // SAFETY: a valid object, as the caller promises.
    call!(unsafe { (*domain).ops }, fi_ops_domain, endpoint(domain, info, endpoint, context))
}

/// Binds a queue or an address vector to an endpoint: 0, or a negative error.
pub unsafe fn fi_ep_bind(endpoint: *mut fid_ep, to: *mut fid, flags: u64) -> c_int {
    let object = endpoint.cast::<fid>();
    // SAFETY: a valid object, as the caller promises.
    call!(unsafe { (*object).ops }, fi_ops, bind(object, to, flags))
}

/// Enables an endpoint: 0, or a negative error.
pub unsafe fn fi_enable(endpoint: *mut fid_ep) -> c_int {
    let object = endpoint.cast::<fid>();
    const COMMAND: c_int = FI_ENABLE.cast_signed();
    // SAFETY: a valid object, as the caller promises.
    call!(unsafe { (*object).ops }, fi_ops, control(object, COMMAND, core::ptr::null_mut()))
}

/// Reads the endpoint's own address: 0, or a negative error; `length` is that of the buffer, and then of the address.
pub unsafe fn fi_getname(endpoint: *mut fid_ep, address: *mut c_void, length: *mut usize) -> c_int {
    // SAFETY: a valid object, as the caller promises.
    call!(unsafe { (*endpoint).cm }, fi_ops_cm, getname(endpoint.cast(), address, length))
}

/// Opens an address vector: 0, or a negative error.
pub unsafe fn fi_av_open(
    domain: *mut fid_domain,
    attributes: *mut fi_av_attr,
    av: *mut *mut fid_av,
    context: *mut c_void,
) -> c_int {
    // SAFETY: a valid object, as the caller promises.
    call!(unsafe { (*domain).ops }, fi_ops_domain, av_open(domain, attributes, av, context))
}

/// Inserts addresses: how many were, or a negative error.
pub unsafe fn fi_av_insert(
    av: *mut fid_av,
    addresses: *const c_void,
    count: usize,
    inserted: *mut fi_addr_t,
    flags: u64,
    context: *mut c_void,
) -> c_int {
    // SAFETY: a valid object, as the caller promises.
    call!(unsafe { (*av).ops }, fi_ops_av, insert(av, addresses, count, inserted, flags, context))
}

/// Opens a completion queue: 0, or a negative error.
pub unsafe fn fi_cq_open(
    domain: *mut fid_domain,
    attributes: *mut fi_cq_attr,
    cq: *mut *mut fid_cq,
    context: *mut c_void,
) -> c_int {
    // SAFETY: a valid object, as the caller promises.
    call!(unsafe { (*domain).ops }, fi_ops_domain, cq_open(domain, attributes, cq, context))
}

/// Reads completions, in the queue's format: how many, or a negative error (`-FI_EAGAIN`: none; `-FI_EAVAIL`: a failed one).
#[inline]
pub unsafe fn fi_cq_read(cq: *mut fid_cq, entries: *mut c_void, count: usize) -> isize {
    // SAFETY: a valid object, as the caller promises.
    call!(unsafe { (*cq).ops }, fi_ops_cq, read(cq, entries, count))
}

/// Reads a failed completion: 1, or a negative error.
pub unsafe fn fi_cq_readerr(cq: *mut fid_cq, entry: *mut fi_cq_err_entry, flags: u64) -> isize {
    // SAFETY: a valid object, as the caller promises.
    call!(unsafe { (*cq).ops }, fi_ops_cq, readerr(cq, entry, flags))
}

/// Registers memory: 0, or a negative error.
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
    // SAFETY: a valid object, as the caller promises.
    let table = unsafe { (*domain).mr };
    call!(table, fi_ops_mr, reg(domain.cast(), buffer, length, access, offset, key, flags, mr, context))
}

/// Sends: 0, or a negative error (`-FI_EAGAIN`: read the completion queue, and try again).
#[inline]
pub unsafe fn fi_send(
    endpoint: *mut fid_ep,
    buffer: *const c_void,
    length: usize,
    descriptor: *mut c_void,
    to: fi_addr_t,
    context: *mut c_void,
) -> isize {
    // SAFETY: a valid object, as the caller promises.
    call!(unsafe { (*endpoint).msg }, fi_ops_msg, send(endpoint, buffer, length, descriptor, to, context))
}

/// Offers a buffer for what comes: 0, or a negative error (`-FI_EAGAIN`: as for `fi_send`).
#[inline]
pub unsafe fn fi_recv(
    endpoint: *mut fid_ep,
    buffer: *mut c_void,
    length: usize,
    descriptor: *mut c_void,
    from: fi_addr_t,
    context: *mut c_void,
) -> isize {
    // SAFETY: a valid object, as the caller promises.
    call!(unsafe { (*endpoint).msg }, fi_ops_msg, recv(endpoint, buffer, length, descriptor, from, context))
}
