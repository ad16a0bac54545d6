//! Tables of the C functions that the caller looks up at run time.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::NonNull;

use crate::fabric::{fi_fabric_attr, fi_info, fid_fabric};
use crate::verbs::{
    _compat_ibv_port_attr, efadv_device_attr, ibv_async_event, ibv_device_attr, ibv_gid, ibv_mr, ibv_qp_init_attr,
};
use crate::{ibv_comp_channel, ibv_context, ibv_cq, ibv_device, ibv_pd, ibv_qp};

/// Makes a table out of C prototypes. The compiler compares each prototype with the declaration that bindgen generated.
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

            /// Fills the table with the address that `address` returns for each name, in the order of the fields.
            ///
            /// # Safety
            ///
            /// Each address must be the address of the C function with this name in the library that the headers belong
            /// to. The library must stay mapped as long as the table or a copy of the table is used.
            ///
            /// # Errors
            ///
            /// The first error that `address` returns.
            pub unsafe fn resolve<E>(mut address: impl FnMut(&'static CStr) -> Result<NonNull<c_void>, E>) -> Result<Self, E> {
                Ok(Self {
                    $($function: {
                        const NAME: &CStr = match CStr::from_bytes_with_nul(concat!(stringify!($function), "\0").as_bytes()) {
                            Ok(name) => name,
                            Err(_) => panic!("an identifier contains no zero byte"),
                        };
                        let found = address(NAME)?;
                        // SAFETY: the caller promises that `found` is the address of the C function with this name. The
                        // comparison below makes the compiler check that the function has the type of the header. Data
                        // and function pointers have the same size on every system with dlsym.
                        unsafe { core::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn($($type),*) $(-> $result)?>(found) }
                    },)*
                })
            }
        }

        $(const _: unsafe extern "C" fn($($type),*) $(-> $result)? = crate::$bindings::$function;)*
    };
}

table! {
    /// The functions of `libibverbs.so.1` that nearfab calls. rdma-core has all of them since version 20.
    pub struct Verbs of verbs;

    /// Returns the RDMA devices that have a node, as an array that ends with NULL. Free the array with
    /// `ibv_free_device_list`.
    ///
    /// Returns NULL with errno ENOSYS if the kernel has no RDMA subsystem. After a success errno is undefined.
    fn ibv_get_device_list(num_devices: *mut c_int) -> *mut *mut ibv_device;
    /// Frees a list of devices. Opened devices stay valid.
    fn ibv_free_device_list(list: *mut *mut ibv_device);
    /// Returns the kernel's name of the device. The text is valid as long as the device.
    fn ibv_get_device_name(device: *mut ibv_device) -> *const c_char;
    /// Opens the device. Returns NULL and sets errno after a failure. Waits five seconds if the node exists and cannot
    /// be opened.
    fn ibv_open_device(device: *mut ibv_device) -> *mut ibv_context;
    /// Closes the device, even if objects of the device still exist. Returns 0, or -1 and sets errno.
    fn ibv_close_device(context: *mut ibv_context) -> c_int;
    /// Fills the attributes of the device. Returns 0 or an errno value.
    fn ibv_query_device(context: *mut ibv_context, device_attr: *mut ibv_device_attr) -> c_int;
    /// Fills the older attributes of a port only (see the crate's documentation). Returns 0 or an errno value.
    fn ibv_query_port(context: *mut ibv_context, port_num: u8, port_attr: *mut _compat_ibv_port_attr) -> c_int;
    /// Fills an entry of the port's GID table. Returns 0, or -1 and sets errno.
    fn ibv_query_gid(context: *mut ibv_context, port_num: u8, index: c_int, gid: *mut ibv_gid) -> c_int;
    /// Creates a protection domain. Returns NULL and sets errno after a failure.
    fn ibv_alloc_pd(context: *mut ibv_context) -> *mut ibv_pd;
    /// Destroys a protection domain. Returns 0 or an errno value (EBUSY if the domain still has objects).
    fn ibv_dealloc_pd(pd: *mut ibv_pd) -> c_int;
    /// Registers memory. The memory must stay mapped. Returns NULL and sets errno after a failure.
    ///
    /// The headers have a macro with this name. The macro calls `ibv_reg_mr_iova2` for optional access flags. nearfab
    /// uses no optional access flag.
    fn ibv_reg_mr(pd: *mut ibv_pd, addr: *mut c_void, length: usize, access: c_int) -> *mut ibv_mr;
    /// Ends the registration of memory. Returns 0 or an errno value.
    fn ibv_dereg_mr(mr: *mut ibv_mr) -> c_int;
    /// Creates a completion queue for at least `cqe` completions. Returns NULL and sets errno after a failure.
    /// `channel` may be NULL.
    fn ibv_create_cq(context: *mut ibv_context, cqe: c_int, cq_context: *mut c_void, channel: *mut ibv_comp_channel, comp_vector: c_int) -> *mut ibv_cq;
    /// Destroys a completion queue. Returns 0 or an errno value. Waits until all of its asynchronous events are
    /// acknowledged.
    fn ibv_destroy_cq(cq: *mut ibv_cq) -> c_int;
    /// Creates a queue pair. Returns NULL and sets errno after a failure. Writes the granted capacities into the
    /// attributes.
    fn ibv_create_qp(pd: *mut ibv_pd, qp_init_attr: *mut ibv_qp_init_attr) -> *mut ibv_qp;
    /// Destroys a queue pair. Returns 0 or an errno value. Waits until all of its asynchronous events are acknowledged.
    fn ibv_destroy_qp(qp: *mut ibv_qp) -> c_int;
    /// Waits for an asynchronous event, or fails at once if `async_fd` is non-blocking. Returns 0, or -1 and sets
    /// errno.
    fn ibv_get_async_event(context: *mut ibv_context, event: *mut ibv_async_event) -> c_int;
    /// Acknowledges an asynchronous event. Each event must be acknowledged once.
    fn ibv_ack_async_event(event: *mut ibv_async_event);
}

