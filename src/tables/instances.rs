//! Tables of instance types and Neuron products: the files of `data/`, compiled in.

#[cfg(test)]
#[expect(dead_code, reason = "only the build script reads every field")]
mod file;

use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
#[cfg(test)]
use crate::types::CpuList;
use crate::types::{AMAZON, Bdf, HostDevice, PciId};

include!(concat!(env!("OUT_DIR"), "/instances.rs"));

/// A Neuron product. The PCI device ids identify it.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Product {
    /// The name of the product as the driver shows it in sysfs, such as `Trainium2`.
    pub name: &'static str,
    /// The PCI device ids. The vendor id is 0x1d0f.
    pub device_ids: &'static [u16],
    /// The driver's number of the generation, see [`Architecture`](crate::probe::Architecture).
    pub architecture: u32,
    /// The number of physical NeuronCores of one device.
    pub cores: u32,
    /// The memory of one device, in bytes.
    pub memory: u64,
}

/// The platform that the Neuron driver treats an instance type as: `data/platforms.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Platform {
    /// Servers that NeuronLink connects to each other.
    UltraServer,
    /// Devices behind NeuronSwitches, in the usual number.
    Pds,
    /// Four devices behind NeuronSwitches.
    Max,
    /// A single device, of a family whose other types have several devices.
    Single,
    /// A single server, without connections to other servers.
    Standard,
}

impl Platform {
    /// Returns the platform of an instance type; `None` if the table does not name the type.
    pub(crate) fn named(instance_type: &str) -> Option<Self> {
        PLATFORMS.iter().find(|(name, _)| *name == instance_type).map(|&(_, platform)| platform)
    }
}

/// The devices of an instance type and their places: one file of `data/instances/`, see `docs/reference/instances.md`.
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
    /// The name of the Neuron product, see [`products`]. `None` for a type without Neuron devices.
    pub neuron_product: Option<&'static str>,
    /// The source of each kind of fact. A kind without a source is unknown.
    pub sources: &'static [Source],
    /// The NUMA nodes.
    pub numa: &'static [NumaRow],
    /// The Neuron devices, in the order of their numbers.
    pub neuron: &'static [NeuronRow],
    /// The EFA interfaces. A host has only the interfaces that its owner attached.
    pub efa: &'static [FunctionRow],
    /// The NVIDIA GPUs.
    pub gpu: &'static [FunctionRow],
    /// The RDMA functions that are not EFA interfaces.
    pub foreign: &'static [FunctionRow],
}

/// The source of a kind of fact in a table.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Source {
    /// The kind of fact: `cpus`, `numa`, `neuron`, `efa`, `efa_device_id`, `gpu`, `foreign`, `path`, `pairing` or
    /// `links`.
    pub fact: &'static str,
    /// How reliable the fact is.
    pub grade: Grade,
    /// The publication or observation that the fact comes from.
    pub text: &'static str,
    /// The ids of the [`assumptions`] that the fact depends on. An inferred or invented fact has at least one.
    pub assumptions: &'static [&'static str],
}

/// An assumption about hardware that no known observation confirms: an entry of `data/assumptions.toml`.
/// [`verify`](crate::verify()) checks the assumptions against a host.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Assumption {
    /// A short name that never changes.
    pub id: &'static str,
    /// The assumption.
    pub statement: &'static str,
    /// The reason for the assumption.
    pub source: &'static str,
    /// The values to read on a live host to confirm or refute the assumption.
    pub settled_by: &'static str,
    /// The instance types whose tables depend on the assumption.
    pub instance_types: &'static [&'static str],
    /// True if nearfab cannot check the assumption on a host, so that a person has to follow
    /// [`settled_by`](Self::settled_by).
    pub by_hand: bool,
    /// The check of the assumption. `None` if tables depend on the assumption, or a person has to check it.
    #[serde(skip)]
    pub(crate) check: Option<Check>,
}

/// The check of an assumption that no table depends on, see `verify/checks.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Check {
    /// The local CPUs of a function are the CPUs of its NUMA node.
    LocalCpus,
    /// The order of Trainium2's cores.
    CoreMapTorus,
    /// The order of Trainium3's cores in a torus.
    CoreMapTrn3p,
    /// The order of Trainium3's cores behind NeuronSwitches.
    CoreMapSwitched,
    /// The order of cores on servers whose dice the driver flips.
    CoreMapFlipped,
    /// The products for which the driver has no order of cores.
    CoreMapNone,
    /// The driver's number for each product.
    Architecture,
    /// The PCI addresses that the driver returns.
    ProbedAddress,
    /// The driver's answers for held cores.
    CoreQuestion,
}

/// How reliable a fact is, from the most to the least reliable grade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Observed on a real host.
    Captured,
    /// Published by the vendor or another project.
    Published,
    /// Concluded by the authors of nearfab from captured or published facts.
    Inferred,
    /// Made up for tests. nearfab never reports such a fact about a real host.
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
    /// The number of the node.
    pub node: u32,
    /// The CPUs of the node, in the kernel's form.
    pub cpus: &'static str,
}

