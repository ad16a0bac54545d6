//! A host: one immutable snapshot of a machine's devices, their places and the access to them.

mod details;
mod nothing;
mod redacted;
mod usability;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use nothing::NothingFound;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Problems, Result};
use crate::scan::efa::{self, EfaDriver, EfaInterface};
use crate::scan::gpu::{self, Gpu};
use crate::scan::neuron::{self, Lnc, Location, LocationEvidence, NeuronDevice, NeuronDriver};
use crate::scan::numa::{self, NumaNode};
use crate::scan::pci::{self, PciFunction};
use crate::scan::rdma::{self, RdmaDevice, RdmaNamespaces};
use crate::scan::root::{HostRoot, NodeAccess};
use crate::tables::instances::{FunctionRow, InstanceTable, Source};
use crate::types::probe::{DeviceProbe, Probe};
use crate::types::{AMAZON, Bdf, CpuList, HostDevice, PciId, PciLink, PciRoot, number, path_text};

/// The version of the JSON form. A version can get new fields: readers skip fields that they do not know. A change of a
/// field's meaning gets a new version.
const FORMAT: u32 = 1;
/// The most cores that a record may state for a device. Real devices have up to eight cores. The list of cores of a
/// damaged record may not fit into memory.
const MOST_CORES: u32 = 1024;
const INSTANCE_TYPE: &str = "sys/devices/virtual/dmi/id/product_name";

/// The EFA interfaces and Neuron devices of one machine, their places on PCI, and this process's access to them, at one
/// moment.
///
/// A host never changes and is cheap to clone. To see changes of the machine, make a new host and [compare](Self::diff)
/// the two. Making a host is passive: it opens no device node, needs no privilege and no vendor library, has no side
/// effect, and reads no register of a device. [`Host::with_details`] adds the values that only the devices have.
///
/// ```
/// use nearfab::Host;
/// let host = Host::from_instance("trn2.48xlarge")?;
/// assert_eq!((host.neuron_devices().len(), host.efa_interfaces().len()), (16, 16));
/// # Ok::<(), nearfab::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Host {
    snapshot: Arc<Snapshot>,
    /// The folder that the host was read from; `/` for the live machine. A record does not contain the folder: a host
    /// that is read back from a record does not give access to the machine.
    root: Option<Arc<Path>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Snapshot {
    format: Format,
    origin: Origin,
    instance_type: Option<String>,
    numa: Vec<NumaNode>,
    efa: Vec<EfaInterface>,
    neuron: Vec<NeuronDevice>,
    driverless: Vec<PciFunction>,
    problems: Vec<String>,
    // Hosts that older versions recorded lack these fields.
    #[serde(default)]
    efa_driver: Option<EfaDriver>,
    #[serde(default)]
    neuron_driver: Option<NeuronDriver>,
    #[serde(default)]
    lnc: Option<Lnc>,
    #[serde(default)]
    gpus: Vec<Gpu>,
    #[serde(default)]
    other_rdma: Vec<RdmaDevice>,
    #[serde(default)]
    rdma_namespaces: Option<RdmaNamespaces>,
    #[serde(default)]
    unnumbered: Vec<PciFunction>,
    /// Paths of device nodes. The list is left out if it is empty, as on every host whose sysfs is whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unexplained_nodes: Vec<String>,
    /// The number of all functions on PCI.
    #[serde(default)]
    pci_functions: u32,
}

/// The version of a recorded host, which is always [`FORMAT`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct Format;

impl From<Format> for u32 {
    fn from(Format: Format) -> Self {
        FORMAT
    }
}

impl TryFrom<u32> for Format {
    type Error = String;

    fn try_from(format: u32) -> std::result::Result<Self, String> {
        if format == FORMAT {
            return Ok(Self);
        }
        Err(format!(
            "its format is {format}, and this nearfab reads format {FORMAT}: read it with the version of nearfab that wrote it"
        ))
    }
}

/// Where a host comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// The machine that the host was discovered on.
    Machine,
    /// The file tree below a folder.
    Tree {
        /// The folder.
        #[serde(with = "path_text")]
        root: PathBuf,
    },
    /// nearfab's table of an instance type, without any machine.
    Table {
        /// The instance type.
        instance_type: String,
    },
    /// An origin that a newer nearfab recorded and this version does not know.
    #[serde(other)]
    Other,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine => write!(f, "a recorded machine"),
            Self::Tree { root } => write!(f, "the tree {}", root.display()),
            Self::Table { instance_type } => write!(f, "the instance table {instance_type}"),
            Self::Other => write!(f, "a record of a newer nearfab"),
        }
    }
}

