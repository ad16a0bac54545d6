//! The answer to "which EFA interface is near this core?", and the reverse, each with its evidence.

use std::fmt;

use serde::Serialize;

use super::Proximity;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::scan::neuron::NeuronDevice;
use crate::scan::pci::PciFunction;
use crate::tables::instances::{GroupSize, InstanceTable};
use crate::types::{Bdf, Core, HostDevice};

/// What nearness is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Basis {
    /// The vendor's pairing first, where the instance type has a table and the paired interface is attached; the rest
    /// by their place.
    #[default]
    Pairing,
    /// The place on PCI and the NUMA node alone, as if nothing were known of pairings.
    Place,
}

/// Why something is said to be near.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Evidence {
    /// The vendor's library, libnrt, of this process, which was asked about an address.
    Runtime,
    /// The vendor's pairing.
    Table {
        /// The instance type whose table has it.
        instance_type: String,
    },
    /// Their places on PCI or their NUMA nodes.
    Place {
        /// How near these are.
        proximity: Proximity,
    },
}

impl Evidence {
    fn of(table: &InstanceTable) -> Self {
        Self::Table { instance_type: table.instance_type.to_owned() }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime => f.pad("libnrt"),
            Self::Table { instance_type } => f.pad(&format!("table {instance_type}")),
            Self::Place { proximity } => proximity.fmt(f),
        }
    }
}

/// One neighbour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Near<T> {
    /// 1 for the nearest. Neighbours of the same rank are equally near: no order among them is meant.
    pub rank: u32,
    /// The neighbour.
    pub target: T,
    /// How far away it is.
    pub proximity: Proximity,
    /// Why it has its rank.
    pub evidence: Evidence,
}

/// Neighbours, the nearest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NearList<T> {
    /// Every candidate of the host, by rank and then by address or number.
    pub entries: Vec<Near<T>>,
    /// The interface that the table pairs with the device, or libnrt with an address, and that this host does not have, as when
    /// fewer interfaces than possible were attached at launch. The list does without it then.
    pub missing_pair: Option<Bdf>,
}

impl<T> NearList<T> {
    /// The entries of rank 1: one where the evidence decides, several on a tie, none where nothing is known.
    pub fn nearest(&self) -> impl Iterator<Item = &Near<T>> {
        let unknown = Evidence::Place { proximity: Proximity::Unknown };
        self.entries.iter().take_while(move |near| near.rank == 1 && near.evidence != unknown)
    }
}