/// A Neuron device of an instance type.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct NeuronRow {
    /// The number of the device.
    pub index: HostDevice,
    /// The PCI address, which can be invented. [`InstanceTable::address`] returns known addresses only.
    pub address: Bdf,
    /// The NUMA node. `None` if the node is unknown, or if the device is known to have no node.
    pub numa: Option<u32>,
    /// The bridges between the root bus and the function, from the root down.
    pub bridges: &'static [Bdf],
    /// The devices at the other ends of the NeuronLinks, in no order. `None` if unknown.
    pub links: Option<&'static [HostDevice]>,
    /// The EFA interface that AWS pairs with the device.
    pub efa: Option<Bdf>,
}

/// A PCI function of an instance type that is not a Neuron device.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct FunctionRow {
    /// The PCI address.
    pub address: Bdf,
    /// The vendor and device id.
    pub id: PciId,
    /// The NUMA node. `None` if the node is unknown, or if the device is known to have no node.
    pub numa: Option<u32>,
    /// The bridges between the root bus and the function, from the root down.
    pub bridges: &'static [Bdf],
}

/// The number of Neuron devices in a device group. The first number of a group is a multiple of the size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupSize {
    /// One device. The id of the group is the address of the device's EFA interface.
    One,
    /// Two devices. AWS has no groups of this size.
    Two,
    /// Four devices: one row of the torus.
    Four,
    /// Eight devices.
    Eight,
    /// Sixteen devices.
    Sixteen,
}

impl GroupSize {
    /// Every size, ascending.
    pub const ALL: &'static [Self] = &[Self::One, Self::Two, Self::Four, Self::Eight, Self::Sixteen];

    /// Returns the number of devices.
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

/// Returns the Neuron products.
#[must_use]
pub fn products() -> &'static [Product] {
    PRODUCTS
}

/// Returns the assumptions about hardware, with the instance types that depend on each.
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

/// Returns the tables of all instance types, in the order of their names.
#[must_use]
pub fn tables() -> &'static [InstanceTable] {
    TABLES
}

impl Product {
    /// Returns the Neuron product with a PCI id; `None` if the id does not belong to a Neuron device.
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
    /// Returns the table of an instance type.
    ///
    /// # Errors
    /// [`Error::UnknownInstance`] with the names of the types that have a table.
    pub fn find(instance_type: &str) -> Result<&'static Self> {
        TABLES.iter().find(|table| table.instance_type == instance_type).ok_or_else(|| Error::UnknownInstance {
            instance_type: instance_type.to_owned(),
            known: TABLES.iter().map(|table| table.instance_type).collect::<Vec<_>>().join(", "),
        })
    }

    /// Returns the row of a Neuron device; `None` if the type has no device with this number.
    #[must_use]
    pub fn neuron(&self, index: HostDevice) -> Option<&'static NeuronRow> {
        self.neuron.get(index.0 as usize)
    }

    /// Returns the Neuron product of this instance type; `None` if the type has no Neuron devices.
    #[must_use]
    pub fn product(&self) -> Option<&'static Product> {
        PRODUCTS.iter().find(|product| Some(product.name) == self.neuron_product)
    }

    /// Returns the source of a kind of fact; `None` if facts of this kind are unknown. [`Source::fact`] lists the
    /// kinds.
    #[must_use]
    pub fn source(&self, fact: &str) -> Option<&'static Source> {
        self.sources.iter().find(|source| source.fact == fact)
    }

    /// Returns the sources of the facts that are made up.
    pub fn invented(&self) -> impl Iterator<Item = &'static Source> {
        self.sources.iter().filter(|source| source.grade == Grade::Invented)
    }

    /// Returns true if the PCI addresses of the Neuron devices are known and not made up.
    #[must_use]
    pub fn places_neuron(&self) -> bool {
        self.source("neuron").is_some_and(|source| source.grade < Grade::Invented)
    }

    /// Returns the PCI address of a Neuron device; `None` if the address is made up.
    #[must_use]
    pub fn address(&self, index: HostDevice) -> Option<Bdf> {
        self.places_neuron().then(|| self.neuron(index)).flatten().map(|row| row.address)
    }

    /// Returns the id of the device group of this size that contains `device`. The id is the same text as in AWS's
    /// `resource.aws.com/devicegroup{1,4,8,16}_id`, so that Kubernetes claims that were written for AWS's drivers keep
    /// working.
    ///
    /// The id depends on the table's EFA addresses and not on the interfaces that are attached to a host, so the id is
    /// the same on every host of a type. The id of one device is the address itself. The id of more devices is the
    /// first 16 hexadecimal digits of the SHA-256 of the sorted, distinct addresses with commas between them. `None` if
    /// the table lacks the device, another device of the group, or the pairing.
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