impl Host {
    /// Reads this machine.
    ///
    /// # Errors
    /// [`Error::Read`] if `/` cannot be opened. Other files that cannot be read are in [`Host::problems`]. A machine
    /// without devices is an empty host and not an error, see [`Host::nothing_found`].
    pub fn discover() -> Result<Self> {
        Self::from_root("/")
    }

    /// Reads the tree below `root`: `/host` in a container, or a recorded or synthetic `sys` and `dev`.
    ///
    /// # Errors
    /// [`Error::Read`] if the folder cannot be opened.
    pub fn from_root(root: impl AsRef<Path>) -> Result<Self> {
        // Telemetry opens the root again later, when the process may have another working directory.
        let root_path = std::path::absolute(&root).unwrap_or_else(|_| root.as_ref().to_owned());
        let root = HostRoot::open(&root_path)?;
        let mut problems = Problems::default();
        let instance_type = problems.take(root.read(INSTANCE_TYPE)).flatten();
        let table = instance_type.as_deref().and_then(|name| InstanceTable::find(name).ok());
        let numa = numa::scan(&root, &mut problems);
        let rdma = rdma::list(&root, &mut problems);
        let pci::Found { seen, functions } = pci::scan(&root, &mut problems, |function| {
            function.id.is_efa()
                || neuron::is_neuron(function.id)
                || gpu::is_gpu(function)
                || rdma.iter().any(|device| device.address == Some(function.address))
        });
        let efa = efa::scan(&root, &mut problems, &functions, &rdma);
        let efa_driver = efa::driver(&root, &mut problems, &functions);
        let other_rdma = rdma::others(&root, &mut problems, &rdma, &functions);
        let rdma_namespaces = rdma::namespaces(&root, &mut problems);
        let neuron::Found { driver: neuron_driver, devices: neuron, unnumbered } =
            neuron::scan(&root, &mut problems, &functions, table);
        // The environment of this process is valid for this machine only.
        let environment = |name: &str| std::env::var(name).ok().filter(|_| root.is_live());
        let lnc = neuron.first().map(|device| Lnc::read(&root, &mut problems, environment, device.cores));
        let gpus = gpu::scan(&root, &mut problems, &functions);
        let driverless = functions.into_iter().filter(neuron::is_driverless).collect();
        let unexplained_nodes = unexplained_nodes(&root, &mut problems, &neuron, &rdma);
        let origin = if root.is_live() { Origin::Machine } else { Origin::Tree { root: root_path.clone() } };
        let problems = problems.into_sentences();
        let snapshot = Snapshot {
            format: Format,
            origin,
            instance_type,
            numa,
            efa,
            neuron,
            driverless,
            problems,
            efa_driver,
            neuron_driver,
            lnc,
            gpus,
            other_rdma,
            rdma_namespaces,
            unnumbered,
            unexplained_nodes,
            pci_functions: u32::try_from(seen).unwrap_or(u32::MAX),
        };
        Ok(Self { snapshot: Arc::new(snapshot), root: Some(root_path.into()) })
    }

    /// Returns a host of this instance type with every EFA interface attached, from nearfab's table of the type.
    ///
    /// # Errors
    /// [`Error::UnknownInstance`] if there is no table.
    pub fn from_instance(instance_type: &str) -> Result<Self> {
        let table = InstanceTable::find(instance_type)?;
        Ok(Self { snapshot: Arc::new(Snapshot::of_table(table)), root: None })
    }

    /// Returns this host with its Neuron devices at the addresses that the driver reported. An address from the driver
    /// takes precedence over an address from a table.
    ///
    /// Adds one sentence to [`Host::problems`] for each device whose address changes. A device that did not answer
    /// keeps its address. The result is still a host of this machine and can be recorded: a privileged user can probe
    /// once, and other users can read the record.
    #[must_use]
    pub fn with_probed_addresses(&self, probe: &Probe) -> Self {
        let address = |device: &DeviceProbe| device.answers.as_ref().ok()?.address.as_ref().ok().copied();
        let probed: Vec<(HostDevice, Bdf)> =
            probe.devices.iter().filter_map(|device| Some((device.device, address(device)?))).collect();
        let mut snapshot = (*self.snapshot).clone();
        let mut problems = Problems::default();
        let functions: Vec<PciFunction> =
            self.neuron_devices().iter().filter_map(NeuronDevice::function).chain(self.unnumbered()).cloned().collect();
        for device in &mut snapshot.neuron {
            let Some(&(_, address)) = probed.iter().find(|(index, _)| *index == device.index) else { continue };
            if let Some(before) = device.location.take_if(|location| location.address != address) {
                let Location { address: other, evidence, .. } = before;
                problems.note(format!(
                    "{} is at {address} according to its driver, not at {other} ({evidence})",
                    device.index
                ));
            }
            let function = functions.iter().find(|function| function.address == address).cloned();
            device.location = Some(Location { address, evidence: LocationEvidence::Probe, function });
        }
        snapshot.unnumbered = neuron::unplaced(functions.iter(), &snapshot.neuron).cloned().collect();
        snapshot.problems.extend(problems.into_sentences());
        Self { snapshot: Arc::new(snapshot), root: self.root.clone() }
    }

