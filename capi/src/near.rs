//! Nearness: the EFA interfaces near a core, and the Neuron devices near an interface.

use std::ffi::c_char;

use nearfab::{Basis, Core, Evidence, HostDevice, Near, NearList, PhysicalCore, Proximity};

use crate::bdf::NearfabBdf;
use crate::boundary::{Failure, Outcome, guard};
use crate::device::NEARFAB_NAME_SIZE;
use crate::host::NearfabHost;
use crate::pointer::{self, Array, Growing, Place};

/// The evidence that decides nearness.
#[repr(C)]
pub enum NearfabBasis {
    /// The vendor's pairing decides first, if the instance type has a table and the paired interface is attached. The
    /// places decide for all other devices.
    Pairing = 0,
    /// Only the places on PCI and the NUMA nodes decide. The vendor's pairing is ignored.
    Place = 1,
}

/// How far apart two devices are.
#[repr(C)]
pub enum NearfabProximity {
    /// Unknown: the host shows no place on PCI or no NUMA node for one of the two devices.
    Unknown = 0,
    /// Both devices are the same PCI function.
    SameFunction = 1,
    /// Both devices are below a common PCIe bridge.
    SameSwitch = 2,
    /// Both devices are below the same PCI root, without a common bridge. On hosts that show no bridges, SAME_ROOT is
    /// the closest level.
    SameRoot = 3,
    /// Both devices are on the same NUMA node, below different PCI roots.
    SameNuma = 4,
    /// The devices are on different NUMA nodes.
    OtherNuma = 5,
}

/// The kind of evidence for a rank.
#[repr(C)]
pub enum NearfabEvidence {
    /// Evidence without a number in this header: read evidence_text.
    Other = 0,
    /// The vendor's pairing, from the table of the instance type.
    Table = 1,
    /// The places on PCI or the NUMA nodes.
    Place = 2,
}

/// An EFA interface in a list by nearness to a core.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NearfabNearEfa {
    /// The PCI address of the interface.
    pub address: NearfabBdf,
    /// The place in the order of nearness, from 1. Interfaces of the same rank are equally near: their order means
    /// nothing. Rank 1 alone does not mean near: if nothing is known, every interface has rank 1.
    pub rank: u32,
    /// A NEARFAB_PROXIMITY_ number: how far the interface is from the core's device.
    pub proximity: u32,
    /// With NEARFAB_PROXIMITY_SAME_SWITCH, the number of bridges between the two that they do not have in common;
    /// otherwise 0.
    pub bridges: u32,
    /// A NEARFAB_EVIDENCE_ number: why the interface has its rank.
    pub evidence: u32,
    /// The evidence as text for people, such as "table trn2.48xlarge" or "same PCIe switch".
    pub evidence_text: [c_char; NEARFAB_NAME_SIZE],
}

/// A Neuron device in a list by nearness to an EFA interface.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NearfabNearNeuron {
    /// The host's number of the device: N in /dev/neuronN.
    pub index: u32,
    /// The place in the order of nearness, from 1. Devices of the same rank are equally near: their order means
    /// nothing. Rank 1 alone does not mean near: if nothing is known, every device has rank 1.
    pub rank: u32,
    /// A NEARFAB_PROXIMITY_ number: how far the device is from the interface.
    pub proximity: u32,
    /// With NEARFAB_PROXIMITY_SAME_SWITCH, the number of bridges between the two that they do not have in common;
    /// otherwise 0.
    pub bridges: u32,
    /// A NEARFAB_EVIDENCE_ number: why the device has its rank.
    pub evidence: u32,
    /// The evidence as text for people, such as "table trn2.48xlarge" or "same PCIe switch".
    pub evidence_text: [c_char; NEARFAB_NAME_SIZE],
}

pointer::growing!(NearfabNearEfa, first: 88, last: evidence_text);
pointer::growing!(NearfabNearNeuron, first: 84, last: evidence_text);

impl From<&Near<nearfab::Bdf>> for NearfabNearEfa {
    fn from(near: &Near<nearfab::Bdf>) -> Self {
        let (proximity, bridges) = proximity(near.proximity);
        Self {
            address: near.target.into(),
            rank: near.rank,
            proximity,
            bridges,
            evidence: evidence(&near.evidence),
            evidence_text: pointer::name(&near.evidence.to_string()),
        }
    }
}

