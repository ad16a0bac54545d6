//! A host: one immutable snapshot of what stands where.

mod nothing;
mod redacted;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use nothing::NothingFound;
use serde::{Deserialize, Serialize, Serializer};

use crate::error::{Error, Problems, Result};
use crate::scan::efa::{self, EfaDriver, EfaInterface};
use crate::scan::gpu::{self, Gpu};
use crate::scan::neuron::{self, Lnc, Location, LocationEvidence, NeuronDevice, NeuronDriver};
use crate::scan::numa::{self, NumaNode};
use crate::scan::pci::{self, PciFunction};
use crate::scan::rdma::{self, RdmaDevice};
use crate::scan::root::{HostRoot, NodeAccess};
use crate::tables::instances::{FunctionRow, InstanceTable, Source};
use crate::types::probe::{DeviceProbe, Probe};
use crate::types::{AMAZON, Bdf, CpuList, HostDevice, PciId, PciLink, PciRoot};

/// The version of the JSON form. It grows within a version: readers skip fields that they do not know. What would
/// change a field's meaning gets a new number.
const FORMAT: u32 = 1;
/// What a record says above this is garbage, of which lists would not fit into memory; a device has eight.
const MOST_CORES: u32 = 1024;
const INSTANCE_TYPE: &str = "sys/devices/virtual/dmi/id/product_name";

/// EFA interfaces and Neuron devices of one machine, where they are, and who may use them, as seen at one moment.
///
/// A host never changes and is cheap to clone; look again by making a new one. Making one is passive: it opens no
/// device node, needs no privilege and no vendor library, and has no side effect.
///
/// ```
/// use nearfab::Host;
/// let host = Host::from_instance("trn2.48xlarge")?;
/// assert_eq!((host.neuron().len(), host.efa().len()), (16, 16));
/// # Ok::<(), nearfab::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Host {
    snapshot: Arc<Snapshot>,
    /// Where it was read, `/` for the live machine. Never recorded: a host that was read back is not that machine any
    /// more, whatever it was before.
    root: Option<Arc<Path>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Snapshot {
    format: u32,
    origin: Origin,
    instance_type: Option<String>,
    numa: Vec<NumaNode>,
    efa: Vec<EfaInterface>,
    neuron: Vec<NeuronDevice>,
    driverless: Vec<PciFunction>,
    problems: Vec<String>,
    // Recorded hosts from before these were read have none of them.
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
    unnumbered: Vec<PciFunction>,
    /// How many functions PCI shows, of whatever kind.
    #[serde(default)]
    pci_functions: u32,
}

