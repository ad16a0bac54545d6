//! The functions of libnrt, the Neuron runtime, that nearfab calls.
//!
//! The declarations are written by hand from AWS's publications (the runtime's API reference, the headers in
//! aws-neuron-sdk). Four facts matter to a caller:
//!
//! - Some versions of the library do not export all functions that their headers declare: 2.31.24 has no
//!   `nrt_get_status_as_str`. The table therefore has or lacks each function separately, see [`Nrt`].
//! - A function that fills a structure takes the caller's size of the structure, or the structure grows only at its
//!   end.
//! - `NRT_STATUS` is a number in this crate and not an enum, since newer versions add values.
//! - Functions that count cores count logical cores, under both of their names.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt;
use core::ptr::NonNull;

/// The result of a function: [`NRT_SUCCESS`], or one of many failures.
#[allow(non_camel_case_types, reason = "the name in the C headers")]
pub type NRT_STATUS = u32;

/// The function succeeded.
pub const NRT_SUCCESS: NRT_STATUS = 0;
/// An argument is invalid, such as a structure size that the library does not know.
pub const NRT_INVALID: NRT_STATUS = 2;
/// A buffer is too small, or a resource is used up.
pub const NRT_RESOURCE: NRT_STATUS = 4;
/// The framework argument of `nrt_init` for a process without a framework.
pub const NRT_FRAMEWORK_TYPE_NO_FW: u32 = 1;

/// The structure that `nrt_get_version` fills.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[allow(non_camel_case_types, reason = "the name in the C headers")]
pub struct nrt_version_t {
    /// The first number of libnrt's version.
    pub rt_major: u64,
    /// The second number of libnrt's version.
    pub rt_minor: u64,
    /// The third number of libnrt's version.
    pub rt_patch: u64,
    /// The fourth number of libnrt's version.
    pub rt_maintenance: u64,
    /// More details of the version, as text.
    pub rt_detail: [c_char; 128],
    /// The commit that the library was built from.
    pub git_hash: [c_char; 64],
}

/// The structure that `nrt_get_instance_info` fills.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
#[allow(non_camel_case_types, reason = "the name in the C headers")]
pub struct nrt_instance_info_t {
    /// The number of the instance family.
    pub family: u32,
    /// The number of the instance size.
    pub size: u32,
    /// The name of the architecture. The structure of older libraries ends before this field, see
    /// [`OLD_INSTANCE_INFO`].
    pub arch_name: [c_char; 16],
    /// The revision of the device.
    pub device_revision: [c_char; 8],
}

/// The size of [`nrt_instance_info_t`] in older libraries. There the structure ends before
/// [`nrt_instance_info_t::arch_name`].
pub const OLD_INSTANCE_INFO: usize = 8;

/// A function that a library does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingSymbol {
    /// The library's soname.
    pub library: &'static str,
    /// The name of the function.
    pub name: &'static str,
}

impl fmt::Display for MissingSymbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no {}", self.library, self.name)
    }
}

impl core::error::Error for MissingSymbol {}

