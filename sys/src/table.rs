//! Tables of the C functions that are looked up at run time.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::NonNull;

use crate::fabric::{fi_fabric_attr, fi_info, fid_fabric};
use crate::verbs::{
    _compat_ibv_port_attr, efadv_device_attr, ibv_async_event, ibv_device_attr, ibv_gid, ibv_mr, ibv_qp_init_attr,
};
use crate::{ibv_comp_channel, ibv_context, ibv_cq, ibv_device, ibv_pd, ibv_qp};

/// Makes a table out of C prototypes, and has the compiler compare each with the declaration that bindgen read.
macro_rules! table {
    (
        $(#[$table_doc:meta])*
        pub struct $table:ident of $bindings:ident;
        $($(#[$doc:meta])* fn $function:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*
    ) => {
        $(#[$table_doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $table {
            $($(#[$doc])* pub $function: unsafe extern "C" fn($($argument: $type),*) $(-> $result)?,)*
        }

        impl $table {
            /// The names of the functions, in the order of the fields.
            pub const NAMES: &[&str] = &[$(stringify!($function)),*];

            /// Fills the table with what `address` finds for each name, in the order of the fields, up to its first error.
            ///
            /// # Safety
            ///
            /// Each address must be that of the C function of this name in the library that the headers belong to, and
            /// the library must stay mapped as long as the table or a copy of it is used.
            ///
            /// # Errors
            ///
            /// The first error of `address`.
            pub unsafe fn resolve<E>(mut address: impl FnMut(&'static CStr) -> Result<NonNull<c_void>, E>) -> Result<Self, E> {
                Ok(Self {
                    $($function: {
                        const NAME: &CStr = match CStr::from_bytes_with_nul(concat!(stringify!($function), "\0").as_bytes()) {
                            Ok(name) => name,
                            Err(_) => panic!("an identifier contains no zero byte"),
                        };
                        let found = address(NAME)?;
                        // SAFETY: the caller promises that this is the address of the C function of this name; its type is
                        // the one of the header, as the comparison below has the compiler check. Data and function pointers
                        // have one size on every system with dlsym.
                        unsafe { core::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn($($type),*) $(-> $result)?>(found) }
                    },)*
                })
            }
        }

        $(const _: unsafe extern "C" fn($($type),*) $(-> $result)? = crate::$bindings::$function;)*
    };
}

table! {
    /// What nearfab calls of `libibverbs.so.1`; all of it is there since rdma-core 20.
    pub struct Verbs of verbs;

    /// Lists the RDMA devices whose node exists: an array ended by NULL, to be given back to `ibv_free_device_list`.
    ///
    /// NULL with errno ENOSYS: this kernel has no RDMA subsystem. On success errno may be anything.
    fn ibv_get_device_list(num_devices: *mut c_int) -> *mut *mut ibv_device;
    /// Gives back a list; a device that is open stays.
    fn ibv_free_device_list(list: *mut *mut ibv_device);
    /// The kernel's name of the device, which lives as long as the device.
    fn ibv_get_device_name(device: *mut ibv_device) -> *const c_char;
    /// Opens the device: NULL and errno on failure. Waits five seconds on a node that exists and refuses.
    fn ibv_open_device(device: *mut ibv_device) -> *mut ibv_context;
    /// Closes it, whatever still hangs on it: 0, or -1 and errno.
    fn ibv_close_device(context: *mut ibv_context) -> c_int;
    /// Attributes of the device: 0, or an errno value.
    fn ibv_query_device(context: *mut ibv_context, device_attr: *mut ibv_device_attr) -> c_int;
    /// Attributes of a port, the old ones only (see the crate's documentation): 0, or an errno value.
    fn ibv_query_port(context: *mut ibv_context, port_num: u8, port_attr: *mut _compat_ibv_port_attr) -> c_int;
    /// An entry of the port's GID table: 0, or -1 and errno.
    fn ibv_query_gid(context: *mut ibv_context, port_num: u8, index: c_int, gid: *mut ibv_gid) -> c_int;
    /// A new protection domain: NULL and errno on failure.
    fn ibv_alloc_pd(context: *mut ibv_context) -> *mut ibv_pd;
    /// Gives it back: 0, or an errno value (EBUSY: something is in it).
    fn ibv_dealloc_pd(pd: *mut ibv_pd) -> c_int;
    /// Registers memory, which must stay mapped: NULL and errno on failure.
    ///
    /// In the headers a macro of this name calls `ibv_reg_mr_iova2` for access flags that are optional; none is used here.
    fn ibv_reg_mr(pd: *mut ibv_pd, addr: *mut c_void, length: usize, access: c_int) -> *mut ibv_mr;
    /// Ends a registration: 0, or an errno value.
    fn ibv_dereg_mr(mr: *mut ibv_mr) -> c_int;
    /// A new completion queue for that many completions or more: NULL and errno on failure. `channel` may be NULL.
    fn ibv_create_cq(context: *mut ibv_context, cqe: c_int, cq_context: *mut c_void, channel: *mut ibv_comp_channel, comp_vector: c_int) -> *mut ibv_cq;
    /// Ends it: 0, or an errno value. Waits until its asynchronous events are acknowledged.
    fn ibv_destroy_cq(cq: *mut ibv_cq) -> c_int;
    /// A new queue pair: NULL and errno on failure. Writes what it got into the attributes.
    fn ibv_create_qp(pd: *mut ibv_pd, qp_init_attr: *mut ibv_qp_init_attr) -> *mut ibv_qp;
    /// Ends it: 0, or an errno value. Waits until its asynchronous events are acknowledged.
    fn ibv_destroy_qp(qp: *mut ibv_qp) -> c_int;
    /// Waits for an event, unless `async_fd` is non-blocking: 0, or -1 and errno.
    fn ibv_get_async_event(context: *mut ibv_context, event: *mut ibv_async_event) -> c_int;
    /// Each event has to be acknowledged once.
    fn ibv_ack_async_event(event: *mut ibv_async_event);
}

table! {
    /// What is there since rdma-core 34 only.
    pub struct VerbsDmabuf of verbs;

    /// Registers a part of a dma-buf, which `iova` is the device's address of: NULL and errno on failure.
    fn ibv_reg_dmabuf_mr(pd: *mut ibv_pd, offset: u64, length: usize, iova: u64, fd: c_int, access: c_int) -> *mut ibv_mr;
}

table! {
    /// What nearfab calls of `libefa.so.1`; all of it is there since rdma-core 26.
    pub struct Efadv of verbs;

    /// Attributes that only an EFA interface has: 0, or an errno value (EOPNOTSUPP: not an EFA interface).
    ///
    /// `inlen` is the size of the structure as the caller knows it; a longer one is zero at the end.
    fn efadv_query_device(ibvctx: *mut ibv_context, attr: *mut efadv_device_attr, inlen: u32) -> c_int;
    /// A queue pair of a type of EFA's own, as SRD is: NULL and errno on failure.
    fn efadv_create_driver_qp(ibvpd: *mut ibv_pd, attr: *mut ibv_qp_init_attr, driver_qp_type: u32) -> *mut ibv_qp;
}

table! {
    /// What `libfabric.so.1` exports of what nearfab calls; all of it is there since libfabric 1.5. The rest of libfabric is in
    /// the tables of its objects, see [`operations`](crate::operations).
    pub struct Fabric of fabric;

    /// The newest interface that the library speaks, the major number in the upper half. It has no side effect.
    fn fi_version() -> u32;
    /// What there is that fits `hints`, as a list for `fi_freeinfo`: 0, or a negative error (`-FI_ENODATA`: nothing).
    ///
    /// The first call of a process opens every EFA interface, and keeps what it finds and the environment it reads.
    fn fi_getinfo(version: u32, node: *const c_char, service: *const c_char, flags: u64, hints: *const fi_info, info: *mut *mut fi_info) -> c_int;
    /// Frees a list, or what `fi_dupinfo` made.
    fn fi_freeinfo(info: *mut fi_info);
    /// A copy of one entry; of NULL, an empty one. The only way to get one: the structure grows with the library.
    fn fi_dupinfo(info: *const fi_info) -> *mut fi_info;
    /// Opens a fabric: 0, or a negative error.
    fn fi_fabric(attr: *mut fi_fabric_attr, fabric: *mut *mut fid_fabric, context: *mut c_void) -> c_int;
    /// The text of an error, by its positive number.
    fn fi_strerror(errnum: c_int) -> *const c_char;
}
