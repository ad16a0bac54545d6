//! Ranks EFA interfaces by their nearness to a core, and devices by their nearness to an EFA interface.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Proximity;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::scan::neuron::NeuronDevice;
use crate::scan::pci::PciFunction;
use crate::tables::instances::{GroupSize, InstanceTable};
use crate::types::{Bdf, Core, HostDevice, Usability};

/// The facts that a ranking uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Basis {
    /// The vendor's pairing ranks first, if the instance type has a table and the paired interface is attached. The
    /// other interfaces are ranked by place.
    #[default]
    Pairing,
    /// Only the PCI path and the NUMA node; the vendor's pairing is ignored.
    Place,
}

/// The reason for a rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Evidence {
    /// The libnrt of this process named the interface for a device address.
    Runtime,
    /// The vendor's pairing.
    Table {
        /// The instance type whose table has the pairing.
        instance_type: String,
    },
    /// The PCI paths and NUMA nodes of the two functions.
    Place {
        /// The proximity of the two functions.
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

/// A neighbour with its rank, written `0000:57:00.0 (rank 1, table trn2.48xlarge)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Near<T> {
    /// The rank; 1 is nearest. Neighbours of the same rank are equally near.
    pub rank: u32,
    /// The identity of the neighbour.
    pub target: T,
    /// The proximity of the neighbour.
    pub proximity: Proximity,
    /// The reason for the rank.
    pub evidence: Evidence,
    /// Whether this process can use the neighbour now. Lists of versions before 0.2 lack the member.
    #[serde(default = "unknown")]
    pub usability: Usability,
}

fn unknown() -> Usability {
    Usability::Unknown
}

impl<T: fmt::Display> fmt::Display for Near<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (rank {}, {})", self.target, self.rank, self.evidence)
    }
}

/// A ranking of neighbours, nearest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NearList<T> {
    /// Every candidate of the host, ordered by rank, then by address or number. An entry of rank 1 is no answer if its
    /// evidence is an unknown proximity: [`NearList::nearest`] leaves such entries out.
    pub entries: Vec<Near<T>>,
    /// The interface that the table pairs with the device, or that libnrt named for an address, if this host does not
    /// have that interface. An instance can be launched with fewer interfaces than its type allows.
    pub missing_pair: Option<Bdf>,
}

impl<T> NearList<T> {
    /// Returns the nearest entries that this process can use: one entry, several on a tie, or none. An entry whose
    /// proximity is unknown is never among them. [`NearList::passed_over`] has the nearer entries that cannot be used.
    pub fn nearest(&self) -> impl Iterator<Item = &Near<T>> {
        let rank = self.ranked().find(|near| near.usability.is_possible()).map(|near| near.rank);
        self.ranked().filter(move |near| Some(near.rank) == rank && near.usability.is_possible())
    }

    /// Returns the entries of rank 1, usable or not: one entry, several on a tie, or none if no proximity is known.
    pub fn nearest_by_rank(&self) -> impl Iterator<Item = &Near<T>> {
        self.ranked().take_while(|near| near.rank == 1)
    }

    /// Returns the entries that this process cannot use and that are at least as near as [`NearList::nearest`]; all
    /// entries with a known proximity if none can be used.
    pub fn passed_over(&self) -> impl Iterator<Item = &Near<T>> {
        let rank = self.nearest().next().map(|near| near.rank);
        let is_as_near = move |near: &&Near<T>| rank.is_none_or(|rank| near.rank <= rank);
        self.ranked().take_while(is_as_near).filter(|near| !near.usability.is_possible())
    }

    /// Returns the entries whose rank has a reason. The other entries share the last rank.
    fn ranked(&self) -> impl Iterator<Item = &Near<T>> {
        let unknown = Evidence::Place { proximity: Proximity::Unknown };
        self.entries.iter().take_while(move |near| near.evidence != unknown)
    }
}