/// Makes a table out of C prototypes. The library may lack each of the functions.
macro_rules! table {
    ($($(#[$doc:meta])* fn $function:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions of `libnrt.so.1` that nearfab calls and that the loaded library has.
        ///
        /// A method with the name of each function returns the function, or [`MissingSymbol`].
        ///
        /// ```
        /// use nearfab_sys::nrt::{MissingSymbol, Nrt};
        /// // SAFETY: the closure returns no address, so no function can be called through the table.
        /// let empty = unsafe { Nrt::resolve(|_| None) };
        /// let missing = MissingSymbol { library: "libnrt.so.1", name: "nrt_init" };
        /// assert_eq!(empty.nrt_init().unwrap_err(), missing);
        /// ```
        #[derive(Clone, Copy, Debug)]
        pub struct Nrt {
            $($function: Option<unsafe extern "C" fn($($argument: $type),*) $(-> $result)?>,)*
        }

        impl Nrt {
            /// The soname of the library.
            pub const LIBRARY: &'static str = "libnrt.so.1";

            /// The names of the functions.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($function)),*];

            /// Fills the table with the address that `address` returns for each name.
            ///
            /// # Safety
            ///
            /// Each address must be the address of libnrt's function with this name. The library must stay mapped as
            /// long as the table or a copy of the table is used.
            pub unsafe fn resolve(mut address: impl FnMut(&'static CStr) -> Option<NonNull<c_void>>) -> Self {
                Self {
                    $($function: {
                        const NAME: &CStr = match CStr::from_bytes_with_nul(concat!(stringify!($function), "\0").as_bytes()) {
                            Ok(name) => name,
                            Err(_) => panic!("an identifier contains no zero byte"),
                        };
                        address(NAME).map(|found| {
                            // SAFETY: the caller promises that `found` is the address of libnrt's function with this
                            // name, and tests/nrt.rs compares the function's type with C. Data and function pointers
                            // have the same size on every system with dlsym.
                            unsafe { core::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn($($type),*) $(-> $result)?>(found) }
                        })
                    },)*
                }
            }

            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// [`MissingSymbol`] if the library does not have the function.
                pub fn $function(&self) -> Result<unsafe extern "C" fn($($argument: $type),*) $(-> $result)?, MissingSymbol> {
                    self.$function.ok_or(MissingSymbol { library: Self::LIBRARY, name: stringify!($function) })
                }
            )*
        }
    };
}

table! {
    /// Initializes the runtime once in a process: reads the environment, opens the devices and reserves their cores.
    fn nrt_init(framework: u32, fw_version: *const c_char, fal_version: *const c_char) -> NRT_STATUS;
    /// Releases the devices and cores that `nrt_init` took. Later calls fail.
    fn nrt_close();
    /// Fills the first `size` bytes of the library's version.
    fn nrt_get_version(ver: *mut nrt_version_t, size: usize) -> NRT_STATUS;
    /// Returns the name of a status. The text is never freed.
    fn nrt_get_status_as_str(status: NRT_STATUS) -> *const c_char;
    /// Fills the family, size and architecture of the instance. `instance_info_len` is the caller's size of the
    /// structure.
    fn nrt_get_instance_info(info: *mut nrt_instance_info_t, instance_info_len: usize) -> NRT_STATUS;
    /// Counts the logical cores of the machine. All functions that count cores may be called before `nrt_init`.
    fn nrt_get_total_vnc_count(vnc_count: *mut u32) -> NRT_STATUS;
    /// Counts the logical cores of the machine, under the older name of `nrt_get_total_vnc_count`.
    fn nrt_get_total_nc_count(nc_count: *mut u32) -> NRT_STATUS;
    /// Counts the logical cores that this process may use.
    fn nrt_get_visible_vnc_count(vnc_count: *mut u32) -> NRT_STATUS;
    /// Counts the logical cores that this process may use, under the older name of `nrt_get_visible_vnc_count`.
    fn nrt_get_visible_nc_count(nc_count: *mut u32) -> NRT_STATUS;
    /// Writes the host's number of the device that has the number `neuron_dev` in the container.
    fn nrt_host_device_id_get(neuron_dev: c_int, host_device_id: *mut u32) -> NRT_STATUS;
    /// Writes the PCI address, as text, of the EFA interface that is attached to the device whose memory is at `va`.
    /// Exported since 2.31.
    ///
    /// `*len` is the size of the buffer with the zero byte. The function sets `*len` to the length of the text without
    /// the zero byte. Fails with [`NRT_RESOURCE`] if the buffer is too small.
    fn nrt_get_attached_efa_bdf(va: *const c_void, efa_bdf: *mut c_char, len: *mut usize) -> NRT_STATUS;
    /// Writes the PCI address of the device that has the number `neuron_dev` in the container. Returns 0 after a
    /// success.
    fn nec_get_device_pci_bdf(neuron_dev: c_int, domain: *mut u32, bus_num: *mut u32, pci_slot: *mut u8, dev_func: *mut u8) -> c_int;
    /// Writes the number of physical cores that form a logical core.
    fn nec_get_virtual_core_size(virtual_core_size: *mut u32) -> NRT_STATUS;
}
