//! The hardware of a host that the model is made of, and the pieces of hardware that a unit occupies.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use nearfab::instances::GroupSize;
use nearfab::{Bdf, EfaInterface, Host, HostDevice, NeuronDevice, NodeAccess, RailOptions};

use super::options::Published;
use super::unit::Unit;

/// The devices of a host that the driver publishes and that have a device node, in their published order.
///
/// The order follows the topology, since the scheduler takes the first devices that fit: Neuron devices by their
/// numbers, EFA interfaces by their paired Neuron devices and then by their addresses.
#[derive(Debug)]
pub struct Hardware<'a> {
    host: &'a Host,
    published: Published,
    neuron: Vec<&'a NeuronDevice>,
    efa: Vec<&'a EfaInterface>,
    /// The sets of interfaces that the instance table gives to accelerators.
    sets: Vec<Vec<Bdf>>,
    problems: Vec<String>,
}

/// The pieces of hardware that a unit occupies. Two claims may not have a common piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    /// The cores of each Neuron device, as positions in the runtime's order of the device's physical cores.
    pub cores: BTreeMap<HostDevice, Range<u32>>,
    /// The EFA interfaces.
    pub efa: BTreeSet<Bdf>,
}

impl Pieces {
    /// Returns true if a piece of `self` is also a piece of `other`.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let common = |(device, cores): (&HostDevice, &Range<u32>)| {
            other.cores.get(device).is_some_and(|others| cores.start.max(others.start) < cores.end.min(others.end))
        };
        self.cores.iter().any(common) || !self.efa.is_disjoint(&other.efa)
    }
}

impl<'a> Hardware<'a> {
    /// Returns the hardware of `host` that the driver publishes.
    #[must_use]
    pub fn of(host: &'a Host, published: Published) -> Self {
        let (devices, driverless, interfaces) = match published {
            Published::Both => (host.neuron_devices(), host.driverless(), host.efa_interfaces()),
            Published::Neuron => (host.neuron_devices(), host.driverless(), &[][..]),
            Published::Efa => (&[][..], &[][..], host.efa_interfaces()),
        };
        let mut problems = host.problems().to_vec();
        problems.extend(driverless.iter().map(|function| {
            format!(
                "the Neuron device at {} is not published: no driver is bound to it; load the neuron kernel module",
                function.address
            )
        }));
        let mut neuron = Vec::new();
        for device in devices {
            match usable(&device.node(), device.access) {
                Ok(()) => neuron.push(device),
                Err(reason) => problems.push(not_published(Unit::Neuron(device.index), &reason)),
            }
        }
        let mut efa = Vec::new();
        for interface in interfaces {
            match efa_node(interface) {
                Ok(_) => efa.push(interface),
                Err(reason) => problems.push(not_published(Unit::Efa(interface.address()), &reason)),
            }
        }
        // Interfaces without a pair are last. The sort is stable: they stay in the order of their addresses.
        efa.sort_by_key(|interface| first_paired(host, interface.address()).unwrap_or(HostDevice(u32::MAX)));
        Self { host, published, neuron, efa, sets: sets(host), problems }
    }

