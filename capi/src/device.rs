//! The devices of a host.

use std::ffi::c_char;

use nearfab::{EfaInterface, Host, NeuronDevice, NodeAccess};

use crate::bdf::NearfabBdf;
use crate::boundary::{Failure, Outcome, guard};
use crate::host::NearfabHost;
use crate::pointer::{self, Array, Growing, Place};

/// Bytes of a name in a structure, the NUL included. Longer names are cut.
pub const NEARFAB_NAME_SIZE: usize = 64;

/// Whether this process may use a device node, as access(2) tells. A container's device rules can still refuse what
/// is granted here; only opening shows that.
#[repr(C)]
pub enum NearfabAccess {
    /// Not known: the host is no machine, or the question failed.
    Unknown = 0,
    /// The node is there, readable and writable.
    Granted = 1,
    /// The node is there and this user may not read and write it.
    Refused = 2,
    /// There is no node.
    Missing = 3,
}

/// A Neuron device.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NearfabNeuronInfo {
    /// The host's number of the device: the N of /dev/neuronN.
    pub index: u32,
    /// The number of physical NeuronCores.
    pub cores: u32,
    /// A NEARFAB_ACCESS_ number, for /dev/neuronN.
    pub access: u32,
    /// The NUMA node, -1 where it is not known.
    pub numa_node: i32,
    /// The PCI address, where known.
    pub address: NearfabBdf,
    /// Whether the PCI address is known.
    pub address_known: bool,
    /// Zero.
    pub reserved: [u8; 3],
    /// The product as the driver names it, such as "Trainium2"; empty where the driver does not say.
    pub product: [c_char; NEARFAB_NAME_SIZE],
}

/// An EFA interface.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NearfabEfaInfo {
    /// The PCI address, which identifies it.
    pub address: NearfabBdf,
    /// The NUMA node, -1 where it is not known.
    pub numa_node: i32,
    /// The N of /dev/infiniband/uverbsN, -1 where the driver made none.
    pub uverbs: i32,
    /// A NEARFAB_ACCESS_ number, for that node.
    pub access: u32,
    /// The RDMA device's name, such as "rdmap201s0"; empty where the driver made none.
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

/// The number of Neuron devices that the driver shows.
///
/// # Errors
/// NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `count` points to a size_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_neuron_count(host: NearfabHost, count: *mut usize) -> i32 {
    // SAFETY: as our caller promises.
    guard(|| unsafe { put_count(host, count, |host| host.neuron().len()) })
}

/// Describes the Neuron device at `position`, from 0 on in the order of the devices' numbers (of which some may be
/// missing). `size` is sizeof *info.
///
/// # Errors
/// NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
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
    // SAFETY: as our caller promises.
    guard(|| unsafe { put_info(host.get()?.neuron(), position, info, size) })
}

/// The number of EFA interfaces.
///
/// # Errors
/// NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `count` points to a size_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_efa_count(host: NearfabHost, count: *mut usize) -> i32 {
    // SAFETY: as our caller promises.
    guard(|| unsafe { put_count(host, count, |host| host.efa().len()) })
}

/// Describes the EFA interface at `position`, from 0 on in the order of the addresses. `size` is sizeof *info.
///
/// # Errors
/// NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
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
    // SAFETY: as our caller promises.
    guard(|| unsafe { put_info(host.get()?.efa(), position, info, size) })
}

/// # Safety
/// `count` is null or points to a number.
unsafe fn put_count(host: NearfabHost, count: *mut usize, of: impl FnOnce(&Host) -> usize) -> Outcome {
    // SAFETY: as our caller promises.
    let count = unsafe { Place::new("count", count) }?;
    count.set(of(&host.get()?));
    Ok(())
}

/// # Safety
/// `info` is null or points to `size` bytes.
unsafe fn put_info<'a, D, I: Growing + From<&'a D>>(
    devices: &'a [D],
    position: usize,
    info: *mut I,
    size: usize,
) -> Outcome {
    // SAFETY: as our caller promises.
    let place = unsafe { Array::new("info", info, size, 1) }?;
    let device = devices.get(position).ok_or_else(|| {
        Failure::Argument(format!("there is no position {position} in a list of {} devices", devices.len()))
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