table! {
    /// The function of `libibverbs.so.1` that rdma-core has since version 34.
    pub struct VerbsDmabuf of verbs;

    /// Registers a part of a dma-buf at the device address `iova`. Returns NULL and sets errno after a failure.
    fn ibv_reg_dmabuf_mr(pd: *mut ibv_pd, offset: u64, length: usize, iova: u64, fd: c_int, access: c_int) -> *mut ibv_mr;
}

table! {
    /// The functions of `libefa.so.1` that nearfab calls. rdma-core has all of them since version 26.
    pub struct Efadv of verbs;

    /// Fills the attributes that only an EFA interface has. Returns 0 or an errno value (EOPNOTSUPP for other devices).
    ///
    /// `inlen` is the caller's size of the structure. If `inlen` is larger than the library's size, the last bytes are
    /// zero.
    fn efadv_query_device(ibvctx: *mut ibv_context, attr: *mut efadv_device_attr, inlen: u32) -> c_int;
    /// Creates a queue pair of a type that only EFA has, such as SRD. Returns NULL and sets errno after a failure.
    fn efadv_create_driver_qp(ibvpd: *mut ibv_pd, attr: *mut ibv_qp_init_attr, driver_qp_type: u32) -> *mut ibv_qp;
}

table! {
    /// The exported functions of `libfabric.so.1` that nearfab calls. libfabric has all of them since version 1.5. The
    /// other functions of libfabric are in the tables of libfabric's objects, see [`operations`](crate::operations).
    pub struct Fabric of fabric;

    /// Returns the newest interface version of the library, with the major number in the upper half. Has no side
    /// effect.
    fn fi_version() -> u32;
    /// Returns the interfaces that match `hints`, as a list for `fi_freeinfo`. The result is 0 or a negative error
    /// (`-FI_ENODATA` if nothing matches).
    ///
    /// The first call in a process opens every EFA interface. The library keeps the interfaces and environment of that
    /// call.
    fn fi_getinfo(version: u32, node: *const c_char, service: *const c_char, flags: u64, hints: *const fi_info, info: *mut *mut fi_info) -> c_int;
    /// Frees a list of `fi_getinfo`, or a copy of `fi_dupinfo`.
    fn fi_freeinfo(info: *mut fi_info);
    /// Returns a copy of one entry, or an empty entry for NULL. Only the library can create an entry, since the
    /// structure grows with the library.
    fn fi_dupinfo(info: *const fi_info) -> *mut fi_info;
    /// Opens a fabric. Returns 0 or a negative error.
    fn fi_fabric(attr: *mut fi_fabric_attr, fabric: *mut *mut fid_fabric, context: *mut c_void) -> c_int;
    /// Returns the text of an error, for its positive number.
    fn fi_strerror(errnum: c_int) -> *const c_char;
}
