//! libnrt, the Neuron runtime: what nearfab calls of it.
//!
//! Written by hand from what AWS publishes of it (the runtime's API reference, the headers in aws-neuron-sdk). What to know:
//!
//! - The library grows, and not every version exports all that its headers declare: 2.31.24 has no
//!   `nrt_get_status_as_str`. So each function is there or not by itself, see [`Nrt`].
//! - Structures are handed over with the size that the caller knows, or grow at their ends only.
//! - An `NRT_STATUS` is a number that newer versions add to, and so it is one here.
//! - Functions that count cores count logical ones, under both names.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::fmt;
use core::ptr::NonNull;

/// What a function came to: [`NRT_SUCCESS`], or one of many failures.
#[allow(non_camel_case_types, reason = "the name in the C headers")]
pub type NRT_STATUS = u32;

/// It succeeded.
pub const NRT_SUCCESS: NRT_STATUS = 0;
/// An argument is not valid; a structure's size that the library does not know, for one.
pub const NRT_INVALID: NRT_STATUS = 2;
/// Something is too small or used up.
pub const NRT_RESOURCE: NRT_STATUS = 4;
/// The framework of a process that has none, for `nrt_init`.
pub const NRT_FRAMEWORK_TYPE_NO_FW: u32 = 1;

/// What `nrt_get_version` fills.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[allow(non_camel_case_types, reason = "the name in the C headers")]
pub struct nrt_version_t {
    /// First number.
    pub rt_major: u64,
    /// Second.
    pub rt_minor: u64,
    /// Third.
    pub rt_patch: u64,
    /// Fourth.
    pub rt_maintenance: u64,
    /// More about the version.
    pub rt_detail: [c_char; 128],
    /// The commit that it was made from.
    pub git_hash: [c_char; 64],
}

/// What `nrt_get_instance_info` fills.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
#[allow(non_camel_case_types, reason = "the name in the C headers")]
pub struct nrt_instance_info_t {
    /// The family, by a number.
    pub family: u32,
    /// The size, by a number.
    pub size: u32,
    /// The architecture's name. Older libraries end before it, see [`OLD_INSTANCE_INFO`].
    pub arch_name: [c_char; 16],
    /// The device's revision.
    pub device_revision: [c_char; 8],
}

/// The size of the structure in libraries that end it before [`nrt_instance_info_t::arch_name`].
pub const OLD_INSTANCE_INFO: usize = 8;

/// A function that a library does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingSymbol {
    /// The library's soname.
    pub library: &'static str,
    /// The function.
    pub name: &'static str,
}

impl fmt::Display for MissingSymbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no {}", self.library, self.name)
    }
}

impl core::error::Error for MissingSymbol {}

/// Makes a table out of C prototypes, each of which the library may lack.
macro_rules! table {
    ($($(#[$doc:meta])* fn $function:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        /// What nearfab calls of `libnrt.so.1`, as far as the library at hand has it.
        ///
        /// Each function is asked for by a method of its name, which gives it or the [`MissingSymbol`].
        ///
        /// ```
        /// use nearfab_sys::nrt::{MissingSymbol, Nrt};
        /// // SAFETY: no address is handed over.
        /// let empty = unsafe { Nrt::resolve(|_| None) };
        /// let missing = MissingSymbol { library: "libnrt.so.1", name: "nrt_init" };
        /// assert_eq!(empty.nrt_init().unwrap_err(), missing);
        /// ```
        #[derive(Clone, Copy, Debug)]
        pub struct Nrt {
            $($function: Option<unsafe extern "C" fn($($argument: $type),*) $(-> $result)?>,)*
        }

        impl Nrt {
            /// The soname.
            pub const LIBRARY: &'static str = "libnrt.so.1";

            /// The names of the functions.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($function)),*];

            /// Fills the table with what `address` finds for each name.
            ///
            /// # Safety
            ///
            /// Each address must be that of libnrt's function of this name, and the library must stay mapped as long as the
            /// table or a copy of it is used.
            pub unsafe fn resolve(mut address: impl FnMut(&'static CStr) -> Option<NonNull<c_void>>) -> Self {
                Self {
                    $($function: {
                        const NAME: &CStr = match CStr::from_bytes_with_nul(concat!(stringify!($function), "\0").as_bytes()) {
                            Ok(name) => name,
                            Err(_) => panic!("an identifier contains no zero byte"),
                        };
                        address(NAME).map(|found| {
                            // SAFETY: the caller promises that this is the C function of this name, and tests/nrt.rs
                            // compares the type with C. Data and function pointers have one size on every system with dlsym.
                            unsafe { core::mem::transmute::<NonNull<c_void>, unsafe extern "C" fn($($type),*) $(-> $result)?>(found) }
                        })
                    },)*
                }
            }

            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// The library has no such function.
                pub fn $function(&self) -> Result<unsafe extern "C" fn($($argument: $type),*) $(-> $result)?, MissingSymbol> {
                    self.$function.ok_or(MissingSymbol { library: Self::LIBRARY, name: stringify!($function) })
                }
            )*
        }
    };
}

table! {
    /// Initializes the runtime, once in a process: reads the environment, opens the devices and reserves their cores.
    fn nrt_init(framework: u32, fw_version: *const c_char, fal_version: *const c_char) -> NRT_STATUS;
    /// Gives back what `nrt_init` took. Calls fail from then on.
    fn nrt_close();
    /// Fills in the library's version, as far as `size` goes.
    fn nrt_get_version(ver: *mut nrt_version_t, size: usize) -> NRT_STATUS;
    /// The name of a status, which is never freed.
    fn nrt_get_status_as_str(status: NRT_STATUS) -> *const c_char;
    /// Fills in what instance this is; `instance_info_len` is the size of the structure as the caller knows it.
    fn nrt_get_instance_info(info: *mut nrt_instance_info_t, instance_info_len: usize) -> NRT_STATUS;
    /// Counts the logical cores of the machine. May be called before `nrt_init`, as all that count may.
    fn nrt_get_total_vnc_count(vnc_count: *mut u32) -> NRT_STATUS;
    /// The same, by its older name.
    fn nrt_get_total_nc_count(nc_count: *mut u32) -> NRT_STATUS;
    /// Counts the logical cores that this process may use.
    fn nrt_get_visible_vnc_count(vnc_count: *mut u32) -> NRT_STATUS;
    /// The same, by its older name.
    fn nrt_get_visible_nc_count(nc_count: *mut u32) -> NRT_STATUS;
    /// The host's number of a device, by its number in the container.
    fn nrt_host_device_id_get(neuron_dev: c_int, host_device_id: *mut u32) -> NRT_STATUS;
    /// The PCI address, as text, of the EFA interface that is attached to the device whose memory is at `va`. There since 2.31.
    ///
    /// `len` is the buffer's size, the zero byte included, and then the length of the text without it.
    /// [`NRT_RESOURCE`]: the buffer is too small.
    fn nrt_get_attached_efa_bdf(va: *const c_void, efa_bdf: *mut c_char, len: *mut usize) -> NRT_STATUS;
    /// The PCI address of a device, by its number in the container: 0, or a failure.
    fn nec_get_device_pci_bdf(neuron_dev: c_int, domain: *mut u32, bus_num: *mut u32, pci_slot: *mut u8, dev_func: *mut u8) -> c_int;
    /// How many physical cores are a logical one.
    fn nec_get_virtual_core_size(virtual_core_size: *mut u32) -> NRT_STATUS;
}