    /// Returns the host.
    #[must_use]
    pub fn host(&self) -> &'a Host {
        self.host
    }

    /// Returns the usable Neuron devices.
    #[must_use]
    pub fn neuron(&self) -> &[&'a NeuronDevice] {
        &self.neuron
    }

    /// Returns the usable EFA interfaces.
    #[must_use]
    pub fn efa(&self) -> &[&'a EfaInterface] {
        &self.efa
    }

    /// Returns what keeps devices from being published, one sentence each.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Returns the usable Neuron device with this number.
    #[must_use]
    pub fn device(&self, index: HostDevice) -> Option<&'a NeuronDevice> {
        self.neuron.iter().copied().find(|device| device.index == index)
    }

    /// Returns the usable interface with this address.
    #[must_use]
    pub fn interface(&self, address: Bdf) -> Option<&'a EfaInterface> {
        self.efa.iter().copied().find(|interface| interface.address() == address)
    }

    /// Returns the groups of one size that are whole: each Neuron device is usable, and each interface of the group that
    /// is attached is usable.
    #[must_use]
    pub fn groups(&self, size: GroupSize) -> Vec<Unit> {
        let devices = self.host.table().map_or(0, |table| table.neuron.len());
        let groups = u32::try_from(devices).unwrap_or_default() / size.devices();
        let has_all = |number: &u32| {
            members(size, *number)
                .all(|index| self.device(index).is_some() && self.host.device_group(index, size).is_some())
                && self.is_whole(&self.efa_of_group(size, *number))
        };
        (0..groups).filter(has_all).map(|number| Unit::Group { size, number }).collect()
    }

    /// Returns the sets of interfaces that accelerators should use, by the rails of the instance table. A type without
    /// accelerators, or without a table, has no sets.
    #[must_use]
    pub fn efa_sets(&self) -> Vec<Unit> {
        // A set has the place of its first interface.
        let position = |set: &Vec<Bdf>| self.efa.iter().position(|interface| set.contains(&interface.address()));
        let mut sets = self.sets.clone();
        sets.retain(|set| self.is_whole(set) && position(set).is_some());
        sets.sort_by_key(position);
        sets.iter().filter_map(|set| set.first()).map(|address| Unit::EfaSet(*address)).collect()
    }

    /// Returns true if each of these interfaces is usable or not attached: an owner may attach fewer interfaces than the
    /// instance type has, and an interface that is attached and unusable makes a set incomplete.
    fn is_whole(&self, addresses: &[Bdf]) -> bool {
        let is_attached = |address| self.published != Published::Neuron && self.host.find_efa(address).is_ok();
        addresses.iter().all(|&address| self.interface(address).is_some() || !is_attached(address))
    }

    /// Returns the interfaces that the instance table pairs with the devices of a group.
    fn efa_of_group(&self, size: GroupSize, number: u32) -> Vec<Bdf> {
        let Some(table) = self.host.table() else { return Vec::new() };
        members(size, number).filter_map(|index| table.neuron(index)?.efa).collect()
    }

    /// Returns the pieces of a unit. A unit that the host does not have now, such as a device that failed, has pieces
    /// too: those that the instance table knows, and all cores of a device that no table knows.
    #[must_use]
    pub fn pieces(&self, unit: Unit) -> Pieces {
        let all_cores = |device| 0..self.cores(device).unwrap_or(u32::MAX);
        let whole = |device| (device, all_cores(device));
        let (cores, efa): (BTreeMap<_, _>, BTreeSet<_>) = match unit {
            Unit::Neuron(device) => (BTreeMap::from([whole(device)]), BTreeSet::new()),
            Unit::Half { device, half } => {
                let halves = self.cores(device).map(halves);
                let range = halves.and_then(|halves| halves.get(half as usize).cloned());
                (BTreeMap::from([(device, range.unwrap_or_else(|| all_cores(device)))]), BTreeSet::new())
            }
            Unit::Core { device, lnc, core } => {
                let first = core.saturating_mul(lnc);
                (BTreeMap::from([(device, first..first.saturating_add(lnc))]), BTreeSet::new())
            }
            Unit::Group { size, number } => {
                (members(size, number).map(whole).collect(), self.efa_of_group(size, number).into_iter().collect())
            }
            Unit::Node => {
                let rows = self.host.table().into_iter().flat_map(|table| table.neuron).map(|row| row.index);
                let devices = self.host.neuron_devices().iter().map(|device| device.index).chain(rows);
                let rows = self.host.table().into_iter().flat_map(|table| table.efa).map(|row| row.address);
                let efa = self.host.efa_interfaces().iter().map(EfaInterface::address).chain(rows);
                (devices.map(whole).collect(), efa.collect())
            }
            Unit::Efa(address) => (BTreeMap::new(), BTreeSet::from([address])),
            Unit::EfaSet(first) => {
                let set = self.sets.iter().find(|set| set.first() == Some(&first));
                (BTreeMap::new(), set.into_iter().flatten().copied().chain([first]).collect())
            }
        };
        Pieces { cores, efa }
    }

    /// Returns the number of physical cores of a Neuron device, present or not.
    fn cores(&self, device: HostDevice) -> Option<u32> {
        let present = self.host.find_neuron(device).ok().map(|device| device.cores);
        present.or_else(|| self.host.table()?.product().map(|product| product.cores))
    }
}

/// Returns the two halves of the cores of a device. An odd number of cores has no halves and stays whole.
#[must_use]
pub fn halves(cores: u32) -> Vec<Range<u32>> {
    let middle = if cores.is_multiple_of(2) { cores / 2 } else { cores };
    [0..middle, middle..cores].into_iter().filter(|half| !half.is_empty()).collect()
}

/// Returns the numbers of the devices of a group.
fn members(size: GroupSize, number: u32) -> impl Iterator<Item = HostDevice> {
    let first = number.saturating_mul(size.devices());
    (first..first.saturating_add(size.devices())).map(HostDevice)
}

/// Returns the path of the verbs node of an interface.
///
/// # Errors
/// With the reason why the interface has no usable node, as the end of a sentence.
pub fn efa_node(interface: &EfaInterface) -> Result<String, String> {
    let node = interface.node().ok_or_else(|| {
        "it has no verbs node; check that the efa driver is bound to it and that ib_uverbs is loaded".to_owned()
    })?;
    usable(&node, interface.access)?;
    Ok(node)
}

/// Succeeds if the node exists. The driver may lack the permission to open the node: a container gets its own permission.
///
/// # Errors
/// With the reason, as the end of a sentence.
pub fn usable(node: &str, access: NodeAccess) -> Result<(), String> {
    match access {
        NodeAccess::Granted | NodeAccess::Refused => Ok(()),
        NodeAccess::Missing => Err(format!("{node} is missing")),
        _ => Err(format!("it is not known whether {node} exists")),
    }
}

fn not_published(unit: Unit, reason: &str) -> String {
    format!("{unit} is not published: {reason}")
}

/// Returns the sets of interfaces that the instance table gives to accelerators, each in ascending order of addresses.
/// A set has the same name and members on each host of a type, whatever is attached or broken.
fn sets(host: &Host) -> Vec<Vec<Bdf>> {
    let Some(type_host) = host.table().and_then(|table| Host::from_instance(table.instance_type).ok()) else {
        return Vec::new();
    };
    let mut sets: Vec<Vec<Bdf>> = Vec::new();
    for rails in type_host.all_rails(RailOptions::default()) {
        let set: Vec<Bdf> = rails.rails.iter().map(|rail| rail.near.target).collect();
        if !set.is_empty() && !sets.contains(&set) {
            sets.push(set);
        }
    }
    sets
}

/// Returns the first Neuron device that the table of the instance type pairs with an interface. The host may lack this
/// device.
fn first_paired(host: &Host, efa: Bdf) -> Option<HostDevice> {
    host.table()?.neuron.iter().find(|row| row.efa == Some(efa)).map(|row| row.index)
}
