//! Neuron devices (Trainium and Inferentia chips) and their cores.

mod core_map;
mod driver;
mod lnc;

use std::collections::BTreeSet;
use std::fmt;

pub use core_map::{CoreMap, CoreMapEvidence};
pub use driver::{DriverLayout, NeuronDriver};
pub use lnc::{Lnc, LncEvidence};
use serde::{Deserialize, Serialize};

use crate::error::{Problems, Result};
use crate::scan::pci::PciFunction;
use crate::scan::root::{Folder, HostRoot, NodeAccess};
use crate::tables::instances::{self, InstanceTable, Product};
use crate::types::{Bdf, Core, HostDevice, PciId, PhysicalCore, number};

const CLASS: &str = "sys/class/neuron_device";
/// The Neuron driver's name on the PCI bus.
const DRIVER: &str = "neuron-driver";

/// One Neuron device that the driver made a node for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeuronDevice {
    /// The host's number of the device.
    pub index: HostDevice,
    /// The product as the driver names it, such as `Trainium2`; by its PCI id where the driver's name is not found.
    pub product: Option<String>,
    /// The architecture as the driver names it, such as `NDv3`. Inferentia2 and Trainium2 both say `NDv3`: it does not
    /// identify a product.
    #[serde(default)]
    pub architecture: Option<String>,
    /// The serial number, the identity that stays with the chip. The first Inferentia has none, and a device that does not
    /// answer shows none.
    #[serde(default)]
    pub serial: Option<String>,
    /// The number of physical NeuronCores.
    pub cores: u32,
    /// The memory in bytes, by the product: the driver shows what is used of it, never how much there is.
    #[serde(default)]
    pub memory: Option<u64>,
    /// The devices it is linked to by NeuronLink, in the driver's order; compare as a set. `None` where the driver
    /// does not tell this user (drivers before 2.28 tell root only).
    pub links: Option<Vec<HostDevice>>,
    /// Where it is on PCI, as far as known: the driver's tree has no link from a device to its PCI function.
    pub location: Option<Location>,
    /// Whether this process may use `/dev/neuronN`.
    pub access: NodeAccess,
}

/// Where a Neuron device is on PCI, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The address of its PCI function.
    pub address: Bdf,
    /// How the address is known.
    pub evidence: LocationEvidence,
    /// The function, where this host shows one of a Neuron device at that address.
    pub function: Option<PciFunction>,
}

/// How the PCI address of a Neuron device is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LocationEvidence {
    /// From a table.
    Table {
        /// The instance type whose table it is.
        instance_type: String,
    },
    /// The host shows one device, and one function that the driver drives.
    OnlyOne,
    /// The driver said so, see [`Probe::place`](crate::probe::Probe::place).
    Probe,
    /// Something that this version does not know, by a newer version's record.
    #[serde(other)]
    Other,
}

impl fmt::Display for LocationEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table { instance_type } => write!(f, "table {instance_type}"),
            Self::OnlyOne => write!(f, "the only one"),
            Self::Probe => write!(f, "the driver"),
            Self::Other => write!(f, "evidence of a newer nearfab"),
        }
    }
}

impl NeuronDevice {
    /// The PCI address, where known.
    #[must_use]
    pub fn address(&self) -> Option<Bdf> {
        self.location.as_ref().map(|location| location.address)
    }

    /// The PCI function, where the host shows it.
    #[must_use]
    pub fn function(&self) -> Option<&PciFunction> {
        self.location.as_ref()?.function.as_ref()
    }

    /// The path of the device node, as the host names it.
    #[must_use]
    pub fn node(&self) -> String {
        format!("/dev/{}", self.index)
    }

    /// The order in which the runtime numbers the physical cores, on a host of this instance type.
    #[must_use]
    pub fn core_map(&self, instance_type: Option<&str>) -> CoreMap {
        core_map::of(self, instance_type)
    }

    /// The physical cores.
    pub fn cores(&self) -> impl Iterator<Item = Core> + '_ {
        (0..self.cores).map(|core| Core { device: self.index, core: PhysicalCore(core) })
    }
}

/// Whether the id is a Neuron device's.
pub(crate) fn is_neuron(id: PciId) -> bool {
    Product::of(id).is_some()
}

/// Whether it is a Neuron device that the Neuron driver does not have: unbound, or given to another driver.
pub(crate) fn is_driverless(function: &PciFunction) -> bool {
    is_neuron(function.id) && function.driver.as_deref() != Some(DRIVER)
}

/// What a scan for Neuron devices found.
pub(crate) struct Found {
    pub(crate) driver: Option<NeuronDriver>,
    /// In the order of their numbers.
    pub(crate) devices: Vec<NeuronDevice>,
    /// Functions that the driver drives, and that no device is known to be.
    pub(crate) unnumbered: Vec<PciFunction>,
}

