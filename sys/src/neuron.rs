//! ioctls of the Neuron driver (`/dev/neuronN`): the numbers and arguments of those that only ask.
//!
//! Written by hand from what the drivers 2.24 to 2.30 do, for 64-bit processes: the driver serves no others. What to know
//! before issuing one:
//!
//! - An ioctl returns -1 with errno, or the number of bytes that the driver could not copy: anything but 0 is a failure.
//! - The direction and size in a number are what the driver compares, not what it does: [`DEVICE_BASIC_INFO`] is declared
//!   as writing a pointer and fills a structure of 8 bytes.
//! - *Any* marks a command that a descriptor opened write-only answers; the others need one that can be read. The two
//!   kinds differ in what opening and closing them does to the machine.

use core::ffi::c_ulong;

/// Fills a [`BasicInfo`]. Any.
pub const DEVICE_BASIC_INFO: c_ulong = 0x4008_4e64;
/// Fills a [`DriverInfo`]. Any.
pub const DRIVER_INFO_GET: c_ulong = 0x8018_4e6e;
/// Fills a [`BdfExt`]. Any.
pub const DEVICE_BDF_EXT: c_ulong = 0x8008_4e6a;
/// Fills a `u32`: the host's number of the device.
pub const HOST_DEVICE_ID: c_ulong = 0x8004_4e72;
/// Fills what a [`NcMapRequest`] points to. Any.
pub const GET_LOGICAL_TO_PHYSICAL_NC_MAP: c_ulong = 0xc010_4e78;
/// Reserves cores for the process, as a [`NcRange`] says. Any, and only on a write-only descriptor are they freed again
/// when it is closed.
pub const NC_RANGE_MARK_EXT0: c_ulong = 0xc050_4e55;
/// Frees the cores in the bitmap of a [`NcRange`] that are the process's own. Any.
pub const NC_RANGE_UNMARK_EXT0: c_ulong = 0x4050_4e56;
/// Tells whose memory is at an address of the process that asks, in a [`VaPlacement`]. Any. ENXIO: no device's.
pub const GET_VA_PLACEMENT: c_ulong = 0x4010_4e83;
/// Fills an [`AppsInfo`].
pub const DEVICE_GET_ALL_APPS_INFO: c_ulong = 0x8008_4e07;
/// Finds a process's datastore, as a [`DatastoreInfo`] says, and keeps it until [`RELEASE_NEURON_DS`].
pub const ACQUIRE_NEURON_DS: c_ulong = 0x8008_4e47;
/// Gives back what [`ACQUIRE_NEURON_DS`] found.
pub const RELEASE_NEURON_DS: c_ulong = 0x8008_4e48;

/// The most processes that can have a device open for more than questions.
pub const MAX_PROCESSES: usize = 16;
/// The most entries of a core map.
pub const MAX_NC_MAP: usize = 128;
/// In [`DriverInfo::feature_flags1`]: the driver knows [`NC_RANGE_MARK_EXT0`].
pub const FEATURE_BIG_CORE_MAPS: u64 = 8;
/// In [`NcMapRequest::mapping_version`]: as the cores are wired, a flipped die included.
pub const NC_MAP_AS_WIRED: u32 = 0;
/// In [`AppsInfo::flags`]: everything there is to tell of a process.
pub const APPS_ALL: u16 = 0xf;
/// errno of what an architecture has not. It is the kernel's own and has no name in user space (it is not `EOPNOTSUPP`).
pub const ENOTSUPP: i32 = 524;

/// Argument of [`DEVICE_BASIC_INFO`].
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct BasicInfo {
    /// The generation of the architecture; 0 is none.
    pub architecture: u32,
    /// Its revision.
    pub revision: u32,
}

/// Argument of [`DRIVER_INFO_GET`].
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct DriverInfo {
    /// The generation of the architecture; 0 is none.
    pub architecture: u32,
    /// Its revision.
    pub revision: u32,
    /// In: the version of this structure, 0.
    pub version: u32,
    /// In: its size.
    pub size: u32,
    /// What the driver can do.
    pub feature_flags1: u64,
}

/// Argument of [`DEVICE_BDF_EXT`].
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct BdfExt {
    /// In: counted from the device that the descriptor is of, which is 0.
    pub nd_index: u32,
    /// PCI domain.
    pub domain: u32,
    /// PCI bus.
    pub bus: u32,
    /// PCI device.
    pub slot: u8,
    /// PCI function.
    pub func: u8,
}

/// Argument of [`GET_LOGICAL_TO_PHYSICAL_NC_MAP`].
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NcMapRequest {
    /// In: the [`NcMap`] to fill.
    pub map: *mut NcMap,
    /// In: how many entries fit in it, at most [`MAX_NC_MAP`].
    pub max_entries: u32,
    /// In: which map.
    pub mapping_version: u32,
}

/// What [`NcMapRequest::map`] points to.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NcMap {
    /// How many entries were filled.
    pub count: u32,
    /// The physical core of each logical one.
    pub entries: [NcMapEntry; MAX_NC_MAP],
}

impl Default for NcMap {
    fn default() -> Self {
        Self { count: 0, entries: [NcMapEntry::default(); MAX_NC_MAP] }
    }
}

/// One core of a [`NcMap`].
#[repr(C)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct NcMapEntry {
    /// The number of the device.
    pub device_id: u32,
    /// The physical core on it.
    pub nc: u32,
}

/// Argument of [`NC_RANGE_MARK_EXT0`] and [`NC_RANGE_UNMARK_EXT0`].
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct NcRange {
    /// In: how many cores in a row are wanted.
    pub nc_count: u32,
    /// In: the first that will do, counted from the first of the descriptor's device.
    pub start: u32,
    /// In: the last.
    pub end: u32,
    /// Where there are not so many (EBUSY): how many in a row were found free.
    pub max_nc_available: u32,
    /// The cores that were reserved, or are to be freed.
    pub bitmap: [u64; 8],
}

/// Argument of [`DEVICE_GET_ALL_APPS_INFO`], with room for as many processes as a device can have.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct AppsInfo {
    /// In: what to tell of each.
    pub flags: u16,
    /// In: how many entries there are in this structure.
    pub capacity: u32,
    /// How many of them were filled.
    pub size: u32,
    /// The processes.
    pub apps: [AppInfo; MAX_PROCESSES],
}

/// A process that has the device open for more than questions.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct AppInfo {
    /// Its number in the initial PID namespace.
    pub pid: i32,
    /// Which of the first four cores it has locked for a model.
    pub nc_lock_map: u8,
    /// The models that it has on them.
    pub uuids: [[u8; 32]; 4],
    /// Bytes of host memory that the driver allocated for it.
    pub host_mem_size: u64,
    /// Bytes of device memory that it has allocated.
    pub device_mem_size: u64,
}

/// Argument of [`ACQUIRE_NEURON_DS`] and [`RELEASE_NEURON_DS`].
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct DatastoreInfo {
    /// In: whose. 0 would make one for the calling process.
    pub pid: i32,
    /// Where it can be mapped.
    pub mmap_offset: u64,
    /// Its size in bytes.
    pub size: u32,
}

/// Argument of [`GET_VA_PLACEMENT`].
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct VaPlacement {
    /// In: the address.
    pub va: u64,
    /// The host's number of the device, whatever device the descriptor is of.
    pub device_index: i32,
    /// Which of its memories.
    pub hbm_index: i32,
}