impl From<&Near<HostDevice>> for NearfabNearNeuron {
    fn from(near: &Near<HostDevice>) -> Self {
        let (proximity, bridges) = proximity(near.proximity);
        Self {
            index: near.target.0,
            rank: near.rank,
            proximity,
            bridges,
            evidence: evidence(&near.evidence),
            evidence_text: pointer::name(&near.evidence.to_string()),
        }
    }
}

/// Lists all EFA interfaces by their nearness to a physical core: core number `core` of the Neuron device that has the
/// number `device` on the host. `basis` is a NEARFAB_BASIS_ number.
///
/// `entries` has room for `*count` structures of `entry_size` bytes; `entry_size` is sizeof *entries. The nearest
/// interfaces are written first, and `*count` becomes the number of entries written. The whole list has
/// nearfab_efa_count entries. To get only the nearest interfaces, call nearfab_nearest_to_core.
///
/// # Errors
/// NEARFAB_ERROR_NO_SUCH_DEVICE if the host has no such device or core, NEARFAB_ERROR_FORKED,
/// NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `count` points to a size_t, `entries` points to `*count` times `entry_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_near_core(
    host: NearfabHost,
    device: u32,
    core: u32,
    basis: u32,
    entries: *mut NearfabNearEfa,
    entry_size: usize,
    count: *mut usize,
) -> i32 {
    let list = || Ok(whole(&near_core(host, device, core, basis)?));
    // SAFETY: the caller guarantees that `count` is null or points to a size_t, and that `entries` is null or points to
    // `*count` times `entry_size` bytes; this call may write both.
    guard(|| unsafe { put_list(list, entries, entry_size, count) })
}

/// Lists the nearest EFA interfaces to a physical core that this process can use. The list has one interface if the
/// evidence decides, and several interfaces if they are equally near. The list is empty if nothing is known, or if this
/// process can use no interface.
/// The arguments and errors are those of nearfab_near_core.
///
/// # Safety
/// `count` points to a size_t, `entries` points to `*count` times `entry_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_nearest_to_core(
    host: NearfabHost,
    device: u32,
    core: u32,
    basis: u32,
    entries: *mut NearfabNearEfa,
    entry_size: usize,
    count: *mut usize,
) -> i32 {
    let list = || Ok(nearest(&near_core(host, device, core, basis)?));
    // SAFETY: the caller guarantees that `count` is null or points to a size_t, and that `entries` is null or points to
    // `*count` times `entry_size` bytes; this call may write both.
    guard(|| unsafe { put_list(list, entries, entry_size, count) })
}

/// Lists all Neuron devices by their nearness to the EFA interface at a PCI address. `basis` is a NEARFAB_BASIS_
/// number.
///
/// `entries` has room for `*count` structures of `entry_size` bytes; `entry_size` is sizeof *entries. The nearest
/// devices are written first, and `*count` becomes the number of entries written. The whole list has
/// nearfab_neuron_count entries. To get only the nearest devices, call nearfab_nearest_to_efa.
///
/// # Errors
/// NEARFAB_ERROR_NO_SUCH_DEVICE if the host has no such interface, NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE,
/// NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `count` points to a size_t, `entries` points to `*count` times `entry_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_near_efa(
    host: NearfabHost,
    address: NearfabBdf,
    basis: u32,
    entries: *mut NearfabNearNeuron,
    entry_size: usize,
    count: *mut usize,
) -> i32 {
    let list = || Ok(whole(&near_efa(host, address, basis)?));
    // SAFETY: the caller guarantees that `count` is null or points to a size_t, and that `entries` is null or points to
    // `*count` times `entry_size` bytes; this call may write both.
    guard(|| unsafe { put_list(list, entries, entry_size, count) })
}

/// Lists the nearest Neuron devices to an EFA interface that this process can use. The list has several devices if they
/// are equally near. The list is empty if nothing is known, or if this process can use no device. The arguments and errors are those of
/// nearfab_near_efa.
///
/// # Safety
/// `count` points to a size_t, `entries` points to `*count` times `entry_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_nearest_to_efa(
    host: NearfabHost,
    address: NearfabBdf,
    basis: u32,
    entries: *mut NearfabNearNeuron,
    entry_size: usize,
    count: *mut usize,
) -> i32 {
    let list = || Ok(nearest(&near_efa(host, address, basis)?));
    // SAFETY: the caller guarantees that `count` is null or points to a size_t, and that `entries` is null or points to
    // `*count` times `entry_size` bytes; this call may write both.
    guard(|| unsafe { put_list(list, entries, entry_size, count) })
}