    /// Reads a host from the JSON of [`Host::to_json`].
    ///
    /// # Errors
    /// [`Error::Record`] if the text is not a recorded host, or has a newer format.
    pub fn from_json(text: &str) -> Result<Self> {
        Self::parse(text, "the text")
    }

    /// Reads a recorded host from a file.
    ///
    /// # Errors
    /// [`Error::Read`] if the file cannot be read, [`Error::Record`] if it is not a recorded host.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|cause| Error::Read { path: path.to_owned(), cause })?;
        Self::parse(&text, &path.display().to_string())
    }

    pub(crate) fn parse(text: &str, origin: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let bad = |reason: String| Error::Record { origin: origin.to_owned(), reason };
        // The format is checked first: a newer format can lack a field, and the error about the missing field would not
        // say what to do.
        let version: Version = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
        Format::try_from(version.format).map_err(bad)?;
        let snapshot: Snapshot = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
        Self::from_snapshot(snapshot).map_err(bad)
    }

    /// Returns the host of a recorded snapshot, or a description of the error in the snapshot.
    fn from_snapshot(snapshot: Snapshot) -> std::result::Result<Self, String> {
        if let Some(twice) = snapshot.duplicate() {
            return Err(format!("{twice} is listed twice"));
        }
        if let Some(NeuronDevice { index, cores, .. }) = snapshot.neuron.iter().find(|device| device.cores > MOST_CORES)
        {
            return Err(format!("{index} has {cores} cores; no device has more than {MOST_CORES}"));
        }
        Ok(Self { snapshot: Arc::new(snapshot), root: None })
    }

    /// Returns the whole host as JSON. [`Host::from_json`] returns an equal host from this JSON. The returned host is
    /// not live.
    ///
    /// ```
    /// use nearfab::Host;
    /// let host = Host::from_instance("trn1.32xlarge")?;
    /// assert_eq!(Host::from_json(&host.to_json())?, host);
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    #[must_use]
    pub fn to_json(&self) -> String {
        to_json(self)
    }

    /// Returns the part of the host that a record contains.
    pub(crate) fn recorded(&self) -> &impl Serialize {
        &*self.snapshot
    }

    /// Returns true if this host is the machine that the process runs on. Only the devices of such a host can be
    /// opened.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.root() == Some(Path::new("/"))
    }

    /// Returns the folder that the host was read from.
    pub(crate) fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// Returns where this host comes from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.snapshot.origin
    }

    /// Returns the product name in the machine's firmware (DMI): on EC2 the instance type.
    #[must_use]
    pub fn instance_type(&self) -> Option<&str> {
        self.snapshot.instance_type.as_deref()
    }

    /// Returns nearfab's table of this instance type; `None` if nearfab has no such table.
    #[must_use]
    pub fn table(&self) -> Option<&'static InstanceTable> {
        InstanceTable::find(self.instance_type()?).ok()
    }

    /// Returns the NUMA nodes, in the order of their numbers.
    #[must_use]
    pub fn numa_nodes(&self) -> &[NumaNode] {
        &self.snapshot.numa
    }

    /// Returns the EFA interfaces, in the order of their PCI addresses.
    #[must_use]
    pub fn efa_interfaces(&self) -> &[EfaInterface] {
        &self.snapshot.efa
    }

    /// Returns the Neuron devices that the driver shows, in the order of their numbers.
    #[must_use]
    pub fn neuron_devices(&self) -> &[NeuronDevice] {
        &self.snapshot.neuron
    }

    /// Returns the Neuron functions on PCI that are not bound to the Neuron driver. These functions have no number and
    /// no node.
    #[must_use]
    pub fn driverless(&self) -> &[PciFunction] {
        &self.snapshot.driverless
    }

    /// Returns the Neuron PCI functions whose `/dev/neuronN` number is unknown, because nearfab has no table of the
    /// instance type.
    ///
    /// The driver knows the numbers, see [`Host::with_probed_addresses`]. [`Host::near_function`] works without the
    /// numbers.
    #[must_use]
    pub fn unnumbered(&self) -> &[PciFunction] {
        &self.snapshot.unnumbered
    }

    /// Returns the paths of Neuron nodes and verbs nodes in `/dev` that no device in sysfs explains, such as
    /// `/dev/neuron0`. Nothing else is known of these devices.
    ///
    /// Sandboxes such as gVisor and Kata Containers pass device nodes into a container whose sysfs shows no device. The
    /// Neuron nodes are looked for if sysfs shows no Neuron device, and the verbs nodes if sysfs shows no verbs device.
    #[must_use]
    pub fn unexplained_nodes(&self) -> &[String] {
        &self.snapshot.unexplained_nodes
    }

    /// Returns the efa driver; `None` if it is not loaded.
    #[must_use]
    pub fn efa_driver(&self) -> Option<&EfaDriver> {
        self.snapshot.efa_driver.as_ref()
    }

    /// Returns the Neuron driver; `None` if it is not loaded.
    #[must_use]
    pub fn neuron_driver(&self) -> Option<&NeuronDriver> {
        self.snapshot.neuron_driver.as_ref()
    }

    /// Returns how many physical cores form one logical core on this host; `None` on a host without Neuron devices.
    #[must_use]
    pub fn lnc(&self) -> Option<Lnc> {
        let assumed = || Some(Lnc::default_of(self.neuron_devices().first()?.cores));
        self.snapshot.lnc.clone().or_else(assumed)
    }

    /// Returns the NVIDIA GPUs, in the order of their PCI addresses.
    #[must_use]
    pub fn gpus(&self) -> &[Gpu] {
        &self.snapshot.gpus
    }

    /// Returns the RDMA devices that are not EFA interfaces, in the order of PCI addresses and names.
    #[must_use]
    pub fn other_rdma(&self) -> &[RdmaDevice] {
        &self.snapshot.other_rdma
    }

    /// Returns the problems of reading this host, one sentence each: files that could not be read, and contradictions.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.snapshot.problems
    }

    /// Returns the EFA interface at a PCI address.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] with the addresses of the host's interfaces.
    pub fn find_efa(&self, address: Bdf) -> Result<&EfaInterface> {
        self.efa_interfaces().iter().find(|efa| efa.address() == address).ok_or_else(|| Error::NoSuchDevice {
            wanted: format!("EFA interface {address}"),
            present: listing("EFA interface", self.efa_interfaces().iter().map(EfaInterface::address)),
        })
    }

    /// Returns the Neuron device with a number.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] with the numbers of the host's devices.
    pub fn find_neuron(&self, index: HostDevice) -> Result<&NeuronDevice> {
        self.neuron_devices().iter().find(|device| device.index == index).ok_or_else(|| Error::NoSuchDevice {
            wanted: format!("Neuron device {index}"),
            present: listing("Neuron device", self.neuron_devices().iter().map(|device| device.index)),
        })
    }
}

