//! Who is near whom.

use std::ffi::c_char;

use nearfab::{Basis, Core, Evidence, HostDevice, Near, NearList, PhysicalCore, Proximity};

use crate::bdf::NearfabBdf;
use crate::boundary::{Failure, Outcome, guard};
use crate::device::NEARFAB_NAME_SIZE;
use crate::host::NearfabHost;
use crate::pointer::{self, Array, Growing, Place};

/// What nearness is judged by.
#[repr(C)]
pub enum NearfabBasis {
    /// The vendor's pairing first, where the instance type has a table and the paired interface is attached; the rest
    /// by their place.
    Pairing = 0,
    /// The place on PCI and the NUMA node alone, as if nothing were known of pairings.
    Place = 1,
}

/// How far apart two devices are.
#[repr(C)]
pub enum NearfabProximity {
    /// Not known: the host shows no place on PCI or no NUMA node for one of them.
    Unknown = 0,
    /// They are one PCI function.
    SameFunction = 1,
    /// Below a common PCIe bridge.
    SameSwitch = 2,
    /// Below the same PCI root, with no common bridge: as near as it gets on hosts that show no bridges.
    SameRoot = 3,
    /// On the same NUMA node, below different roots.
    SameNuma = 4,
    /// On different NUMA nodes.
    OtherNuma = 5,
}

/// What kind of evidence a rank has.
#[repr(C)]
pub enum NearfabEvidence {
    /// One that this header has no number for: read evidence_text.
    Other = 0,
    /// The vendor's pairing, in the table of the instance type.
    Table = 1,
    /// The places on PCI or the NUMA nodes.
    Place = 2,
}

/// An EFA interface that is near a core.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NearfabNearEfa {
    /// Its PCI address.
    pub address: NearfabBdf,
    /// 1 for the nearest. Those of one rank are equally near: no order among them is meant.
    pub rank: u32,
    /// A NEARFAB_PROXIMITY_ number: how far away it is.
    pub proximity: u32,
    /// With NEARFAB_PROXIMITY_SAME_SWITCH, the bridges on the way that are not common to both; else 0.
    pub bridges: u32,
    /// A NEARFAB_EVIDENCE_ number: why it has its rank.
    pub evidence: u32,
    /// The evidence for people, such as "table trn2.48xlarge" or "same PCIe switch".
    pub evidence_text: [c_char; NEARFAB_NAME_SIZE],
}

/// A Neuron device that is near an EFA interface.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NearfabNearNeuron {
    /// The host's number of the device.
    pub index: u32,
    /// 1 for the nearest. Those of one rank are equally near: no order among them is meant.
    pub rank: u32,
    /// A NEARFAB_PROXIMITY_ number: how far away it is.
    pub proximity: u32,
    /// With NEARFAB_PROXIMITY_SAME_SWITCH, the bridges on the way that are not common to both; else 0.
    pub bridges: u32,
    /// A NEARFAB_EVIDENCE_ number: why it has its rank.
    pub evidence: u32,
    /// The evidence for people, such as "table trn2.48xlarge" or "same PCIe switch".
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

/// Lists the EFA interfaces by their nearness to a physical core: core number `core` of the Neuron device that the
/// host numbers `device`. `basis` is a NEARFAB_BASIS_ number.
///
/// `entries` has room for `*count` structures of `entry_size` bytes, which is sizeof *entries; the nearest are written
/// first, and `*count` becomes the number written. The whole list has nearfab_efa_count entries.
///
/// # Errors
/// NEARFAB_ERROR_NO_SUCH_DEVICE where the host has no such device or core, NEARFAB_ERROR_INVALID_HANDLE,
/// NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `count` points to a size_t, `entries` to `*count` times `entry_size` bytes.
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
    let core = Core { device: HostDevice(device), core: PhysicalCore(core) };
    // SAFETY: as our caller promises.
    guard(|| unsafe { put_list(|| Ok(host.get()?.near_core(core, to_basis(basis)?)?), entries, entry_size, count) })
}

/// Lists the Neuron devices by their nearness to the EFA interface at an address. `basis` is a NEARFAB_BASIS_ number.
///
/// `entries` has room for `*count` structures of `entry_size` bytes, which is sizeof *entries; the nearest are written
/// first, and `*count` becomes the number written. The whole list has nearfab_neuron_count entries.
///
/// # Errors
/// NEARFAB_ERROR_NO_SUCH_DEVICE where the host has no such interface, NEARFAB_ERROR_INVALID_HANDLE,
/// NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `count` points to a size_t, `entries` to `*count` times `entry_size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_near_efa(
    host: NearfabHost,
    address: NearfabBdf,
    basis: u32,
    entries: *mut NearfabNearNeuron,
    entry_size: usize,
    count: *mut usize,
) -> i32 {
    let list = || Ok(host.get()?.near_efa(address.to_rust()?, to_basis(basis)?)?);
    // SAFETY: as our caller promises.
    guard(|| unsafe { put_list(list, entries, entry_size, count) })
}

/// Tells whether this host lacks the EFA interface that the vendor pairs with a Neuron device, as when fewer
/// interfaces than possible were attached at launch: nearness is by place alone then. `address` gets the address of
/// the interface that is missing, and is left alone where none is.
///
/// # Errors
/// NEARFAB_ERROR_NO_SUCH_DEVICE where the host has no such device, NEARFAB_ERROR_INVALID_HANDLE,
/// NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `missing` points to a bool, `address` to a nearfab_bdf_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_missing_pair(
    host: NearfabHost,
    device: u32,
    missing: *mut bool,
    address: *mut NearfabBdf,
) -> i32 {
    guard(|| {
        // SAFETY: as our caller promises.
        let missing = unsafe { Place::new("missing", missing) }?;
        // SAFETY: as our caller promises.
        let address = unsafe { Place::new("address", address) }?;
        let pair = host.get()?.near_device(HostDevice(device), Basis::Pairing)?.missing_pair;
        missing.set(pair.is_some());
        if let Some(pair) = pair {
            address.set(pair.into());
        }
        Ok(())
    })
}

/// # Safety
/// `count` is null or points to a number, `entries` is null or points to that many times `entry_size` bytes.
unsafe fn put_list<T, E: Growing + for<'a> From<&'a Near<T>>>(
    list: impl FnOnce() -> Outcome<NearList<T>>,
    entries: *mut E,
    entry_size: usize,
    count: *mut usize,
) -> Outcome {
    // SAFETY: as our caller promises.
    let count = unsafe { Place::new("count", count) }?;
    // SAFETY: as our caller promises.
    let array = unsafe { Array::new("entries", entries, entry_size, count.get()) }?;
    count.set(array.fill(list()?.entries.iter().map(E::from)));
    Ok(())
}

/// The basis of a number from C, where any number may come.
fn to_basis(number: u32) -> Outcome<Basis> {
    const PAIRING: u32 = NearfabBasis::Pairing as u32;
    const PLACE: u32 = NearfabBasis::Place as u32;
    match number {
        PAIRING => Ok(Basis::Pairing),
        PLACE => Ok(Basis::Place),
        _ => Err(Failure::Argument(format!("there is no basis {number}: expected a NEARFAB_BASIS_ number"))),
    }
}

/// The number of a proximity, and the bridges crossed.
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
