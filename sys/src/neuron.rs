//! ioctls of the Neuron driver (`/dev/neuronN`): the numbers and arguments of the commands that nearfab sends.
//!
//! The declarations are written by hand from the behaviour of the drivers 2.24 to 2.30. The declarations are for 64-bit
//! processes: the driver serves no other processes. Three facts matter to a caller:
//!
//! - An ioctl returns -1 with errno, or the number of bytes that the driver could not copy. Every value but 0 is a
//!   failure.
//! - The driver compares the whole number of a command, and does not act by the direction and size in the number. The
//!   number of [`DEVICE_BASIC_INFO`] declares that the driver reads a pointer, but the driver fills a structure of 8
//!   bytes.
//! - *Any descriptor* marks a command that also works on a descriptor opened write-only. The other commands need a
//!   readable descriptor. The two kinds of descriptor have different side effects when they are opened and closed.

use core::ffi::c_ulong;

/// Fills a [`BasicInfo`]. Any descriptor.
pub const DEVICE_BASIC_INFO: c_ulong = 0x4008_4e64;
/// Fills a [`DriverInfo`]. Any descriptor.
pub const DRIVER_INFO_GET: c_ulong = 0x8018_4e6e;
/// Fills a [`BdfExt`]. Any descriptor.
pub const DEVICE_BDF_EXT: c_ulong = 0x8008_4e6a;
/// Fills a `u32` with the device's number on the host.
pub const HOST_DEVICE_ID: c_ulong = 0x8004_4e72;
/// Fills the [`NcMap`] that a [`NcMapRequest`] points to. Any descriptor.
pub const GET_LOGICAL_TO_PHYSICAL_NC_MAP: c_ulong = 0xc010_4e78;
/// Reserves the cores of a [`NcRange`] for the process. Any descriptor. Closing the descriptor frees the cores only if
/// the descriptor was opened write-only.
pub const NC_RANGE_MARK_EXT0: c_ulong = 0xc050_4e55;
/// Frees the cores in the bitmap of a [`NcRange`] that the process has reserved. Any descriptor.
pub const NC_RANGE_UNMARK_EXT0: c_ulong = 0x4050_4e56;
/// Fills a [`VaPlacement`] with the device whose memory is mapped at an address of the calling process. Any descriptor.
/// Fails with ENXIO if the address belongs to no device.
pub const GET_VA_PLACEMENT: c_ulong = 0x4010_4e83;
/// Fills an [`AppsInfo`].
pub const DEVICE_GET_ALL_APPS_INFO: c_ulong = 0x8008_4e07;
/// Finds the datastore of the process in a [`DatastoreInfo`], and keeps the datastore until [`RELEASE_NEURON_DS`].
pub const ACQUIRE_NEURON_DS: c_ulong = 0x8008_4e47;
/// Releases the datastore that [`ACQUIRE_NEURON_DS`] found.
pub const RELEASE_NEURON_DS: c_ulong = 0x8008_4e48;

/// The largest number of processes that can be attached to a device. An attached process has a readable descriptor of
/// the device.
pub const MAX_PROCESSES: usize = 16;
/// The largest number of entries in a core map.
pub const MAX_NC_MAP: usize = 128;
/// Flag of [`DriverInfo::feature_flags1`]: the driver supports [`NC_RANGE_MARK_EXT0`].
pub const FEATURE_BIG_CORE_MAPS: u64 = 8;
/// Value of [`NcMapRequest::mapping_version`]: the map follows the wiring of the cores, flipped dies included.
pub const NC_MAP_AS_WIRED: u32 = 0;
/// Value of [`AppsInfo::flags`]: the driver fills all fields of each process.
pub const APPS_ALL: u16 = 0xf;
/// The errno of a command that the device's architecture does not support. This errno is internal to the kernel and has
/// no name in user space. `EOPNOTSUPP` is another errno.
pub const ENOTSUPP: i32 = 524;

/// Argument of [`DEVICE_BASIC_INFO`].
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct BasicInfo {
    /// The generation of the architecture; 0 means none.
    pub architecture: u32,
    /// The revision of the architecture.
    pub revision: u32,
}