/// A host in JSON, with the name of its schema: the file in docs/reference/schema.
#[derive(Serialize)]
struct Form<'a> {
    schema: &'a str,
    #[serde(flatten)]
    snapshot: &'a Snapshot,
}

/// Serializes to the form of [`Host::to_json`].
impl Serialize for Host {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        Form { schema: "host", snapshot: &self.snapshot }.serialize(serializer)
    }
}

/// Deserializes the form of [`Host::to_json`] with the checks of [`Host::from_json`]. The host is not live.
///
/// ```
/// use nearfab::Host;
/// let host = Host::from_instance("inf2.xlarge")?;
/// let value = serde_json::to_value(&host)?;
/// assert_eq!(serde_json::from_value::<Host>(value)?, host);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Self::from_snapshot(Snapshot::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Two hosts are equal if they have equal devices, origins and problems. Whether a host is live does not count.
impl PartialEq for Host {
    fn eq(&self, other: &Self) -> bool {
        self.snapshot == other.snapshot
    }
}

impl Snapshot {
    /// Returns the name of a device that is listed twice.
    fn duplicate(&self) -> Option<String> {
        let devices = self.neuron.iter().map(|device| device.index.to_string());
        let interfaces = self.efa.iter().map(|efa| efa.address().to_string());
        let mut seen = BTreeSet::new();
        devices.chain(interfaces).find(|identity| !seen.insert(identity.clone()))
    }