impl Host {
    /// The EFA interfaces by their nearness to a core.
    ///
    /// ```
    /// use nearfab::{Basis, Host};
    /// let host = Host::from_instance("trn2.48xlarge")?;
    /// let near = host.near_core("neuron5:0".parse()?, Basis::Pairing)?;
    /// assert_eq!(near.entries[0].target.to_string(), "0000:57:00.0");
    /// assert_eq!(near.entries[0].evidence.to_string(), "table trn2.48xlarge");
    ///
    /// // By place alone both interfaces of the switch are as near.
    /// let near = host.near_core("neuron5:0".parse()?, Basis::Place)?;
    /// assert_eq!(near.nearest().count(), 2);
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] where the host has no such device or core.
    pub fn near_core(&self, core: Core, basis: Basis) -> Result<NearList<Bdf>> {
        let device = self.find_neuron(core.device)?;
        if core.core.0 >= device.cores {
            return Err(Error::NoSuchDevice {
                wanted: format!("core {core}"),
                present: format!("{} cores on {}", device.cores, core.device),
            });
        }
        // All cores of a device share its one PCI function.
        self.near_device(core.device, basis)
    }

    /// The EFA interfaces by their nearness to a Neuron device; see [`Host::near_core`].
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] where the host has no such device.
    pub fn near_device(&self, device: HostDevice, basis: Basis) -> Result<NearList<Bdf>> {
        let device = self.find_neuron(device)?;
        let pairing = self.pairing(basis);
        let paired = pairing.and_then(|table| pair(table, device));
        let candidates = self.efa().iter().map(|efa| {
            let proximity = Proximity::between(device.function(), Some(&efa.function));
            (efa.address(), proximity, paired == Some(efa.address()))
        });
        let entries = ranked(candidates.collect(), pairing.map(Evidence::of));
        let missing_pair = paired.filter(|address| self.find_efa(*address).is_err());
        Ok(NearList { entries, missing_pair })
    }

    /// The EFA interfaces, of which libnrt says that this one is near; how far away the others are is not known.
    #[cfg(feature = "live")]
    pub(crate) fn near_by_runtime(&self, interface: Bdf) -> NearList<Bdf> {
        let candidates = self.efa().iter().map(|efa| (efa.address(), Proximity::Unknown, efa.address() == interface));
        NearList { entries: ranked(candidates.collect(), Some(Evidence::Runtime)), missing_pair: None }
    }

    fn pairing(&self, basis: Basis) -> Option<&'static InstanceTable> {
        self.table().filter(|_| basis == Basis::Pairing)
    }

    /// The Neuron devices by their nearness to an EFA interface. On trn1.32xlarge each interface is paired with two.
    ///
    /// ```
    /// use nearfab::{Basis, Host};
    /// let host = Host::from_instance("trn1.32xlarge")?;
    /// let near = host.near_efa("0000:20:19.0".parse()?, Basis::Pairing)?;
    /// let devices: Vec<u32> = near.nearest().map(|near| near.target.0).collect();
    /// assert_eq!(devices, [4, 5]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] where the host has no such interface.
    pub fn near_efa(&self, address: Bdf, basis: Basis) -> Result<NearList<HostDevice>> {
        let efa = self.find_efa(address)?;
        let pairing = self.pairing(basis);
        let candidates = self.neuron().iter().map(|device| {
            let proximity = Proximity::between(device.function(), Some(&efa.function));
            (device.index, proximity, pairing.and_then(|table| pair(table, device)) == Some(address))
        });
        Ok(NearList { entries: ranked(candidates.collect(), pairing.map(Evidence::of)), missing_pair: None })
    }

    /// The EFA interfaces by their nearness to an accelerator's PCI function, by place: a GPU, which no table pairs, or a
    /// Neuron device of whatever number. Those of one rank stand in the order of their addresses; on p5 four are nearest to
    /// each GPU.
    ///
    /// ```
    /// use nearfab::Host;
    /// let host = Host::from_instance("p5.48xlarge")?;
    /// let near = host.near_function("0000:53:00.0".parse()?)?;
    /// let interfaces: Vec<String> = near.nearest().map(|near| near.target.to_string()).collect();
    /// assert_eq!(interfaces, ["0000:4f:00.0", "0000:50:00.0", "0000:51:00.0", "0000:52:00.0"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] where the host has no accelerator there.
    pub fn near_function(&self, address: Bdf) -> Result<NearList<Bdf>> {
        let function = self.accelerators().find(|function| function.address == address).ok_or_else(|| {
            let present: Vec<String> = self.accelerators().map(|function| function.address.to_string()).collect();
            let present = if present.is_empty() { "no accelerator".to_owned() } else { present.join(", ") };
            Error::NoSuchDevice { wanted: format!("accelerator at {address}"), present }
        })?;
        Ok(by_place(function, self.efa().iter().map(|efa| &efa.function)))
    }

    /// The functions of accelerators by their nearness to an EFA interface, by place; see [`Host::near_function`].
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] where the host has no such interface.
    pub fn functions_near_efa(&self, address: Bdf) -> Result<NearList<Bdf>> {
        let efa = self.find_efa(address)?;
        Ok(by_place(&efa.function, self.accelerators()))
    }

    /// The PCI functions of GPUs and Neuron devices, those without a number or a driver included.
    fn accelerators(&self) -> impl Iterator<Item = &PciFunction> {
        let numbered = self.neuron().iter().filter_map(NeuronDevice::function);
        let gpus = self.gpus().iter().map(|gpu| &gpu.function);
        numbered.chain(self.unnumbered()).chain(self.driverless()).chain(gpus)
    }

    /// The id of the device group that a Neuron device is in; see [`InstanceTable::group_id`]. `None` where the device is
    /// not where the table says.
    #[must_use]
    pub fn device_group(&self, device: HostDevice, size: GroupSize) -> Option<String> {
        let table = self.table()?;
        pair(table, self.find_neuron(device).ok()?)?;
        table.group_id(device, size)
    }

    /// The id of the device group that an EFA interface is in: that of the Neuron devices it is paired with, where these
    /// are all in one group of that size.
    #[must_use]
    pub fn efa_group(&self, address: Bdf, size: GroupSize) -> Option<String> {
        let table = self.table()?;
        let paired = table.neuron.iter().filter(|row| row.efa == Some(address));
        let mut ids = paired.map(|row| table.group_id(row.index, size));
        let id = ids.next()??;
        ids.all(|other| other.as_ref() == Some(&id)).then_some(id)
    }
}

/// The interface that the table pairs with the device, unless the device is elsewhere than the table says: then the
/// pairing is about other hardware.
fn pair(table: &InstanceTable, device: &NeuronDevice) -> Option<Bdf> {
    let elsewhere = table.address(device.index).is_some_and(|address| device.address() != Some(address));
    if elsewhere { None } else { table.neuron(device.index)?.efa }
}

fn by_place<'a>(from: &PciFunction, candidates: impl Iterator<Item = &'a PciFunction>) -> NearList<Bdf> {
    let candidates = candidates.map(|to| (to.address, Proximity::between(Some(from), Some(to)), false));
    NearList { entries: ranked(candidates.collect(), None), missing_pair: None }
}

/// Orders the candidates (target, proximity, whether paired) and numbers them densely: equal means equally near.
/// `pairs`: how it is known of the pairs that they are.
fn ranked<T: Copy + Ord>(mut candidates: Vec<(T, Proximity, bool)>, pairs: Option<Evidence>) -> Vec<Near<T>> {
    // A pair is nearest whatever the places say: the vendor publishes it as the best choice.
    let key = |&(_, proximity, paired): &(T, Proximity, bool)| (!paired, if paired { None } else { Some(proximity) });
    candidates.sort_by_key(|candidate| (key(candidate), candidate.0));
    let mut rank = 0;
    let mut previous = None;
    let mut entries = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        if previous != Some(key(&candidate)) {
            rank += 1;
            previous = Some(key(&candidate));
        }
        let (target, proximity, paired) = candidate;
        let evidence = match &pairs {
            Some(evidence) if paired => evidence.clone(),
            _ => Evidence::Place { proximity },
        };
        entries.push(Near { rank, target, proximity, evidence });
    }
    entries
}
