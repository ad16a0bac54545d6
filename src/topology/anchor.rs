//! Resolves a name that a person types to a core, a device or a PCI function of a host.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Basis, LogicalCoreRow, Member, NearList};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::scan::gpu::Gpu;
use crate::types::{Bdf, Core, HostDevice, LogicalCore, PhysicalCore, number};

/// The core, device or function that distances are measured from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Anchor {
    /// A physical core, named `neuron5:0` or `5:0`.
    Core {
        /// The device, and the number of the core in the device.
        #[serde(flatten)]
        core: Core,
    },
    /// A logical core, named `nc5`: number 5 in `NEURON_RT_VISIBLE_CORES`.
    LogicalCore {
        /// The number of the core.
        logical: LogicalCore,
    },
    /// A Neuron device, named `neuron5`, `/dev/neuron5`, `nd5` or by its PCI address.
    Device {
        /// The number of the device.
        device: HostDevice,
    },
    /// An EFA interface, named by its PCI address, its RDMA name or its verbs node.
    Efa {
        /// The PCI address of the interface.
        address: Bdf,
    },
    /// A NUMA node and its memory, named `numa0`.
    Numa {
        /// The number of the node.
        node: u32,
    },
    /// A GPU, named by its PCI address, its UUID, its node or its position (`gpu0`), or a Neuron function whose device number
    /// is unknown, named by its PCI address.
    Function {
        /// The PCI address of the function.
        address: Bdf,
    },
}

/// The forms of names, for errors.
const FORMS: &str = "a core (neuron5:0 or 5:0), a logical core (nc5), a Neuron device (neuron5, /dev/neuron5), an EFA interface \
    (rdmap201s0, uverbs3), a GPU (gpu0 by PCI order, its UUID, /dev/nvidia0), a NUMA node (numa0), a PCI address \
    (0000:c9:00.0), or a name of nearfab topo matrix (E0, G0)";

/// Reads a PCI address. hwloc writes the domain with as few digits as possible.
fn address(name: &str) -> Option<Bdf> {
    name.parse().ok().or_else(|| {
        let (domain, rest) = name.split_once(':')?;
        let is_short = (1..4).contains(&domain.len()) && rest.contains(':');
        is_short.then(|| format!("{domain:0>4}:{rest}").parse().ok()).flatten()
    })
}

/// Reads the number of a Neuron device: `neuron5`, its node, and the short form of the Neuron runtime's messages.
fn device(name: &str) -> Option<HostDevice> {
    let digits = ["neuron", "/dev/neuron", "nd"].iter().find_map(|prefix| name.strip_prefix(prefix))?;
    number(digits).map(HostDevice)
}

/// Reads a physical core: a device and the core's number in the device.
fn core(name: &str) -> Option<Core> {
    let (of, core) = name.split_once(':')?;
    let device = device(of).or_else(|| number(of).map(HostDevice))?;
    Some(Core { device, core: PhysicalCore(number(core)?) })
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self {
            Self::Core { core } => core.to_string(),
            Self::LogicalCore { logical } => format!("nc{logical}"),
            Self::Device { device } => device.to_string(),
            Self::Efa { address } | Self::Function { address } => address.to_string(),
            Self::Numa { node } => format!("numa{node}"),
        })
    }
}