    /// Returns the snapshot of a host with all devices of a table.
    fn of_table(table: &InstanceTable) -> Self {
        let numa: Vec<NumaNode> =
            table.numa.iter().map(|row| NumaNode { node: row.node, cpus: cpus(row.cpus) }).collect();
        let knows_path = table.source("path").is_some();
        let function = |address: Bdf, id: PciId, node: Option<u32>, bridges: &[Bdf]| {
            let bus = bridges.first().unwrap_or(&address).bus();
            let cpus = numa.iter().find(|n| Some(n.node) == node).map(|n| n.cpus.clone()).unwrap_or_default();
            PciFunction {
                address,
                id,
                numa: node,
                cpus,
                root: knows_path.then(|| PciRoot { domain: address.domain(), bus }),
                bridges: bridges.to_vec(),
                driver: None,
                link: PciLink::default(),
            }
        };
        let product = table.product();
        let product_id = product.and_then(|product| product.device_ids.first().copied()).unwrap_or_default();
        let product_id = PciId { vendor: AMAZON, device: product_id };
        let neuron = table.neuron.iter().map(|row| NeuronDevice {
            index: row.index,
            product: table.neuron_product.map(str::to_owned),
            architecture: None,
            serial: None,
            state: None,
            memory: product.map(|product| product.memory),
            cores: product.map_or(0, |product| product.cores),
            links: row.links.map(<[_]>::to_vec),
            location: table.address(row.index).map(|address| Location {
                address,
                evidence: LocationEvidence::Table { instance_type: table.instance_type.to_owned() },
                function: Some(function(address, product_id, row.numa, row.bridges)),
            }),
            access: NodeAccess::Unknown,
        });
        let place = |row: &FunctionRow| function(row.address, row.id, row.numa, row.bridges);
        let efa = table.efa.iter().map(|row| EfaInterface {
            function: place(row),
            rdma: None,
            uverbs: None,
            access: NodeAccess::Unknown,
            firmware: None,
            node_guid: None,
            p2p: None,
            port: None,
        });
        let invented = table.invented().map(|source| {
            let Source { fact, text, assumptions, .. } = source;
            format!("the table {} invents {fact} ({}): {text}", table.instance_type, assumptions.join(", "))
        });
        let gpus = table
            .gpu
            .iter()
            .map(|row| Gpu { function: place(row), minor: None, uuid: None, access: NodeAccess::Unknown })
            .collect();
        let cores = product.map(|product| product.cores).filter(|_| !table.neuron.is_empty());
        Self {
            format: Format,
            origin: Origin::Table { instance_type: table.instance_type.to_owned() },
            instance_type: Some(table.instance_type.to_owned()),
            efa: efa.collect(),
            neuron: neuron.collect(),
            numa,
            driverless: Vec::new(),
            problems: invented.collect(),
            efa_driver: None,
            neuron_driver: None,
            lnc: cores.map(Lnc::default_of),
            gpus,
            // The driver names RDMA devices, and a table has no driver.
            other_rdma: Vec::new(),
            rdma_namespaces: None,
            unnumbered: Vec::new(),
            unexplained_nodes: Vec::new(),
            pci_functions: 0,
        }
    }
}

/// Returns the Neuron nodes and verbs nodes that no device in sysfs explains, in the order of their numbers.
fn unexplained_nodes(
    root: &HostRoot,
    problems: &mut Problems,
    neuron: &[NeuronDevice],
    rdma: &[rdma::Listed],
) -> Vec<String> {
    let mut nodes = Vec::new();
    let mut add = |folder: &str, prefix: &str| {
        let names = problems.take(root.list(folder)).unwrap_or_default();
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| number(name.strip_prefix(prefix)?)).collect();
        numbers.sort_unstable();
        nodes.extend(numbers.into_iter().map(|number| format!("/{folder}/{prefix}{number}")));
    };
    if neuron.is_empty() {
        add("dev", "neuron");
    }
    if rdma.iter().all(|device| device.uverbs.is_none()) {
        add("dev/infiniband", "uverbs");
    }
    nodes
}

/// Returns a table's CPU list as a set. The build script has checked that the text is a CPU list.
fn cpus(text: &str) -> CpuList {
    text.parse().unwrap_or_default()
}

/// Returns a value as JSON. The value's type must be one whose serialization cannot fail.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    // Serialization to a text fails if a map has a key that is not a text, or if the serialization of one type fails. A
    // record has text keys only, and `path_text` serializes every path.
    serde_json::to_string_pretty(value).expect("a record has text keys and no type whose serialization fails")
}

/// Returns the items, separated by commas, for [`Error::NoSuchDevice`]. Returns `no {what}` if the list is empty.
fn listing<T: fmt::Display>(what: &str, items: impl ExactSizeIterator<Item = T>) -> String {
    if items.len() == 0 {
        return format!("no {what}");
    }
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