/// Argument of [`DRIVER_INFO_GET`].
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct DriverInfo {
    /// The generation of the architecture; 0 means none.
    pub architecture: u32,
    /// The revision of the architecture.
    pub revision: u32,
    /// Input: the version of this structure, 0.
    pub version: u32,
    /// Input: the size of this structure in bytes.
    pub size: u32,
    /// The features of the driver.
    pub feature_flags1: u64,
}

/// Argument of [`DEVICE_BDF_EXT`].
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct BdfExt {
    /// Input: the number of the device, relative to the descriptor's device, which is 0.
    pub nd_index: u32,
    /// The PCI domain.
    pub domain: u32,
    /// The PCI bus.
    pub bus: u32,
    /// The PCI device.
    pub slot: u8,
    /// The PCI function.
    pub func: u8,
}

/// Argument of [`GET_LOGICAL_TO_PHYSICAL_NC_MAP`].
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NcMapRequest {
    /// Input: the [`NcMap`] to fill.
    pub map: *mut NcMap,
    /// Input: the number of entries in `map`, at most [`MAX_NC_MAP`].
    pub max_entries: u32,
    /// Input: the kind of map, such as [`NC_MAP_AS_WIRED`].
    pub mapping_version: u32,
}

/// The map of logical cores to physical cores, for [`NcMapRequest::map`].
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NcMap {
    /// The number of entries that the driver filled.
    pub count: u32,
    /// The physical core of each logical core.
    pub entries: [NcMapEntry; MAX_NC_MAP],
}

impl Default for NcMap {
    fn default() -> Self {
        Self { count: 0, entries: [NcMapEntry::default(); MAX_NC_MAP] }
    }
}

/// A core of a [`NcMap`].
#[repr(C)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct NcMapEntry {
    /// The number of the device.
    pub device_id: u32,
    /// The number of the physical core on the device.
    pub nc: u32,
}

/// Argument of [`NC_RANGE_MARK_EXT0`] and [`NC_RANGE_UNMARK_EXT0`].
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct NcRange {
    /// Input: the number of consecutive cores to reserve.
    pub nc_count: u32,
    /// Input: the first core that the driver may choose, counted from the first core of the descriptor's device.
    pub start: u32,
    /// Input: the last core that the driver may choose.
    pub end: u32,
    /// After EBUSY: the largest number of consecutive free cores that the driver found.
    pub max_nc_available: u32,
    /// The cores that the driver reserved. For [`NC_RANGE_UNMARK_EXT0`], input: the cores to free.
    pub bitmap: [u64; 8],
}

/// Argument of [`DEVICE_GET_ALL_APPS_INFO`], with room for as many processes as a device can have.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct AppsInfo {
    /// Input: the fields to fill for each process.
    pub flags: u16,
    /// Input: the number of entries in this structure.
    pub capacity: u32,
    /// The number of entries that the driver filled.
    pub size: u32,
    /// The processes.
    pub apps: [AppInfo; MAX_PROCESSES],
}

/// A process that is attached to the device.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct AppInfo {
    /// The process's PID in the initial PID namespace.
    pub pid: i32,
    /// A bit map of the cores, among the first four, that the process has locked for a model.
    pub nc_lock_map: u8,
    /// The UUIDs of the models on these cores.
    pub uuids: [[u8; 32]; 4],
    /// The host memory that the driver allocated for the process, in bytes.
    pub host_mem_size: u64,
    /// The device memory that the process allocated, in bytes.
    pub device_mem_size: u64,
}

/// Argument of [`ACQUIRE_NEURON_DS`] and [`RELEASE_NEURON_DS`].
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct DatastoreInfo {
    /// Input: the PID of the datastore's process. 0 would create a datastore for the calling process.
    pub pid: i32,
    /// The offset for mmap of the datastore.
    pub mmap_offset: u64,
    /// The size of the datastore in bytes.
    pub size: u32,
}

/// Argument of [`GET_VA_PLACEMENT`].
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct VaPlacement {
    /// Input: the address.
    pub va: u64,
    /// The host's number of the device that owns the memory. The descriptor may be of another device.
    pub device_index: i32,
    /// The number of the device's memory.
    pub hbm_index: i32,
}
