//! The devices of a host.

use std::ffi::c_char;

use nearfab::{EfaInterface, Host, NeuronDevice, NodeAccess};

use crate::bdf::NearfabBdf;
use crate::boundary::{Failure, Outcome, guard};
use crate::host::NearfabHost;
use crate::pointer::{self, Array, Growing, Place};

/// The size of a name in a structure, in bytes, including the NUL. Longer names are cut.
pub const NEARFAB_NAME_SIZE: usize = 64;

/// Whether this process may use a device node, as access(2) reports. The device rules of a container can refuse a node
/// that access(2) grants. Only opening the node shows such a refusal.
#[repr(C)]
pub enum NearfabAccess {
    /// Unknown: the host is not a machine, or access(2) failed.
    Unknown = 0,
    /// The node exists, and this user may read and write the node.
    Granted = 1,
    /// The node exists, and this user may not read and write the node.
    Refused = 2,
    /// The node does not exist.
    Missing = 3,
}

/// A Neuron device.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NearfabNeuronInfo {
    /// The host's number of the device: N in /dev/neuronN.
    pub index: u32,
    /// The number of physical NeuronCores.
    pub cores: u32,
    /// A NEARFAB_ACCESS_ number for /dev/neuronN.
    pub access: u32,
    /// The NUMA node, or -1 if it is unknown.
    pub numa_node: i32,
    /// The PCI address, if address_known is true.
    pub address: NearfabBdf,
    /// Whether the PCI address is known.
    pub address_known: bool,
    /// Always 0.
    pub reserved: [u8; 3],
    /// The driver's name of the product, such as "Trainium2", or "" if the driver does not name the product.
    pub product: [c_char; NEARFAB_NAME_SIZE],
}

/// An EFA interface.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NearfabEfaInfo {
    /// The PCI address, which identifies the interface.
    pub address: NearfabBdf,
    /// The NUMA node, or -1 if it is unknown.
    pub numa_node: i32,
    /// N in /dev/infiniband/uverbsN, or -1 if the driver made no such node.
    pub uverbs: i32,
    /// A NEARFAB_ACCESS_ number for /dev/infiniband/uverbsN.
    pub access: u32,
    /// The name of the RDMA device, such as "rdmap201s0", or "" if the driver made no RDMA device.
    pub rdma: [c_char; NEARFAB_NAME_SIZE],
}

pointer::growing!(NearfabNeuronInfo, first: 92, last: product);
pointer::growing!(NearfabEfaInfo, first: 84, last: rdma);

impl From<&NeuronDevice> for NearfabNeuronInfo {
    fn from(device: &NeuronDevice) -> Self {
        Self {
            index: device.index.0,
            cores: device.cores,
            access: access(device.access),
            numa_node: number_or_minus_one(device.function().and_then(|function| function.numa)),
            address: device.address().map(NearfabBdf::from).unwrap_or_default(),
            address_known: device.address().is_some(),
            reserved: [0; 3],
            product: pointer::name(device.product.as_deref().unwrap_or_default()),
        }
    }
}

impl From<&EfaInterface> for NearfabEfaInfo {
    fn from(efa: &EfaInterface) -> Self {
        Self {
            address: efa.address().into(),
            numa_node: number_or_minus_one(efa.function.numa),
            uverbs: number_or_minus_one(efa.uverbs),
            access: access(efa.access),
            rdma: pointer::name(efa.rdma.as_deref().unwrap_or_default()),
        }
    }
}

/// Gets the number of Neuron devices that the Neuron driver shows.
///
/// # Errors
/// NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `count` points to a size_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_neuron_count(host: NearfabHost, count: *mut usize) -> i32 {
    // SAFETY: the caller guarantees that `count` is null or points to a size_t that this call may write.
    guard(|| unsafe { put_count(host, count, |host| host.neuron_devices().len()) })
}

/// Describes the Neuron device at `position`. Positions start at 0 and follow the order of the device numbers. The
/// device numbers may have gaps. `size` is sizeof *info.
///
/// # Errors
/// NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `info` points to `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_neuron_get(
    host: NearfabHost,
    position: usize,
    info: *mut NearfabNeuronInfo,
    size: usize,
) -> i32 {
    // SAFETY: the caller guarantees that `info` is null or points to `size` bytes that this call may write.
    guard(|| unsafe { put_info(host.get()?.neuron_devices(), position, info, size) })
}

/// Gets the number of EFA interfaces.
///
/// # Errors
/// NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `count` points to a size_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_efa_count(host: NearfabHost, count: *mut usize) -> i32 {
    // SAFETY: the caller guarantees that `count` is null or points to a size_t that this call may write.
    guard(|| unsafe { put_count(host, count, |host| host.efa_interfaces().len()) })
}

/// Describes the EFA interface at `position`. Positions start at 0 and follow the order of the PCI addresses. `size` is
/// sizeof *info.
///
/// # Errors
/// NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `info` points to `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_efa_get(
    host: NearfabHost,
    position: usize,
    info: *mut NearfabEfaInfo,
    size: usize,
) -> i32 {
    // SAFETY: the caller guarantees that `info` is null or points to `size` bytes that this call may write.
    guard(|| unsafe { put_info(host.get()?.efa_interfaces(), position, info, size) })
}

/// Writes the number of some devices of a host.
///
/// # Safety
/// `count` is null or points to a number that this call may write.
unsafe fn put_count(host: NearfabHost, count: *mut usize, devices: impl FnOnce(&Host) -> usize) -> Outcome {
    // SAFETY: the caller guarantees that `count` is null or points to a number that this call may write.
    let count = unsafe { Place::new("count", count) }?;
    count.set(devices(&host.get()?));
    Ok(())
}

/// Writes the description of one device of a list.
///
/// # Safety
/// `info` is null or points to `size` bytes that this call may write.
unsafe fn put_info<'a, D, I: Growing + From<&'a D>>(
    devices: &'a [D],
    position: usize,
    info: *mut I,
    size: usize,
) -> Outcome {
    // SAFETY: the caller guarantees that `info` is null or points to `size` bytes that this call may write.
    let place = unsafe { Array::new("info", info, size, 1) }?;
    let device = devices.get(position).ok_or_else(|| {
        let count = devices.len();
        Failure::Argument(format!("position {position} is out of range: the host has {count} such devices"))
    })?;
    place.fill([device.into()]);
    Ok(())
}

fn access(access: NodeAccess) -> u32 {
    let number = match access {
        NodeAccess::Granted => NearfabAccess::Granted,
        NodeAccess::Refused => NearfabAccess::Refused,
        NodeAccess::Missing => NearfabAccess::Missing,
        _ => NearfabAccess::Unknown,
    };
    number as u32
}

fn number_or_minus_one(number: Option<u32>) -> i32 {
    number.and_then(|number| i32::try_from(number).ok()).unwrap_or(-1)
}
