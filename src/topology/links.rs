//! NeuronLink: which Neuron devices are linked to each other.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use crate::host::{Host, Origin};
use crate::scan::neuron::NeuronDevice;
use crate::types::HostDevice;

/// The neighbours of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Links {
    /// The device.
    pub device: HostDevice,
    /// Its neighbours, by the host's numbers. A set: the tools differ in the order.
    pub neighbours: BTreeSet<HostDevice>,
    /// Who says so.
    pub evidence: LinkEvidence,
}

/// Who says which devices are linked. Both are nominal: neither looks at a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LinkEvidence {
    /// The driver, from a table of its own by the number of devices: it lists a torus even where switches join them.
    Driver,
    /// The table of the instance type, where the driver does not tell this user.
    Table {
        /// The instance type.
        instance_type: String,
    },
}

impl fmt::Display for LinkEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver => f.pad("driver, nominal"),
            Self::Table { instance_type } => f.pad(&format!("table {instance_type}, nominal")),
        }
    }
}

impl Host {
    /// The NeuronLink neighbours of each Neuron device; a device of which nobody says them is left out.
    ///
    /// ```
    /// use nearfab::Host;
    /// let links = Host::from_instance("trn2.48xlarge")?.links();
    /// let of_13: Vec<u32> = links[13].neighbours.iter().map(|device| device.0).collect();
    /// assert_eq!(of_13, [1, 9, 12, 14]);
    /// assert_eq!(links[13].evidence.to_string(), "table trn2.48xlarge, nominal");
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    #[must_use]
    pub fn links(&self) -> Vec<Links> {
        self.neuron().iter().filter_map(|device| self.links_of(device)).collect()
    }

    fn links_of(&self, device: &NeuronDevice) -> Option<Links> {
        let from_table = matches!(self.origin(), Origin::Table { .. });
        let (neighbours, evidence) = match &device.links {
            Some(links) if !from_table => (links.iter().copied().collect(), LinkEvidence::Driver),
            _ => {
                let table = self.table()?;
                let evidence = LinkEvidence::Table { instance_type: table.instance_type.to_owned() };
                (table.neuron(device.index)?.links?.iter().copied().collect(), evidence)
            }
        };
        Some(Links { device: device.index, neighbours, evidence })
    }
}
