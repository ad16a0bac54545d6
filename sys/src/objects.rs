//! C types of objects that libibverbs creates and returns as pointers. Some of these types have public first fields.
//! The other fields have another size on another architecture, or in another version.

use core::ffi::{c_int, c_void};
use core::marker::{PhantomData, PhantomPinned};
use core::mem::{offset_of, size_of};

use crate::verbs::{ibv_port_attr, ibv_qp_type};

macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        ///
        /// An object of this type exists only behind a pointer that the library returned.
        #[repr(C)]
        #[derive(Debug)]
        pub struct $name {
            no_fields: [u8; 0],
            not_send_sync_unpin: PhantomData<(*mut u8, PhantomPinned)>,
        }
    )*};
}

opaque! {
    /// A device in the list of `ibv_get_device_list`.
    ibv_device
    /// A protection domain.
    ibv_pd
    /// A completion queue.
    ibv_cq
    /// A channel for completion events.
    ibv_comp_channel
    /// A shared receive queue.
    ibv_srq
    /// A work queue.
    ibv_wq
}

/// A device opened by `ibv_open_device`.
///
/// An object of this type exists only behind a pointer that the library returned.
#[repr(C)]
#[derive(Debug)]
pub struct ibv_context {
    /// The device. The device stays valid as long as the context.
    pub device: *mut ibv_device,
    ops: [*mut c_void; 32],
    /// The descriptor of the device node.
    pub cmd_fd: c_int,
    /// The descriptor that becomes readable when an asynchronous event arrives.
    pub async_fd: c_int,
    /// The number of vectors for completion events.
    pub num_comp_vectors: c_int,
    mutex: libc::pthread_mutex_t,
    abi_compat: *mut c_void,
    not_send_sync_unpin: PhantomData<(*mut u8, PhantomPinned)>,
}

/// A queue pair that `ibv_create_qp` created.
///
/// An object of this type exists only behind a pointer that the library returned.
#[repr(C)]
#[derive(Debug)]
pub struct ibv_qp {
    /// The context of the device.
    pub context: *mut ibv_context,
    /// The pointer that the caller of `ibv_create_qp` set.
    pub qp_context: *mut c_void,
    /// The protection domain.
    pub pd: *mut ibv_pd,
    /// The completion queue of sends.
    pub send_cq: *mut ibv_cq,
    /// The completion queue of receives.
    pub recv_cq: *mut ibv_cq,
    /// The shared receive queue, if receives are not taken from the queue pair's own queue.
    pub srq: *mut ibv_srq,
    /// The kernel's handle of the queue pair.
    pub handle: u32,
    /// The number of the queue pair. Peers address the queue pair by this number.
    pub qp_num: u32,
    /// The state at creation. EFA does not update this field.
    pub state: u32,
    /// The type of the queue pair.
    pub qp_type: ibv_qp_type,
    not_send_sync_unpin: PhantomData<(*mut u8, PhantomPinned)>,
}

/// The port query of a device. The last argument is the size of the structure.
pub type QueryPort = unsafe extern "C" fn(*mut ibv_context, u8, *mut ibv_port_attr, usize) -> c_int;

/// The last fields of `struct verbs_context`, which contains an extended `ibv_context` and grows at its beginning.
#[repr(C)]
struct Extended {
    query_port: Option<QueryPort>,
    operations: [*mut c_void; 38],
    /// The size of the whole structure.
    sz: usize,
    context: ibv_context,
}

impl ibv_context {
    /// Returns the device's own port query, or `None` if the library is too old to have one.
    ///
    /// This function finds the operation in the same way as the macro `ibv_query_port` in the headers.
    ///
    /// # Safety
    ///
    /// libibverbs must have opened the context, and the context must not be closed.
    pub unsafe fn query_port(context: *mut Self) -> Option<QueryPort> {
        // SAFETY: the caller promises that libibverbs opened the context and that the context is not closed, so the
        // context is valid for reads.
        let is_extended = unsafe { (*context).abi_compat }.addr() == usize::MAX;
        if !is_extended {
            return None;
        }
        let extended = context.wrapping_byte_sub(offset_of!(Extended, context)).cast::<Extended>();
        // SAFETY: `abi_compat` marks an extended context. libibverbs allocates each extended context as the last field
        // of a `verbs_context`. Every version of `verbs_context` has the size as the field directly before the context.
        let size = unsafe { (*extended).sz };
        if size < size_of::<Extended>() {
            return None;
        }
        // SAFETY: `size` shows that this `verbs_context` is large enough to contain the field. tests/layouts.rs
        // compares the field with the headers. The value of the field is a function of the type `QueryPort`, or NULL.
        unsafe { (*extended).query_port }
    }
}
