//! Lists the NeuronLink neighbours of each Neuron device.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::host::{Host, Origin};
use crate::scan::neuron::NeuronDevice;
use crate::types::HostDevice;

/// The NeuronLink neighbours of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Links {
    /// The number of the device.
    pub device: HostDevice,
    /// The neighbours, by the host's numbers. The order has no meaning: tools list neighbours in different orders.
    pub neighbours: BTreeSet<HostDevice>,
    /// The source of the links.
    pub evidence: LinkEvidence,
}

/// The source of NeuronLink neighbours. Both sources are nominal: neither source checks whether a link is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LinkEvidence {
    /// The Neuron driver. The driver has one table for each number of devices. The table lists a torus even on hosts
    /// with NeuronSwitches.
    Driver,
    /// The table of the instance type, if the driver does not show the links to this user.
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
    /// Returns the NeuronLink neighbours of each Neuron device. A device whose neighbours are unknown is left out, and so is a
    /// neighbour that the host does not have.
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
        self.neuron_devices().iter().filter_map(|device| self.links_of(device)).collect()
    }

    fn links_of(&self, device: &NeuronDevice) -> Option<Links> {
        let from_table = matches!(self.origin(), Origin::Table { .. });
        let of_type = self.table().and_then(|table| Some((table, table.neuron(device.index)?.links?)));
        let (neighbours, evidence) = match (&device.links, of_type) {
            // The driver has no list for a host on which devices are absent, and shows an empty one.
            (Some(links), of_type) if !from_table && (!links.is_empty() || of_type.is_none()) => {
                (&links[..], LinkEvidence::Driver)
            }
            (_, Some((table, links))) => (links, LinkEvidence::Table { instance_type: table.instance_type.to_owned() }),
            (_, None) => return None,
        };
        let is_present = |index: &HostDevice| self.find_neuron(*index).is_ok();
        let neighbours = neighbours.iter().copied().filter(is_present).collect();
        Some(Links { device: device.index, neighbours, evidence })
    }
}