impl Host {
    /// Ranks the EFA interfaces by their nearness to a core.
    ///
    /// ```
    /// use nearfab::{Basis, Host};
    /// let host = Host::from_instance("trn2.48xlarge")?;
    /// let near = host.near_core("neuron5:0".parse()?, Basis::Pairing)?;
    /// let nearest = near.nearest().next().expect("the table pairs each device of this type");
    /// assert_eq!(nearest.to_string(), "0000:57:00.0 (rank 1, table trn2.48xlarge)");
    ///
    /// // By place alone, both interfaces of the PCIe switch have rank 1.
    /// let near = host.near_core("neuron5:0".parse()?, Basis::Place)?;
    /// assert_eq!(near.nearest().count(), 2);
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] if the host has no such device or core.
    pub fn near_core(&self, core: Core, basis: Basis) -> Result<NearList<Bdf>> {
        let device = self.find_neuron(core.device)?;
        if core.core.0 >= device.cores {
            return Err(Error::NoSuchDevice {
                wanted: format!("core {core}"),
                present: format!("{} cores on {}", device.cores, core.device),
            });
        }
        // All cores of a device share the PCI function of the device.
        self.near_device(core.device, basis)
    }

    /// Ranks the EFA interfaces by their nearness to a Neuron device; see [`Host::near_core`].
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] if the host has no such device.
    pub fn near_device(&self, device: HostDevice, basis: Basis) -> Result<NearList<Bdf>> {
        let device = self.find_neuron(device)?;
        let pairing = self.pairing(basis);
        let paired = pairing.and_then(|table| pair(table, device));
        let candidates = self.efa_interfaces().iter().map(|efa| {
            let proximity = Proximity::between(device.function(), Some(&efa.function));
            Candidate {
                target: efa.address(),
                proximity,
                is_paired: paired == Some(efa.address()),
                usability: self.efa_usability(efa),
            }
        });
        let entries = ranked(candidates.collect(), pairing.map(Evidence::of));
        let missing_pair = paired.filter(|address| self.find_efa(*address).is_err());
        Ok(NearList { entries, missing_pair })
    }

    /// Ranks first the interface that libnrt named. The proximity of the other interfaces is unknown.
    #[cfg(feature = "live")]
    pub(crate) fn near_by_runtime(&self, interface: Bdf) -> NearList<Bdf> {
        let candidates = self.efa_interfaces().iter().map(|efa| Candidate {
            target: efa.address(),
            proximity: Proximity::Unknown,
            is_paired: efa.address() == interface,
            usability: self.efa_usability(efa),
        });
        NearList { entries: ranked(candidates.collect(), Some(Evidence::Runtime)), missing_pair: None }
    }

    fn pairing(&self, basis: Basis) -> Option<&'static InstanceTable> {
        self.table().filter(|_| basis == Basis::Pairing)
    }

    /// Ranks the Neuron devices by their nearness to an EFA interface. On trn1.32xlarge, each interface is paired with
    /// two devices.
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
    /// [`Error::NoSuchDevice`] if the host has no such interface.
    pub fn near_efa(&self, address: Bdf, basis: Basis) -> Result<NearList<HostDevice>> {
        let efa = self.find_efa(address)?;
        let pairing = self.pairing(basis);
        let candidates = self.neuron_devices().iter().map(|device| {
            let proximity = Proximity::between(device.function(), Some(&efa.function));
            Candidate {
                target: device.index,
                proximity,
                is_paired: pairing.and_then(|table| pair(table, device)) == Some(address),
                usability: self.neuron_usability(device),
            }
        });
        Ok(NearList { entries: ranked(candidates.collect(), pairing.map(Evidence::of)), missing_pair: None })
    }

    /// Ranks the EFA interfaces by the place of an accelerator's PCI function: a GPU, or a Neuron device with or
    /// without a known number. Tables pair no GPUs. Interfaces of one rank are ordered by address; on p5, four
    /// interfaces have rank 1 for each GPU.
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
    /// [`Error::NoSuchDevice`] if the host has no accelerator at the address.
    pub fn near_function(&self, address: Bdf) -> Result<NearList<Bdf>> {
        let function = self.accelerators().find(|function| function.address == address).ok_or_else(|| {
            let present: Vec<String> = self.accelerators().map(|function| function.address.to_string()).collect();
            let present = if present.is_empty() { "no accelerator".to_owned() } else { present.join(", ") };
            Error::NoSuchDevice { wanted: format!("accelerator at {address}"), present }
        })?;
        let interfaces = self.efa_interfaces().iter().map(|efa| (&efa.function, self.efa_usability(efa)));
        Ok(by_place(function, interfaces))
    }

    /// Ranks the EFA interfaces by their nearness to the memory of a NUMA node: the interfaces of the node first.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] if the host has no such node.
    pub fn near_numa(&self, node: u32) -> Result<NearList<Bdf>> {
        if self.numa_nodes().iter().all(|other| other.node != node) {
            let present: Vec<String> = self.numa_nodes().iter().map(|node| node.node.to_string()).collect();
            let present = if present.is_empty() { "no NUMA node".to_owned() } else { present.join(", ") };
            return Err(Error::NoSuchDevice { wanted: format!("NUMA node {node}"), present });
        }
        let candidates = self.efa_interfaces().iter().map(|efa| Candidate {
            target: efa.address(),
            proximity: Proximity::of_nodes(Some(node), efa.function.numa),
            is_paired: false,
            usability: self.efa_usability(efa),
        });
        Ok(NearList { entries: ranked(candidates.collect(), None), missing_pair: None })
    }

    /// Ranks the PCI functions of accelerators by place, seen from an EFA interface; see [`Host::near_function`].
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] if the host has no such interface.
    pub fn functions_near_efa(&self, address: Bdf) -> Result<NearList<Bdf>> {
        let efa = self.find_efa(address)?;
        let accelerators = self.accelerators().map(|function| (function, self.accelerator_usability(function)));
        Ok(by_place(&efa.function, accelerators))
    }

    /// Returns the PCI functions of GPUs and Neuron devices, including functions without a device number or a driver.
    fn accelerators(&self) -> impl Iterator<Item = &PciFunction> {
        let numbered = self.neuron_devices().iter().filter_map(NeuronDevice::function);
        let gpus = self.gpus().iter().map(|gpu| &gpu.function);
        numbered.chain(self.unnumbered()).chain(self.driverless()).chain(gpus)
    }

    /// Returns the id of the device group that contains a Neuron device; see [`InstanceTable::group_id`]. Returns
    /// `None` if the device is not at the address of the table.
    #[must_use]
    pub fn device_group(&self, device: HostDevice, size: GroupSize) -> Option<String> {
        let table = self.table()?;
        pair(table, self.find_neuron(device).ok()?)?;
        table.group_id(device, size)
    }

    /// Returns the id of the device group that contains an EFA interface, if all Neuron devices that are paired with
    /// the interface are in one group of that size. Returns `None` if one of these devices is not at the address of the
    /// table, as [`Host::device_group`] does.
    #[must_use]
    pub fn efa_group(&self, address: Bdf, size: GroupSize) -> Option<String> {
        let table = self.table()?;
        let paired = table.neuron.iter().filter(|row| row.efa == Some(address));
        // A device that this host does not have keeps its group: ids depend on the interfaces of the table, attached or
        // not.
        let elsewhere = |index| self.find_neuron(index).is_ok_and(|device| is_elsewhere(table, device));
        let mut ids = paired.map(|row| if elsewhere(row.index) { None } else { table.group_id(row.index, size) });
        let id = ids.next()??;
        ids.all(|other| other.as_ref() == Some(&id)).then_some(id)
    }
}

