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
use crate::types::{Bdf, Core, DeviceState, HostDevice, PciId, PhysicalCore, number};

const CLASS: &str = "sys/class/neuron_device";
/// The Neuron driver's name on the PCI bus.
const DRIVER: &str = "neuron-driver";
/// The serial number of a device whose registers read as ones.
const OFF_BUS: &str = "ffffffffffffffff";

/// A Neuron device that the Neuron driver made a node for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NeuronDevice {
    /// The number of the device on the host.
    pub index: HostDevice,
    /// The product as the driver names it, such as `Trainium2`. The name comes from the PCI id if the driver shows no
    /// name.
    pub product: Option<String>,
    /// The architecture as the driver names it, such as `NDv3`. The architecture does not identify the product:
    /// Inferentia2 and Trainium2 are both `NDv3`.
    #[serde(default)]
    pub architecture: Option<String>,
    /// The serial number, which stays with the chip. The first Inferentia has no serial number, and a device that does
    /// not answer shows no serial number. `None` until [`Host::with_details`](crate::Host::with_details) reads it.
    #[serde(default)]
    pub serial: Option<String>,
    /// Whether the device is ready. `None` if this user may not read the state: drivers show the state to root only.
    #[serde(default)]
    pub state: Option<DeviceState>,
    /// The number of physical NeuronCores.
    pub cores: u32,
    /// The size of the device memory in bytes, from the product. The driver shows only the used memory.
    #[serde(default)]
    pub memory: Option<u64>,
    /// The devices at the other ends of this device's NeuronLinks. The order is the driver's and has no meaning. `None`
    /// if this user may not read the links: drivers before 2.28 show the links to root only.
    pub links: Option<Vec<HostDevice>>,
    /// The place on PCI, if it is known. The driver's files have no link from a device to its PCI function.
    pub location: Option<Location>,
    /// Whether this process may use `/dev/neuronN`.
    pub access: NodeAccess,
}

/// The place of a Neuron device on PCI, and the evidence for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Location {
    /// The address of the device's PCI function.
    pub address: Bdf,
    /// The evidence for the address.
    pub evidence: LocationEvidence,
    /// The PCI function; `None` if this host shows no Neuron function at the address.
    pub function: Option<PciFunction>,
}

/// The evidence for the PCI address of a Neuron device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LocationEvidence {
    /// nearfab's table of an instance type.
    Table {
        /// The instance type.
        instance_type: String,
    },
    /// The host has one Neuron device, and one PCI function that is bound to the Neuron driver.
    OnlyOne,
    /// The driver's answer to a probe, see [`Host::with_probed_addresses`](crate::Host::with_probed_addresses).
    Probe,
    /// Evidence that a newer nearfab recorded and this version does not know.
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
    /// Returns the PCI address, if known.
    #[must_use]
    pub fn address(&self) -> Option<Bdf> {
        self.location.as_ref().map(|location| location.address)
    }

    /// Returns the PCI function, if the host shows it.
    #[must_use]
    pub fn function(&self) -> Option<&PciFunction> {
        self.location.as_ref()?.function.as_ref()
    }

    /// Returns the path of the device node on the host.
    #[must_use]
    pub fn node(&self) -> String {
        format!("/dev/{}", self.index)
    }

    /// Returns true if the device does not answer on PCI: each read of a register gives ones only. Needs the serial
    /// number.
    #[must_use]
    pub fn is_off_bus(&self) -> bool {
        self.serial.as_deref() == Some(OFF_BUS)
    }

    /// Reads the serial number, which the driver reads from registers of the device.
    pub(crate) fn read_serial(&mut self, root: &HostRoot, problems: &mut Problems) {
        let text = problems.take(root.read(&format!("{CLASS}/{}/info/serial_number", self.index))).flatten();
        self.serial = text.filter(|text| !text.is_empty());
    }

    /// Returns the order in which the Neuron runtime numbers the physical cores, on a host of this instance type.
    #[must_use]
    pub fn core_map(&self, instance_type: Option<&str>) -> CoreMap {
        core_map::of(self, instance_type)
    }

    /// Returns the physical cores.
    pub fn cores(&self) -> impl Iterator<Item = Core> + '_ {
        (0..self.cores).map(|core| Core { device: self.index, core: PhysicalCore(core) })
    }
}

/// Returns true if a PCI id belongs to a Neuron device.
pub(crate) fn is_neuron(id: PciId) -> bool {
    Product::of(id).is_some()
}

/// Returns true if a function is a Neuron device and is not bound to the Neuron driver.
pub(crate) fn is_driverless(function: &PciFunction) -> bool {
    is_neuron(function.id) && function.driver.as_deref() != Some(DRIVER)
}

/// The result of a scan for Neuron devices.
pub(crate) struct Found {
    pub(crate) driver: Option<NeuronDriver>,
    /// The devices, in the order of their numbers.
    pub(crate) devices: Vec<NeuronDevice>,
    /// The functions that are bound to the driver and whose device number is unknown.
    pub(crate) unnumbered: Vec<PciFunction>,
}

