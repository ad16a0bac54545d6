//! C types that the library makes and hands out pointers to. Of some the beginning is public; what comes after it has another
//! size on another architecture, or in another version.

use core::ffi::{c_int, c_void};
use core::marker::{PhantomData, PhantomPinned};
use core::mem::{offset_of, size_of};

use crate::verbs::{ibv_port_attr, ibv_qp_type};

macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        ///
        /// Only ever behind a pointer that the library gave.
        #[repr(C)]
        #[derive(Debug)]
        pub struct $name {
            inside: [u8; 0],
            elsewhere: PhantomData<(*mut u8, PhantomPinned)>,
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
/// Only ever behind a pointer that the library gave.
#[repr(C)]
#[derive(Debug)]
pub struct ibv_context {
    /// The device, which lives as long.
    pub device: *mut ibv_device,
    ops: [*mut c_void; 32],
    /// The descriptor of the node.
    pub cmd_fd: c_int,
    /// The descriptor that is readable when there is an asynchronous event.
    pub async_fd: c_int,
    /// How many vectors completion events can come by.
    pub num_comp_vectors: c_int,
    mutex: libc::pthread_mutex_t,
    abi_compat: *mut c_void,
    elsewhere: PhantomData<(*mut u8, PhantomPinned)>,
}

/// A queue pair made by `ibv_create_qp`.
///
/// Only ever behind a pointer that the library gave.
#[repr(C)]
#[derive(Debug)]
pub struct ibv_qp {
    /// The device that it is on.
    pub context: *mut ibv_context,
    /// What its maker gave it.
    pub qp_context: *mut c_void,
    /// Its protection domain.
    pub pd: *mut ibv_pd,
    /// Where sends complete.
    pub send_cq: *mut ibv_cq,
    /// Where receives complete.
    pub recv_cq: *mut ibv_cq,
    /// Where receives are taken from, if not from its own queue.
    pub srq: *mut ibv_srq,
    /// The kernel's number of the object.
    pub handle: u32,
    /// Its number, which peers address it by.
    pub qp_num: u32,
    /// Its state when it was made; not kept by EFA.
    pub state: u32,
    /// Its type.
    pub qp_type: ibv_qp_type,
    elsewhere: PhantomData<(*mut u8, PhantomPinned)>,
}

/// The port query of a device: the last argument is the size of the structure.
pub type QueryPort = unsafe extern "C" fn(*mut ibv_context, u8, *mut ibv_port_attr, usize) -> c_int;

/// The end of what an extended context is in, which grows at its beginning.
#[repr(C)]
struct Extended {
    query_port: Option<QueryPort>,
    operations: [*mut c_void; 38],
    /// The size of the whole.
    sz: usize,
    context: ibv_context,
}

impl ibv_context {
    /// The device's own port query; `None` where the library is older than that.
    ///
    /// This is what the macro `ibv_query_port` of the headers does.
    ///
    /// # Safety
    ///
    /// The context is one that libibverbs opened and nobody has closed.
    pub unsafe fn query_port(context: *mut Self) -> Option<QueryPort> {
        // SAFETY: the caller promises an open context.
        let is_extended = unsafe { (*context).abi_compat }.addr() == usize::MAX;
        if !is_extended {
            return None;
        }
        let extended = context.wrapping_byte_sub(offset_of!(Extended, context)).cast::<Extended>();
        // SAFETY: an extended context has this right before it.
        let size = unsafe { (*extended).sz };
        if size < size_of::<Extended>() {
            return None;
        }
        // SAFETY: it is large enough to have this operation, a function of this type or NULL.
        unsafe { (*extended).query_port }
    }
}