/// Returns the interface that the table pairs with the device. Returns `None` if the device is not at the address of
/// the table, because the pairing then describes other hardware.
fn pair(table: &InstanceTable, device: &NeuronDevice) -> Option<Bdf> {
    if is_elsewhere(table, device) { None } else { table.neuron(device.index)?.efa }
}

/// Returns true if the device is not at the address of the table.
fn is_elsewhere(table: &InstanceTable, device: &NeuronDevice) -> bool {
    table.address(device.index).is_some_and(|address| device.address() != Some(address))
}

fn by_place<'a>(from: &PciFunction, candidates: impl Iterator<Item = (&'a PciFunction, Usability)>) -> NearList<Bdf> {
    let candidates = candidates.map(|(to, usability)| Candidate {
        target: to.address,
        proximity: Proximity::between(Some(from), Some(to)),
        is_paired: false,
        usability,
    });
    NearList { entries: ranked(candidates.collect(), None), missing_pair: None }
}

/// A neighbour without a rank.
struct Candidate<T> {
    target: T,
    proximity: Proximity,
    is_paired: bool,
    usability: Usability,
}

impl<T> Candidate<T> {
    /// The rank follows from this key. A paired interface is nearest, whatever its PCI path is: the vendor publishes the
    /// pair as the best choice. Whether a candidate can be used does not change its rank.
    fn key(&self) -> (bool, Option<Proximity>) {
        (!self.is_paired, if self.is_paired { None } else { Some(self.proximity) })
    }
}

/// Sorts the candidates and gives equally near candidates the same rank. Ranks have no gaps. `pairs` is the evidence of a
/// paired candidate.
fn ranked<T: Copy + Ord>(mut candidates: Vec<Candidate<T>>, pairs: Option<Evidence>) -> Vec<Near<T>> {
    candidates.sort_by_key(|candidate| (candidate.key(), candidate.target));
    let mut rank = 0;
    let mut previous = None;
    let mut entries = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        if previous != Some(candidate.key()) {
            rank += 1;
            previous = Some(candidate.key());
        }
        let Candidate { target, proximity, is_paired, usability } = candidate;
        let evidence = match &pairs {
            Some(evidence) if is_paired => evidence.clone(),
            _ => Evidence::Place { proximity },
        };
        entries.push(Near { rank, target, proximity, evidence, usability });
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of trn1.32xlarge pairs neuron4 and neuron5 with one interface.
    #[test]
    fn group_of_an_interface_needs_its_devices_at_the_addresses_of_the_table() {
        let table = Host::from_instance("trn1.32xlarge").unwrap();
        let interface: Bdf = "0000:20:19.0".parse().unwrap();
        for size in GroupSize::ALL.iter().copied() {
            let moved = |index: usize| {
                let mut record: serde_json::Value = serde_json::from_str(&table.to_json()).unwrap();
                record["neuron"][index]["location"]["address"] = "0000:20:1f.0".into();
                Host::from_json(&record.to_string()).unwrap()
            };
            let expected = table.efa_group(interface, size);
            assert_eq!(moved(3).efa_group(interface, size), expected, "neuron3 is paired with another interface");
            for index in [4, 5] {
                let host = moved(index);
                assert_eq!(host.device_group(HostDevice(u32::try_from(index).unwrap()), size), None);
                assert_eq!(host.efa_group(interface, size), None, "neuron{index} is elsewhere");
            }
        }
    }
}
