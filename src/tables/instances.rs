//! What is known of instance types and Neuron products beforehand: the tables of `data/`, compiled in.

#[cfg(test)]
#[expect(dead_code, reason = "the build script, for which this is, reads every field")]
mod file;

use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
#[cfg(test)]
use crate::types::CpuList;
use crate::types::{AMAZON, Bdf, HostDevice, PciId};

include!(concat!(env!("OUT_DIR"), "/instances.rs"));

/// A Neuron product, found by its PCI device ids.
#[derive(Debug, Serialize)]
pub struct Product {
    /// The name that the driver gives in sysfs, such as `Trainium2`.
    pub name: &'static str,
    /// PCI device ids, of vendor 0x1d0f.
    pub device_ids: &'static [u16],
    /// The driver's number of its generation, see [`Architecture`](crate::probe::Architecture).
    pub architecture: u32,
    /// Physical NeuronCores of one device.
    pub cores: u32,
    /// Memory of one device in bytes.
    pub memory: u64,
}

/// What the Neuron driver takes an instance type for: `data/platforms.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Platform {
    /// Joined to other servers by NeuronLink.
    UltraServer,
    /// Behind NeuronSwitches, as most of these.
    Pds,
    /// Behind NeuronSwitches, four devices.
    Max,
    /// One device of a family that the others are of.
    Single,
    /// On its own.
    Standard,
}

impl Platform {
    /// The platform of an instance type that is named in the table; `None` says nothing.
    pub(crate) fn named(instance_type: &str) -> Option<Self> {
        PLATFORMS.iter().find(|(name, _)| *name == instance_type).map(|&(_, platform)| platform)
    }
}

/// What an instance type looks like: one file of `data/instances/`, see `docs/reference/instances.md`.
///
/// ```
/// use nearfab::instances::InstanceTable;
/// let table = InstanceTable::find("trn1.32xlarge")?;
/// assert_eq!((table.neuron.len(), table.efa.len()), (16, 8));
/// assert_eq!(table.neuron[5].efa, Some("0000:20:19.0".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Serialize)]
pub struct InstanceTable {
    /// The EC2 instance type.
    pub instance_type: &'static str,
    /// The name of its Neuron product, see [`products`]; none where it has no Neuron device.
    pub neuron_product: Option<&'static str>,
    /// Where each kind of fact comes from, by its name. A kind without a source is not known.
    pub sources: &'static [Source],
    /// NUMA nodes.
    pub numa: &'static [NumaRow],
    /// Neuron devices, in the order of their index.
    pub neuron: &'static [NeuronRow],
    /// EFA interfaces, attached or not on a given host.
    pub efa: &'static [FunctionRow],
    /// NVIDIA GPUs.
    pub gpu: &'static [FunctionRow],
    /// RDMA functions that are no EFA interfaces.
    pub foreign: &'static [FunctionRow],
}

/// Where a fact of a table comes from.
#[derive(Debug, Serialize)]
pub struct Source {
    /// The kind of fact: `cpus`, `numa`, `neuron`, `efa`, `efa_device_id`, `gpu`, `foreign`, `path`, `pairing` or `links`.
    pub fact: &'static str,
    /// How well it is known.
    pub grade: Grade,
    /// Who says so.
    pub text: &'static str,
    /// The ids of the [`assumptions`] that it rests on; always some where it is inferred or invented.
    pub assumptions: &'static [&'static str],
}

/// Something that is believed of hardware and that nobody is known to have seen: an entry of `data/assumptions.toml`.
/// [`verify`](crate::verify()) holds it against a host.
#[derive(Debug, Serialize)]
pub struct Assumption {
    /// A short name that does not change.
    pub id: &'static str,
    /// What is believed.
    pub statement: &'static str,
    /// Why.
    pub source: &'static str,
    /// What to read on a live host to know.
    pub settled_by: &'static str,
    /// The instance types whose tables rest on it.
    pub instance_types: &'static [&'static str],
    /// Whether no host shows it by itself: somebody has to do what [`settled_by`](Self::settled_by) says.
    pub by_hand: bool,
    /// Its test, where neither a table rests on it nor it is to be done by hand.
    #[serde(skip)]
    pub(crate) check: Option<Check>,
}