/// Reads the driver and its devices. The places of the devices on PCI come from the table of the instance type. A host
/// with only one device needs no table.
pub(crate) fn scan(
    root: &HostRoot,
    problems: &mut Problems,
    functions: &[PciFunction],
    table: Option<&InstanceTable>,
) -> Found {
    let names = problems.take(root.list(CLASS)).unwrap_or_default();
    // The folder also contains attributes of the class.
    let mut indices: Vec<HostDevice> = names.iter().filter_map(|name| name.parse().ok()).collect();
    let bound = || functions.iter().filter(|function| is_neuron(function.id) && !is_driverless(function));
    if bound().count() > indices.len() {
        problems.note(format!(
            "{} functions on PCI are bound to the Neuron driver, and {CLASS} shows {} devices: \
             drivers newer than 2.30 show the devices in another place, which this version of nearfab does not know",
            bound().count(),
            indices.len()
        ));
    }
    let shown = !indices.is_empty();
    let product = product_of(bound());
    if !shown && product.is_some() {
        // The driver's files are in an unknown place. Each node is a device, and its other values come from the
        // product.
        let nodes = problems.take(root.list("dev")).unwrap_or_default();
        indices = nodes.iter().filter_map(|name| name.parse().ok()).collect();
    }
    indices.sort_unstable();
    indices.dedup(); // A tree that no kernel made can have both neuron05 and neuron5.
    let scanner = Scanner { root, functions, table, product, shown };
    let mut devices: Vec<NeuronDevice> = indices.into_iter().map(|index| scanner.device(problems, index)).collect();
    let first = devices.first().filter(|_| shown);
    let driver = driver::read(root, problems, &names, product.is_some(), first);
    let mut unnumbered: Vec<PciFunction> = unplaced(bound(), &devices).cloned().collect();
    if let ([device], [function]) = (&mut devices[..], &unnumbered[..])
        && device.location.is_none()
    {
        let (address, evidence) = (function.address, LocationEvidence::OnlyOne);
        device.location = Some(Location { address, evidence, function: unnumbered.pop() });
    }
    Found { driver, devices, unnumbered }
}

/// Returns the functions that are not known as the place of a device.
pub(crate) fn unplaced<'a>(
    functions: impl Iterator<Item = &'a PciFunction>,
    devices: &[NeuronDevice],
) -> impl Iterator<Item = &'a PciFunction> {
    functions.filter(|function| devices.iter().all(|device| device.address() != Some(function.address)))
}

/// Returns the product of the functions that are bound to the driver. All devices of a host are of one product.
fn product_of<'a>(mut bound: impl Iterator<Item = &'a PciFunction>) -> Option<&'static Product> {
    Product::of(bound.next()?.id)
}

/// Reads the devices of one host.
struct Scanner<'a> {
    root: &'a HostRoot,
    functions: &'a [PciFunction],
    table: Option<&'a InstanceTable>,
    product: Option<&'static Product>,
    /// Whether the driver shows the devices in [`CLASS`].
    shown: bool,
}

impl Scanner<'_> {
    fn device(&self, problems: &mut Problems, index: HostDevice) -> NeuronDevice {
        let root = self.root;
        let folder = root.folder(&format!("{CLASS}/{index}"));
        let text = |problems: &mut Problems, name: &str| {
            problems.take(folder.read(name)).flatten().filter(|text| !text.is_empty())
        };
        // The folders are counted because drivers before 2.28 show core_count to root only.
        let shown = problems.take(core_folders(&folder)).unwrap_or(0);
        let named = text(problems, "info/architecture/device_name");
        let by_name = named.as_deref().and_then(|name| instances::products().iter().find(|p| p.name == name));
        // A device with an unknown name is an unknown product, even if its PCI id is known.
        let product = if named.is_some() { by_name } else { self.product };
        let cores = if shown > 0 { shown } else { product.map_or(0, |product| product.cores) };
        if shown == 0 && self.shown {
            problems.note(format!("{CLASS}/{index} shows no cores; its product has {cores}"));
        }
        NeuronDevice {
            index,
            architecture: text(problems, "info/architecture/arch_type"),
            serial: None,
            state: state(problems, &folder),
            cores,
            memory: product.map(|product| product.memory),
            product: named.or_else(|| product.map(|product| product.name.to_owned())),
            links: links(problems, &folder),
            location: self.table.and_then(|table| locate(problems, self.functions, table, index)),
            access: problems.take(root.access(&format!("dev/{index}"))).unwrap_or(NodeAccess::Unknown),
        }
    }
}

/// Reads the state. Drivers show the state to root only.
fn state(problems: &mut Problems, folder: &Folder<'_>) -> Option<DeviceState> {
    let parse = |text: &str| number::<u32>(text).map(DeviceState::from);
    problems.take_unless_refused(folder.parse("reset", "a state such as 1", parse))
}

/// Returns the number of the folders that the driver shows for the cores of a device.
fn core_folders(folder: &Folder<'_>) -> Result<u32> {
    let names = folder.list()?;
    // A set, because a tree that no kernel made can have both neuron_core05 and neuron_core5.
    let cores: BTreeSet<u32> = names.iter().filter_map(|name| number(name.strip_prefix("neuron_core")?)).collect();
    Ok(u32::try_from(cores.len()).unwrap_or(u32::MAX))
}

/// Reads the devices at the other ends of the NeuronLinks. Drivers before 2.28 show these devices to root only.
fn links(problems: &mut Problems, folder: &Folder<'_>) -> Option<Vec<HostDevice>> {
    let parse = |text: &str| -> Option<Vec<HostDevice>> {
        text.split([',', ' ']).filter(|part| !part.is_empty()).map(|part| number(part).map(HostDevice)).collect()
    };
    problems.take_unless_refused(folder.parse("connected_devices", "device numbers such as 12, 1, 3, 4", parse))
}

/// Returns the place of a device by the table; `None` if this host contradicts the table: the host shows Neuron
/// functions, and none of them is at the table's address.
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