/// Finds out whether this host lacks the EFA interface that the vendor pairs with a Neuron device. A host lacks paired
/// interfaces if fewer interfaces than possible were attached at launch. Without the paired interface, only the places
/// decide nearness. If the interface is missing, `*address` becomes the PCI address of the interface; otherwise
/// `*address` is not changed.
///
/// # Errors
/// NEARFAB_ERROR_NO_SUCH_DEVICE if the host has no such device, NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE,
/// NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `missing` points to a bool, `address` points to a nearfab_bdf_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_missing_pair(
    host: NearfabHost,
    device: u32,
    missing: *mut bool,
    address: *mut NearfabBdf,
) -> i32 {
    guard(|| {
        // SAFETY: the caller guarantees that `missing` is null or points to a bool that this call may write.
        let missing = unsafe { Place::new("missing", missing) }?;
        // SAFETY: the caller guarantees that `address` is null or points to a nearfab_bdf_t that this call may write.
        let address = unsafe { Place::new("address", address) }?;
        let pair = host.get()?.near_device(HostDevice(device), Basis::Pairing)?.missing_pair;
        missing.set(pair.is_some());
        if let Some(pair) = pair {
            address.set(pair.into());
        }
        Ok(())
    })
}

fn near_core(host: NearfabHost, device: u32, core: u32, basis: u32) -> Outcome<NearList<nearfab::Bdf>> {
    let core = Core { device: HostDevice(device), core: PhysicalCore(core) };
    Ok(host.get()?.near_core(core, to_basis(basis)?)?)
}

fn near_efa(host: NearfabHost, address: NearfabBdf, basis: u32) -> Outcome<NearList<HostDevice>> {
    Ok(host.get()?.near_efa(address.to_rust()?, to_basis(basis)?)?)
}

/// Converts every entry of a list.
fn whole<T, E: for<'a> From<&'a Near<T>>>(list: &NearList<T>) -> Vec<E> {
    list.entries.iter().map(E::from).collect()
}

/// Converts the nearest entries of a list.
fn nearest<T, E: for<'a> From<&'a Near<T>>>(list: &NearList<T>) -> Vec<E> {
    list.nearest().map(E::from).collect()
}

/// Writes a list into the caller's array, and the number of entries written into `count`.
///
/// # Safety
/// `count` is null or points to a number, `entries` is null or points to that many times `entry_size` bytes; this call
/// may write both.
unsafe fn put_list<E: Growing>(
    list: impl FnOnce() -> Outcome<Vec<E>>,
    entries: *mut E,
    entry_size: usize,
    count: *mut usize,
) -> Outcome {
    // SAFETY: the caller guarantees that `count` is null or points to a number that this call may write.
    let count = unsafe { Place::new("count", count) }?;
    // SAFETY: the caller guarantees that `entries` is null or points to `*count` times `entry_size` bytes that this
    // call may write.
    let array = unsafe { Array::new("entries", entries, entry_size, count.get()) }?;
    count.set(array.fill(list()?));
    Ok(())
}

/// Converts the number of a basis. C callers can pass any number.
fn to_basis(number: u32) -> Outcome<Basis> {
    const PAIRING: u32 = NearfabBasis::Pairing as u32;
    const PLACE: u32 = NearfabBasis::Place as u32;
    match number {
        PAIRING => Ok(Basis::Pairing),
        PLACE => Ok(Basis::Place),
        _ => Err(Failure::Argument(format!("{number} is not a basis: expected a NEARFAB_BASIS_ number"))),
    }
}

/// Converts a proximity to its number and the number of bridges.
fn proximity(proximity: Proximity) -> (u32, u32) {
    let (number, bridges) = match proximity {
        Proximity::SameFunction => (NearfabProximity::SameFunction, 0),
        Proximity::SameSwitch { bridges } => (NearfabProximity::SameSwitch, bridges),
        Proximity::SameRoot => (NearfabProximity::SameRoot, 0),
        Proximity::SameNuma => (NearfabProximity::SameNuma, 0),
        Proximity::OtherNuma => (NearfabProximity::OtherNuma, 0),
        _ => (NearfabProximity::Unknown, 0),
    };
    (number as u32, u32::try_from(bridges).unwrap_or(u32::MAX))
}

fn evidence(evidence: &Evidence) -> u32 {
    let number = match evidence {
        Evidence::Table { .. } => NearfabEvidence::Table,
        Evidence::Place { .. } => NearfabEvidence::Place,
        _ => NearfabEvidence::Other,
    };
    number as u32
}
