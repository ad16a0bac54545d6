//! Resolves a name that a person types to a core, a device or a PCI function of a host.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Basis, LogicalCoreRow, Member, NearList};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::types::{Bdf, Core, HostDevice, LogicalCore, number};

/// The core, device or function that distances are measured from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Anchor {
    /// A physical core, named `neuron5:0`.
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
    /// A Neuron device, named `neuron5` or by its PCI address.
    Device {
        /// The number of the device.
        device: HostDevice,
    },
    /// An EFA interface, named by its PCI address or its RDMA name.
    Efa {
        /// The PCI address of the interface.
        address: Bdf,
    },
    /// A NUMA node and its memory, named `numa0`.
    Numa {
        /// The number of the node.
        node: u32,
    },
    /// A GPU, or a Neuron function whose device number is unknown, named by its PCI address.
    Function {
        /// The PCI address of the function.
        address: Bdf,
    },
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
    /// ```
    /// use nearfab::{Anchor, Host, HostDevice};
    /// let host = Host::from_instance("trn2.48xlarge")?;
    /// assert_eq!(host.anchor("0000:58:00.0")?, Anchor::Device { device: HostDevice(5) });
    /// assert_eq!(host.anchor("57:00.0")?, Anchor::Efa { address: "0000:57:00.0".parse()? });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] if no such device is at an address, or if an RDMA device is not an EFA interface.
    /// [`Error::BadName`] if the text has none of the known forms. A device or core that is named by its number is not
    /// looked up.
    pub fn anchor(&self, name: &str) -> Result<Anchor> {
        if let Ok(address) = name.parse() {
            return self.anchor_at(address);
        }
        if let Ok(device) = name.parse() {
            return Ok(Anchor::Device { device });
        }
        if let Ok(logical) = name.parse() {
            return Ok(Anchor::LogicalCore { logical });
        }
        if let Ok(core) = name.parse() {
            return Ok(Anchor::Core { core });
        }
        if let Some(node) = name.strip_prefix("numa").and_then(number) {
            return Ok(Anchor::Numa { node });
        }
        if let Some(efa) = self.efa_interfaces().iter().find(|efa| efa.rdma.as_deref() == Some(name)) {
            return Ok(Anchor::Efa { address: efa.address() });
        }
        if self.other_rdma().iter().any(|device| device.name == name) {
            return Err(Error::NoSuchDevice {
                wanted: format!("EFA interface {name}"),
                present: "an RDMA device of that name that is not an EFA interface".to_owned(),
            });
        }
        Err(Error::BadName {
            text: name.to_owned(),
            expected: "a core (neuron5:0), a logical core (nc5), a device (neuron5), the PCI address of an EFA interface, \
                       Neuron device or GPU of this host (0000:c9:00.0), or an EFA's RDMA name (rdmap201s0)",
        })
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