/// The test of an assumption that no table rests on; see `verify/checks.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// The CPUs of functions are those of their nodes.
    LocalCpus,
    /// The order of Trainium2's cores.
    CoreMapTorus,
    /// The order of Trainium3's cores in a torus.
    CoreMapTrn3p,
    /// The order of Trainium3's cores behind NeuronSwitches.
    CoreMapSwitched,
    /// The order of cores on servers with flipped dice.
    CoreMapFlipped,
    /// Products whose driver has no order.
    CoreMapNone,
    /// The driver's number for each product.
    Architecture,
    /// The addresses that the driver tells.
    ProbedAddress,
    /// The answers to the question for held cores.
    CoreQuestion,
}

/// How well a fact is known.
///
/// From good to bad, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Seen on a real host.
    Captured,
    /// Published by the vendor or another project.
    Published,
    /// Concluded by us from captured or published facts.
    Inferred,
    /// Made up, so that there is something to test with. Never said of a host.
    Invented,
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Captured => "captured",
            Self::Published => "published",
            Self::Inferred => "inferred",
            Self::Invented => "invented",
        })
    }
}

/// A NUMA node of an instance type.
#[derive(Debug, Serialize)]
pub struct NumaRow {
    /// Its number.
    pub node: u32,
    /// Its CPUs, as the kernel writes them.
    pub cpus: &'static str,
}

/// A Neuron device of an instance type.
#[derive(Debug, Serialize)]
pub struct NeuronRow {
    /// The N of `/dev/neuronN`.
    pub index: HostDevice,
    /// Its PCI function, which may be invented: [`InstanceTable::address`] tells only what is known.
    pub address: Bdf,
    /// Its NUMA node; `None` where it is not known, or known to be no node.
    pub numa: Option<u32>,
    /// The bridges from its root bus down to it.
    pub bridges: &'static [Bdf],
    /// Its NeuronLink neighbours, a set; `None` where not known.
    pub links: Option<&'static [HostDevice]>,
    /// The EFA interface that the vendor pairs with it.
    pub efa: Option<Bdf>,
}

/// Another PCI function of an instance type.
#[derive(Debug, Serialize)]
pub struct FunctionRow {
    /// Its address.
    pub address: Bdf,
    /// Its vendor and device id.
    pub id: PciId,
    /// Its NUMA node; `None` where it is not known, or known to be no node.
    pub numa: Option<u32>,
    /// The bridges from its root bus down to it.
    pub bridges: &'static [Bdf],
}

/// How many Neuron devices, aligned, form a device group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupSize {
    /// One device: the group's id is the address of its EFA interface.
    One,
    /// Two devices; nearfab's own, AWS has none of this size.
    Two,
    /// Four devices, one row of the torus.
    Four,
    /// Eight devices.
    Eight,
    /// Sixteen devices.
    Sixteen,
}

impl GroupSize {
    /// Every size, ascending.
    pub const ALL: &'static [Self] = &[Self::One, Self::Two, Self::Four, Self::Eight, Self::Sixteen];

    /// The number of devices.
    #[must_use]
    pub const fn devices(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
            Self::Sixteen => 16,
        }
    }
}

/// The Neuron products.
#[must_use]
pub fn products() -> &'static [Product] {
    PRODUCTS
}

/// What is believed and not seen, and which instance types rest on it.
///
/// ```
/// use nearfab::instances::{InstanceTable, assumptions};
/// let table = InstanceTable::find("trn3.48xlarge")?;
/// let pairing = table.source("pairing").ok_or("has one")?;
/// let assumption = assumptions().iter().find(|assumption| pairing.assumptions.contains(&assumption.id)).ok_or("is disputed")?;
/// assert!(assumption.instance_types.contains(&"trn3.48xlarge"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn assumptions() -> &'static [Assumption] {
    ASSUMPTIONS
}