impl Host {
    /// Ranks the EFA interfaces by their nearness to an accelerator, a core or a NUMA node.
    ///
    /// ```
    /// use nearfab::{Basis, Host};
    /// let host = Host::from_instance("trn2.48xlarge")?;
    /// let near = host.near(host.anchor("neuron5:0")?, Basis::Pairing)?;
    /// assert_eq!(near.entries[0].to_string(), "0000:57:00.0 (rank 1, table trn2.48xlarge)");
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] if the host has no such device, core or node. [`Error::BadName`] for an EFA interface, which
    /// has devices near it: see [`Host::near_efa`].
    pub fn near(&self, anchor: Anchor, basis: Basis) -> Result<NearList<Bdf>> {
        match anchor {
            Anchor::Core { core } => self.near_core(core, basis),
            Anchor::LogicalCore { logical } => self.near_logical_core(logical, basis),
            Anchor::Device { device } => self.near_device(device, basis),
            Anchor::Function { address } => self.near_function(address),
            Anchor::Numa { node } => self.near_numa(node),
            Anchor::Efa { address } => Err(Error::BadName {
                text: address.to_string(),
                expected: "a core, a device, a GPU or a NUMA node, and not an EFA interface",
            }),
        }
    }

    /// Resolves the name of a core, a device, an EFA interface or a GPU of this host.
    ///
    /// | name | means |
    /// |---|---|
    /// | `neuron5`, `/dev/neuron5`, `nd5`, `N5` | the Neuron device 5 of the host |
    /// | `neuron5:0`, `nd5:0`, `5:0` | the physical core 0 of this device |
    /// | `nc20` | the logical core that 20 means in `NEURON_RT_VISIBLE_CORES` |
    /// | `rdmap87s0`, `rdmap87s0-rdm`, `rdmap87s0-dgrm` | the EFA interface of an RDMA device, or of a domain of libfabric |
    /// | `uverbs3`, `/dev/infiniband/uverbs3` | the EFA interface of a verbs node |
    /// | `gpu0`, `GPU0` | a GPU, by its position among the GPUs of the host in the order of PCI addresses |
    /// | `/dev/nvidia0` | the GPU of a device node |
    /// | `GPU-5d2cdc5e-…` | the GPU of a UUID, or of the beginning of a UUID |
    /// | `E0`, `G0`, `F0` | the device of this name in [`Host::matrix`] |
    /// | `0000:59:00.0`, `59:00.0`, `0:59:00.0`, `00000000:59:00.0`, `10000:02:00.0` | the device at a PCI address |
    /// | `numa0` | a NUMA node |
    ///
    /// ```
    /// use nearfab::{Anchor, Host, HostDevice};
    /// let host = Host::from_instance("trn2.48xlarge")?;
    /// assert_eq!(host.anchor("0000:58:00.0")?, Anchor::Device { device: HostDevice(5) });
    /// assert_eq!(host.anchor("/dev/neuron5")?, Anchor::Device { device: HostDevice(5) });
    /// assert_eq!(host.anchor("57:00.0")?, Anchor::Efa { address: "0000:57:00.0".parse()? });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] if the host has no device of this name or address, or if several GPUs have a UUID that begins
    /// so, or if an RDMA device is not an EFA interface. [`Error::BadName`] if the text cannot be a name of a device. A Neuron
    /// device, a core or a NUMA node that is named by its number is not looked up.
    pub fn anchor(&self, name: &str) -> Result<Anchor> {
        if let Some(address) = address(name) {
            return self.anchor_at(address);
        }
        if let Some(device) = device(name) {
            return Ok(Anchor::Device { device });
        }
        if let Ok(logical) = name.parse() {
            return Ok(Anchor::LogicalCore { logical });
        }
        if let Some(core) = core(name) {
            return Ok(Anchor::Core { core });
        }
        if let Some(node) = name.strip_prefix("numa").and_then(number) {
            return Ok(Anchor::Numa { node });
        }
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Error::BadName { text: name.to_owned(), expected: FORMS });
        }
        if let Some(anchor) = self.rdma_anchor(name)? {
            return Ok(anchor);
        }
        if let Some(gpu) = self.gpu_named(name)? {
            return Ok(Anchor::Function { address: gpu.address() });
        }
        match self.letters().into_iter().find(|(id, _)| id == name) {
            Some((_, Member::Neuron(device))) => Ok(Anchor::Device { device: device.index }),
            Some((_, Member::Efa(efa))) => Ok(Anchor::Efa { address: efa.address() }),
            Some((_, Member::Gpu(gpu))) => Ok(Anchor::Function { address: gpu.address() }),
            Some((_, Member::Unnumbered(function) | Member::Driverless(function))) => {
                Ok(Anchor::Function { address: function.address })
            }
            Some((_, Member::OtherRdma(_))) | None => Err(self.unknown(&format!("device named {name:?}"))),
        }
    }

    /// Returns the EFA interface of an RDMA device, of a domain of libfabric, or of a verbs node.
    fn rdma_anchor(&self, name: &str) -> Result<Option<Anchor>> {
        let verbs = name.strip_prefix("/dev/infiniband/").unwrap_or(name);
        let verbs: Option<u32> = verbs.strip_prefix("uverbs").and_then(number);
        let names = [Some(name), name.strip_suffix("-rdm"), name.strip_suffix("-dgrm")];
        let is_named = |rdma: Option<&str>, node: Option<u32>| {
            rdma.is_some_and(|rdma| names.contains(&Some(rdma))) || (verbs.is_some() && node == verbs)
        };
        let mut interfaces = self.efa_interfaces().iter();
        if let Some(efa) = interfaces.find(|efa| is_named(efa.rdma.as_deref(), efa.uverbs)) {
            return Ok(Some(Anchor::Efa { address: efa.address() }));
        }
        if self.other_rdma().iter().any(|device| is_named(Some(&device.name), device.uverbs)) {
            return Err(Error::NoSuchDevice {
                wanted: format!("EFA interface {name}"),
                present: "an RDMA device of that name that is not an EFA interface".to_owned(),
            });
        }
        Ok(None)
    }

    /// Returns the GPU of a position, a device node or a UUID.
    fn gpu_named(&self, name: &str) -> Result<Option<&Gpu>> {
        if let Some(position) = name.strip_prefix("gpu").or(name.strip_prefix("GPU")).and_then(number::<usize>) {
            return Ok(self.gpus().get(position));
        }
        if let Some(minor) = name.strip_prefix("/dev/nvidia").and_then(number) {
            return Ok(self.gpus().iter().find(|gpu| gpu.minor == Some(minor)));
        }
        if !name.starts_with("GPU-") {
            return Ok(None);
        }
        let mut found = self.gpus().iter().filter(|gpu| gpu.has_uuid(name));
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Err(Error::NoSuchDevice {
                wanted: format!("single GPU named {name}"),
                present: "several GPUs whose UUID begins so: give more of the UUID".to_owned(),
            }),
            (gpu, _) => Ok(gpu),
        }
    }

    /// Returns the error for a name that the host does not have: the devices that the host has, and the forms of names.
    fn unknown(&self, wanted: &str) -> Error {
        let named = |member: Member<'_>| match member {
            Member::Neuron(device) => Some(device.index.to_string()),
            Member::Efa(efa) => Some(efa.rdma.clone().unwrap_or_else(|| efa.address().to_string())),
            Member::Gpu(_) | Member::Unnumbered(_) | Member::Driverless(_) => Some(member.to_string()),
            Member::OtherRdma(_) => None,
        };
        let present: Vec<String> = self.members().filter_map(named).collect();
        let present = if present.is_empty() { "no device".to_owned() } else { present.join(", ") };
        Error::NoSuchDevice { wanted: wanted.to_owned(), present: format!("{present}; name {FORMS}") }
    }

    fn anchor_at(&self, address: Bdf) -> Result<Anchor> {
        let member = self.members().find(|member| member.address() == Some(address));
        match member {
            Some(Member::Neuron(device)) => Ok(Anchor::Device { device: device.index }),
            Some(Member::Efa(_)) => Ok(Anchor::Efa { address }),
            Some(Member::Unnumbered(_) | Member::Driverless(_) | Member::Gpu(_)) => Ok(Anchor::Function { address }),
            Some(Member::OtherRdma(_)) | None => {
                let known = self.members().filter(|member| !matches!(member, Member::OtherRdma(_)));
                let known: Vec<String> = known.filter_map(|member| Some(member.address()?.to_string())).collect();
                Err(Error::NoSuchDevice {
                    wanted: format!("EFA interface, Neuron device or GPU at {address}"),
                    present: if known.is_empty() { "none at a known address".to_owned() } else { known.join(", ") },
                })
            }
        }
    }

    /// Ranks the EFA interfaces by their nearness to a logical core. [`Host::numbering`] has the physical cores of each
    /// logical core.
    ///
    /// ```
    /// use nearfab::{Basis, Host, LogicalCore};
    /// let host = Host::from_instance("trn2.48xlarge")?; // four logical cores on each device
    /// let near = host.near_logical_core(LogicalCore(21), Basis::Pairing)?;
    /// let nearest = near.nearest().next().expect("the table pairs each device of this type");
    /// assert_eq!(nearest.target.to_string(), "0000:57:00.0");
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] if no visible device has a core of that number.
    pub fn near_logical_core(&self, logical: LogicalCore, basis: Basis) -> Result<NearList<Bdf>> {
        self.near_device(self.logical_core(logical)?.device, basis)
    }

    /// Returns the row of a logical core in [`Host::numbering`].
    pub(crate) fn logical_core(&self, logical: LogicalCore) -> Result<LogicalCoreRow> {
        let numbering = self.numbering();
        numbering.row(logical).cloned().ok_or_else(|| Error::NoSuchDevice {
            wanted: format!("logical core nc{logical}"),
            present: match numbering.rows.last() {
                Some(last) => format!("nc0 to nc{}", last.logical),
                None => "no logical core: no Neuron device has a node here".to_owned(),
            },
        })
    }
}
