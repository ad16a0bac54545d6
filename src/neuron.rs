//! Neuron devices (Trainium and Inferentia chips) and their cores.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Problems, Result};
use crate::id::{Core, HostDevice, PhysicalCore, number};
use crate::instances::{self, InstanceTable};
use crate::pci::{self, Bdf, PciFunction, PciId};
use crate::root::{HostRoot, NodeAccess};

const CLASS: &str = "sys/class/neuron_device";
/// The Neuron driver's name on the PCI bus.
const DRIVER: &str = "neuron-driver";

/// One Neuron device that the driver made a node for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeuronDevice {
    /// The host's number of the device.
    pub index: HostDevice,
    /// The product as the driver names it, such as `Trainium2`.
    pub product: Option<String>,
    /// The number of physical NeuronCores.
    pub cores: u32,
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
    /// Something that this version does not know, by a newer version's record.
    #[serde(other)]
    Other,
}

impl fmt::Display for LocationEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table { instance_type } => write!(f, "table {instance_type}"),
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

    /// The physical cores.
    pub fn cores(&self) -> impl Iterator<Item = Core> + '_ {
        (0..self.cores).map(|core| Core { device: self.index, core: PhysicalCore(core) })
    }
}

/// Whether the id is a Neuron device's.
pub(crate) fn is_neuron(id: PciId) -> bool {
    id.vendor == pci::AMAZON && instances::products().iter().any(|product| product.device_ids.contains(&id.device))
}

/// Whether it is a Neuron device that the Neuron driver does not have: unbound, or given to another driver.
pub(crate) fn is_driverless(function: &PciFunction) -> bool {
    is_neuron(function.id) && function.driver.as_deref() != Some(DRIVER)
}

/// The devices that the driver shows, in the order of their numbers, placed on PCI by the instance's table.
pub(crate) fn scan(
    root: &HostRoot,
    problems: &mut Problems,
    functions: &[PciFunction],
    table: Option<&InstanceTable>,
) -> Vec<NeuronDevice> {
    let names = problems.take(root.list(CLASS)).unwrap_or_default();
    // The folder also holds attributes of the class itself, and sorts neuron10 before neuron2.
    let mut indices: Vec<HostDevice> = names.iter().filter_map(|name| name.parse().ok()).collect();
    indices.sort_unstable();
    indices.dedup(); // neuron05 in a tree that no kernel made.
    let bound = functions.iter().filter(|function| is_neuron(function.id) && !is_driverless(function)).count();
    if bound > indices.len() {
        problems.note(format!(
            "the Neuron driver has {bound} functions on PCI, and {CLASS} shows {} devices: \
             drivers newer than 2.30 show them elsewhere, which this nearfab does not know",
            indices.len()
        ));
    }
    indices.into_iter().map(|index| device(root, problems, functions, table, index)).collect()
}

fn device(
    root: &HostRoot,
    problems: &mut Problems,
    functions: &[PciFunction],
    table: Option<&InstanceTable>,
    index: HostDevice,
) -> NeuronDevice {
    let folder = format!("{CLASS}/{index}");
    let product = problems.take(root.read(&format!("{folder}/info/architecture/device_name"))).flatten();
    // Counted, not read: core_count is for root only before driver 2.28.
    let mut cores = problems.take(core_folders(root, &folder)).unwrap_or(0);
    if cores == 0 {
        let known = instances::products().iter().find(|known| Some(known.name) == product.as_deref());
        cores = known.map_or(0, |known| known.cores);
        problems.note(format!("{folder} shows no cores; {cores} is what is known of its product"));
    }
    NeuronDevice {
        index,
        product,
        cores,
        links: links(root, problems, &folder),
        location: table.and_then(|table| locate(problems, functions, table, index)),
        access: problems.take(root.access(&format!("dev/{index}"))).unwrap_or(NodeAccess::Unknown),
    }
}

fn core_folders(root: &HostRoot, folder: &str) -> Result<u32> {
    let names = root.list(folder)?;
    let cores = names.iter().filter_map(|name| number(name.strip_prefix("neuron_core")?)).count();
    Ok(u32::try_from(cores).unwrap_or(u32::MAX))
}

fn links(root: &HostRoot, problems: &mut Problems, folder: &str) -> Option<Vec<HostDevice>> {
    let path = format!("{folder}/connected_devices");
    let text = match root.read(&path) {
        // Refused to other users by design before driver 2.28: not a problem of this host.
        Err(Error::Read { source, .. }) if source.kind() == std::io::ErrorKind::PermissionDenied => return None,
        other => problems.take(other).flatten()?,
    };
    let devices: Option<Vec<HostDevice>> =
        text.split([',', ' ']).filter(|part| !part.is_empty()).map(|part| number(part).map(HostDevice)).collect();
    if devices.is_none() {
        problems.add(root.malformed(&path, "device numbers such as 12, 1, 3, 4", &text));
    }
    devices
}

/// The table's address of the device, unless this host contradicts it: it shows Neuron functions and none of them is
/// there.
fn locate(
    problems: &mut Problems,
    functions: &[PciFunction],
    table: &InstanceTable,
    index: HostDevice,
) -> Option<Location> {
    let address = table.neuron(index)?.address;
    let evidence = LocationEvidence::Table { instance_type: table.instance_type.to_owned() };
    let function = functions.iter().find(|function| function.address == address && is_neuron(function.id));
    if function.is_none() && functions.iter().any(|function| is_neuron(function.id)) {
        problems.note(format!("{evidence} has {index} at {address}, where this host has no Neuron function"));
        return None;
    }
    Some(Location { address, evidence, function: function.cloned() })
}