/// The instance types with a table, by name.
#[must_use]
pub fn tables() -> &'static [InstanceTable] {
    TABLES
}

impl Product {
    /// The product that functions of a PCI id are; `None` for other things.
    ///
    /// ```
    /// use nearfab::PciId;
    /// use nearfab::instances::Product;
    /// let product = Product::of(PciId { vendor: 0x1d0f, device: 0x7364 });
    /// assert_eq!(product.map(|product| product.name), Some("Trainium2"));
    /// ```
    #[must_use]
    pub fn of(id: PciId) -> Option<&'static Self> {
        PRODUCTS.iter().find(|product| id.vendor == AMAZON && product.device_ids.contains(&id.device))
    }
}

impl InstanceTable {
    /// The table of an instance type.
    ///
    /// # Errors
    /// [`Error::UnknownInstance`], which names the types that have one.
    pub fn find(instance_type: &str) -> Result<&'static Self> {
        TABLES.iter().find(|table| table.instance_type == instance_type).ok_or_else(|| Error::UnknownInstance {
            instance_type: instance_type.to_owned(),
            known: TABLES.iter().map(|table| table.instance_type).collect::<Vec<_>>().join(", "),
        })
    }

    /// The row of a Neuron device.
    #[must_use]
    pub fn neuron(&self, index: HostDevice) -> Option<&'static NeuronRow> {
        self.neuron.get(index.0 as usize)
    }

    /// The Neuron product of this instance type.
    #[must_use]
    pub fn product(&self) -> Option<&'static Product> {
        PRODUCTS.iter().find(|product| Some(product.name) == self.neuron_product)
    }

    /// Where a kind of fact comes from; `None` where the kind is not known. The names are those of [`Source::fact`].
    #[must_use]
    pub fn source(&self, fact: &str) -> Option<&'static Source> {
        self.sources.iter().find(|source| source.fact == fact)
    }

    /// The facts of the table that are made up.
    pub fn invented(&self) -> impl Iterator<Item = &'static Source> {
        self.sources.iter().filter(|source| source.grade == Grade::Invented)
    }

    /// Whether it is known, and not made up, where the Neuron devices are.
    #[must_use]
    pub fn places_neuron(&self) -> bool {
        self.source("neuron").is_some_and(|source| source.grade < Grade::Invented)
    }

    /// The PCI address of a Neuron device, unless it is made up.
    #[must_use]
    pub fn address(&self, index: HostDevice) -> Option<Bdf> {
        self.places_neuron().then(|| self.neuron(index)).flatten().map(|row| row.address)
    }

    /// The id of the device group of this size that `device` is in: the same text as in AWS's
    /// `resource.aws.com/devicegroup{1,4,8,16}_id`, so that assumptions written for AWS's drivers keep working.
    ///
    /// It is made of the table's EFA addresses, attached to a given host or not, so it is the same on every host of a
    /// type: the address itself for one device, else the first 16 hexadecimal digits of the SHA-256 of the sorted,
    /// comma-joined, distinct addresses. `None` where the table has no such device, not all of the group, or no pairing.
    ///
    /// ```
    /// use nearfab::instances::{GroupSize, InstanceTable};
    /// use nearfab::HostDevice;
    /// let table = InstanceTable::find("trn2.48xlarge")?;
    /// assert_eq!(table.group_id(HostDevice(5), GroupSize::Four).as_deref(), Some("671622785349fddf"));
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    #[must_use]
    pub fn group_id(&self, device: HostDevice, size: GroupSize) -> Option<String> {
        if size == GroupSize::One {
            return self.neuron(device)?.efa.map(|address| address.to_string());
        }
        let count = size.devices() as usize;
        let first = device.0 as usize / count * count;
        let members = self.neuron.get(first..first + count)?;
        let mut efas: Vec<String> =
            members.iter().map(|row| row.efa.map(|address| address.to_string())).collect::<Option<_>>()?;
        efas.sort_unstable();
        efas.dedup();
        let digest = Sha256::digest(efas.join(","));
        Some(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }
}