/// What the driver says of itself, and the devices that it shows, placed on PCI by the instance's table, or by there
/// being only one.
pub(crate) fn scan(
    root: &HostRoot,
    problems: &mut Problems,
    functions: &[PciFunction],
    table: Option<&InstanceTable>,
) -> Found {
    let names = problems.take(root.list(CLASS)).unwrap_or_default();
    // The folder also holds attributes of the class itself, and sorts neuron10 before neuron2.
    let mut indices: Vec<HostDevice> = names.iter().filter_map(|name| name.parse().ok()).collect();
    let driven = || functions.iter().filter(|function| is_neuron(function.id) && !is_driverless(function));
    if driven().count() > indices.len() {
        problems.note(format!(
            "the Neuron driver has {} functions on PCI, and {CLASS} shows {} devices: \
             drivers newer than 2.30 show them elsewhere, which this nearfab does not know",
            driven().count(),
            indices.len()
        ));
    }
    let shown = !indices.is_empty();
    let product = product_of(driven());
    if !shown && product.is_some() {
        // Wherever the driver keeps its files, a node is a device, of which the rest is what is known of its product.
        let nodes = problems.take(root.list("dev")).unwrap_or_default();
        indices = nodes.iter().filter_map(|name| name.parse().ok()).collect();
    }
    indices.sort_unstable();
    indices.dedup(); // neuron05 in a tree that no kernel made.
    let scanner = Scanner { root, functions, table, product, shown };
    let mut devices: Vec<NeuronDevice> = indices.into_iter().map(|index| scanner.device(problems, index)).collect();
    let first = devices.first().filter(|_| shown);
    let driver = driver::read(root, problems, &names, product.is_some(), first);
    let mut unnumbered: Vec<PciFunction> = unplaced(driven(), &devices).cloned().collect();
    if let ([device], [function]) = (&mut devices[..], &unnumbered[..])
        && device.location.is_none()
    {
        let (address, evidence) = (function.address, LocationEvidence::OnlyOne);
        device.location = Some(Location { address, evidence, function: unnumbered.pop() });
    }
    Found { driver, devices, unnumbered }
}

/// Those of the functions that no device is known to be.
pub(crate) fn unplaced<'a>(
    functions: impl Iterator<Item = &'a PciFunction>,
    devices: &[NeuronDevice],
) -> impl Iterator<Item = &'a PciFunction> {
    functions.filter(|function| devices.iter().all(|device| device.address() != Some(function.address)))
}

/// The product of the functions that the driver drives; a host has devices of one only.
fn product_of<'a>(mut driven: impl Iterator<Item = &'a PciFunction>) -> Option<&'static Product> {
    Product::of(driven.next()?.id)
}

struct Scanner<'a> {
    root: &'a HostRoot,
    functions: &'a [PciFunction],
    table: Option<&'a InstanceTable>,
    product: Option<&'static Product>,
    /// Whether the driver shows the devices where it is looked for them.
    shown: bool,
}

impl Scanner<'_> {
    fn device(&self, problems: &mut Problems, index: HostDevice) -> NeuronDevice {
        let root = self.root;
        let folder = root.folder(&format!("{CLASS}/{index}"));
        let text = |problems: &mut Problems, name: &str| {
            problems.take(folder.read(name)).flatten().filter(|text| !text.is_empty())
        };
        // Counted, not read: core_count is for root only before driver 2.28.
        let shown = problems.take(core_folders(&folder)).unwrap_or(0);
        let named = text(problems, "info/architecture/device_name");
        let by_name = named.as_deref().and_then(|name| instances::products().iter().find(|p| p.name == name));
        // A product that only its name could tell, and that is not known, is not guessed from PCI.
        let product = if named.is_some() { by_name } else { self.product };
        let cores = if shown > 0 { shown } else { product.map_or(0, |product| product.cores) };
        if shown == 0 && self.shown {
            problems.note(format!("{CLASS}/{index} shows no cores; {cores} is what is known of its product"));
        }
        NeuronDevice {
            index,
            architecture: text(problems, "info/architecture/arch_type"),
            serial: text(problems, "info/serial_number"),
            cores,
            memory: product.map(|product| product.memory),
            product: named.or_else(|| product.map(|product| product.name.to_owned())),
            links: links(problems, &folder),
            location: self.table.and_then(|table| locate(problems, self.functions, table, index)),
            access: problems.take(root.access(&format!("dev/{index}"))).unwrap_or(NodeAccess::Unknown),
        }
    }
}

fn core_folders(folder: &Folder<'_>) -> Result<u32> {
    let names = folder.list()?;
    // A set: neuron_core05 in a tree that no kernel made.
    let cores: BTreeSet<u32> = names.iter().filter_map(|name| number(name.strip_prefix("neuron_core")?)).collect();
    Ok(u32::try_from(cores.len()).unwrap_or(u32::MAX))
}

/// The neighbours; for root only before driver 2.28.
fn links(problems: &mut Problems, folder: &Folder<'_>) -> Option<Vec<HostDevice>> {
    let parse = |text: &str| -> Option<Vec<HostDevice>> {
        text.split([',', ' ']).filter(|part| !part.is_empty()).map(|part| number(part).map(HostDevice)).collect()
    };
    problems.take_unless_refused(folder.parse("connected_devices", "device numbers such as 12, 1, 3, 4", parse))
}

/// The table's address of the device, unless this host contradicts it: it shows Neuron functions and none of them is
/// there.
fn locate(
    problems: &mut Problems,
    functions: &[PciFunction],
    table: &InstanceTable,
    index: HostDevice,
) -> Option<Location> {
    let address = table.address(index)?;
    let evidence = LocationEvidence::Table { instance_type: table.instance_type.to_owned() };
    let function = functions.iter().find(|function| function.address == address && is_neuron(function.id));
    if function.is_none() && functions.iter().any(|function| is_neuron(function.id)) {
        problems.note(format!("{evidence} has {index} at {address}, where this host has no Neuron function"));
        return None;
    }
    Some(Location { address, evidence, function: function.cloned() })
}