/// Where a host comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// This machine, at the time.
    Machine,
    /// The file tree below a folder.
    Tree {
        /// That folder.
        root: PathBuf,
    },
    /// The table of an instance type: no machine at all.
    Table {
        /// The instance type.
        instance_type: String,
    },
    /// Somewhere that this version does not know, by a newer version's record.
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
    /// Looks at this machine.
    ///
    /// # Errors
    /// [`Error::Read`] where not even `/` can be opened. What else cannot be read is in [`Host::problems`]; a machine
    /// without devices is an empty host, no error.
    pub fn discover() -> Result<Self> {
        Self::from_root("/")
    }

    /// Looks at the tree below `root`: `/host` in a container, or a recorded or synthetic `sys` and `dev`.
    ///
    /// # Errors
    /// [`Error::Read`] where the folder cannot be opened.
    pub fn from_root(root: impl AsRef<Path>) -> Result<Self> {
        // It is looked at again later, from wherever the process is then.
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
        let neuron::Found { driver: neuron_driver, devices: neuron, unnumbered } =
            neuron::scan(&root, &mut problems, &functions, table);
        // The environment of this process tells of the machine that it runs on, and of no other.
        let environment = |name: &str| std::env::var(name).ok().filter(|_| root.is_live());
        let lnc = neuron.first().map(|device| Lnc::read(&root, &mut problems, environment, device.cores));
        let gpus = gpu::scan(&root, &mut problems, &functions);
        let driverless = functions.into_iter().filter(neuron::is_driverless).collect();
        let origin = if root.is_live() { Origin::Machine } else { Origin::Tree { root: root_path.clone() } };
        let problems = problems.into_sentences();
        let snapshot = Snapshot {
            format: FORMAT,
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
            unnumbered,
            pci_functions: u32::try_from(seen).unwrap_or(u32::MAX),
        };
        Ok(Self { snapshot: Arc::new(snapshot), root: Some(root_path.into()) })
    }

    /// What a host of this instance type looks like with every EFA interface attached, by the table of the type.
    ///
    /// # Errors
    /// [`Error::UnknownInstance`] where there is no table.
    pub fn from_instance(instance_type: &str) -> Result<Self> {
        let table = InstanceTable::find(instance_type)?;
        Ok(Self { snapshot: Arc::new(Snapshot::of_table(table)), root: None })
    }

    /// Returns this host with its Neuron devices at the addresses that the driver gave, which outrank a table's.
    ///
    /// A device whose address changes adds one sentence to [`Host::problems`]. A device that did not answer keeps its
    /// address. The result is still a host of this machine, and is recorded and compared as any other: a privileged user can
    /// probe once, and others can read the record.
    #[must_use]
    pub fn with_probed_addresses(&self, probe: &Probe) -> Self {
        let address = |device: &DeviceProbe| device.answers.as_ref().ok()?.address.as_ref().ok().copied();
        let probed: Vec<(HostDevice, Bdf)> =
            probe.devices.iter().filter_map(|device| Some((device.device, address(device)?))).collect();
        let mut snapshot = (*self.snapshot).clone();
        let mut problems = Problems::default();
        let functions: Vec<PciFunction> =
            self.neuron().iter().filter_map(NeuronDevice::function).chain(self.unnumbered()).cloned().collect();
        for device in &mut snapshot.neuron {
            let Some(&(_, address)) = probed.iter().find(|(index, _)| *index == device.index) else { continue };
            if let Some(before) = device.location.take_if(|location| location.address != address) {
                let Location { address: other, evidence, .. } = before;
                problems
                    .note(format!("{} is at {address}, says its driver, not at {other} ({evidence})", device.index));
            }
            let function = functions.iter().find(|function| function.address == address).cloned();
            device.location = Some(Location { address, evidence: LocationEvidence::Probe, function });
        }
        snapshot.unnumbered = neuron::unplaced(functions.iter(), &snapshot.neuron).cloned().collect();
        snapshot.problems.extend(problems.into_sentences());
        Self { snapshot: Arc::new(snapshot), root: self.root.clone() }
    }

    /// Reads back what [`Host::to_json`] wrote.
    ///
    /// # Errors
    /// [`Error::Record`] where the text is no recorded host, or one of a newer format.
    pub fn from_json(text: &str) -> Result<Self> {
        Self::parse(text, "the text")
    }

    /// Reads a host recorded in a file.
    ///
    /// # Errors
    /// [`Error::Read`] where the file cannot be read, [`Error::Record`] where it is no recorded host.
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
        let version: Version = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
        if version.format != FORMAT {
            return Err(bad(format!(
                "its format is {}, this nearfab reads format {FORMAT}: read it with the nearfab that wrote it",
                version.format
            )));
        }
        let snapshot: Snapshot = serde_json::from_str(text).map_err(|e| bad(e.to_string()))?;
        if let Some(twice) = snapshot.listed_twice() {
            return Err(bad(format!("{twice} is listed twice")));
        }
        if let Some(NeuronDevice { index, cores, .. }) = snapshot.neuron.iter().find(|device| device.cores > MOST_CORES)
        {
            return Err(bad(format!("{index} has {cores} cores; no device has more than {MOST_CORES}")));
        }
        Ok(Self { snapshot: Arc::new(snapshot), root: None })
    }

    /// The host as JSON, complete: [`Host::from_json`] gives the same host, except that it is not live.
    ///
    /// ```
    /// use nearfab::Host;
    /// let host = Host::from_instance("trn1.32xlarge")?;
    /// assert_eq!(Host::from_json(&host.to_json())?, host);
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    #[must_use]
    pub fn to_json(&self) -> String {
        // A snapshot has no maps with odd keys and no failing serializers, the only ways for this to fail.
        serde_json::to_string_pretty(&*self.snapshot).unwrap_or_default()
    }

    /// What is recorded of it.
    pub(crate) fn form(&self) -> &impl Serialize {
        &*self.snapshot
    }

    /// Whether this is the machine that the process runs on, so that its devices can be opened.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.root() == Some(Path::new("/"))
    }

    /// The file tree that it was read from.
    pub(crate) fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// Where this host comes from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.snapshot.origin
    }

    /// What the machine's firmware says it is: on EC2 the instance type.
    #[must_use]
    pub fn instance_type(&self) -> Option<&str> {
        self.snapshot.instance_type.as_deref()
    }

    /// The table of this instance type, where there is one.
    #[must_use]
    pub fn table(&self) -> Option<&'static InstanceTable> {
        InstanceTable::find(self.instance_type()?).ok()
    }

    /// The NUMA nodes, by number.
    #[must_use]
    pub fn numa(&self) -> &[NumaNode] {
        &self.snapshot.numa
    }

    /// The EFA interfaces, by PCI address.
    #[must_use]
    pub fn efa(&self) -> &[EfaInterface] {
        &self.snapshot.efa
    }

    /// The Neuron devices that the driver shows, by number.
    #[must_use]
    pub fn neuron(&self) -> &[NeuronDevice] {
        &self.snapshot.neuron
    }

    /// Neuron functions on PCI to which the Neuron driver is not bound: they have no number and no node.
    #[must_use]
    pub fn driverless(&self) -> &[PciFunction] {
        &self.snapshot.driverless
    }

    /// Neuron functions on PCI that the driver drives, and of which it is not known which of [`Host::neuron`] they are: the
    /// instance type has no table. Only the driver can tell, see [`Host::with_probed_addresses`]; what is near a function is known all
    /// the same, see [`Host::near_function`].
    #[must_use]
    pub fn unnumbered(&self) -> &[PciFunction] {
        &self.snapshot.unnumbered
    }

    /// The efa driver, where it is loaded.
    #[must_use]
    pub fn efa_driver(&self) -> Option<&EfaDriver> {
        self.snapshot.efa_driver.as_ref()
    }

    /// The Neuron driver, where it is loaded.
    #[must_use]
    pub fn neuron_driver(&self) -> Option<&NeuronDriver> {
        self.snapshot.neuron_driver.as_ref()
    }

    /// How many physical cores make one logical core here; `None` on a host without Neuron devices.
    #[must_use]
    pub fn lnc(&self) -> Option<Lnc> {
        let assumed = || Some(Lnc::default_of(self.neuron().first()?.cores));
        self.snapshot.lnc.clone().or_else(assumed)
    }

    /// The NVIDIA GPUs, by PCI address.
    #[must_use]
    pub fn gpus(&self) -> &[Gpu] {
        &self.snapshot.gpus
    }

    /// RDMA devices that are not EFA interfaces, by PCI address and name.
    #[must_use]
    pub fn other_rdma(&self) -> &[RdmaDevice] {
        &self.snapshot.other_rdma
    }

    /// What could not be read or did not fit together, one sentence each.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.snapshot.problems
    }

    /// The EFA interface at an address.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`], which names those there are.
    pub fn find_efa(&self, address: Bdf) -> Result<&EfaInterface> {
        self.efa().iter().find(|efa| efa.address() == address).ok_or_else(|| Error::NoSuchDevice {
            wanted: format!("EFA interface {address}"),
            present: listing("EFA interface", self.efa().iter().map(EfaInterface::address)),
        })
    }

    /// The Neuron device of a number.
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`], which names those there are.
    pub fn find_neuron(&self, index: HostDevice) -> Result<&NeuronDevice> {
        self.neuron().iter().find(|device| device.index == index).ok_or_else(|| Error::NoSuchDevice {
            wanted: format!("Neuron device {index}"),
            present: listing("Neuron device", self.neuron().iter().map(|device| device.index)),
        })
    }
}

/// In the form of [`Host::to_json`].
impl Serialize for Host {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.snapshot.serialize(serializer)
    }
}

/// Two hosts are equal when they show the same; whether either is live does not count.
impl PartialEq for Host {
    fn eq(&self, other: &Self) -> bool {
        self.snapshot == other.snapshot
    }
}

impl Snapshot {
    /// A device whose identity another one has as well.
    fn listed_twice(&self) -> Option<String> {
        let devices = self.neuron.iter().map(|device| device.index.to_string());
        let interfaces = self.efa.iter().map(|efa| efa.address().to_string());
        let mut seen = BTreeSet::new();
        devices.chain(interfaces).find(|identity| !seen.insert(identity.clone()))
    }

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
            .map(|row| Gpu { function: place(row), minor: None, access: NodeAccess::Unknown })
            .collect();
        let cores = product.map(|product| product.cores).filter(|_| !table.neuron.is_empty());
        Self {
            format: FORMAT,
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
            // They are known by names that a driver gives, and no driver is in a table.
            other_rdma: Vec::new(),
            unnumbered: Vec::new(),
            pci_functions: 0,
        }
    }
}

/// The CPU lists of tables were checked when they were compiled in.
fn cpus(text: &str) -> CpuList {
    text.parse().unwrap_or_default()
}

fn listing<T: fmt::Display>(what: &str, items: impl ExactSizeIterator<Item = T>) -> String {
    if items.len() == 0 {
        return format!("no {what}");
    }
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
