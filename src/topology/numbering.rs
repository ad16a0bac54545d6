//! The three numberings of one host, side by side.

use serde::Serialize;

use crate::host::Host;
use crate::scan::neuron::{CoreMapEvidence, Lnc, NeuronDevice};
use crate::scan::root::NodeAccess;
use crate::types::{ContainerDevice, Core, HostDevice, LogicalCore, PhysicalCore};

/// Every logical core that a process on this host, or in this container, can name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoreNumbering {
    /// The logical core configuration that it is for; `None` where there is no device.
    pub lnc: Option<Lnc>,
    /// One row a logical core, in the order of their numbers.
    pub rows: Vec<LogicalCoreRow>,
}

/// One logical core and what it is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogicalCoreRow {
    /// The number of the logical core.
    pub logical: LogicalCore,
    /// The host's number of its device.
    pub device: HostDevice,
    /// The container's number of its device.
    pub container: ContainerDevice,
    /// The physical cores that it is made of.
    pub physical: Vec<PhysicalCore>,
    /// How it is known which these are.
    pub evidence: CoreMapEvidence,
}

impl CoreNumbering {
    /// The logical core that a physical core belongs to; `None` for one of a device that is not visible.
    #[must_use]
    pub fn logical(&self, core: Core) -> Option<LogicalCore> {
        let holds = |row: &&LogicalCoreRow| row.device == core.device && row.physical.contains(&core.core);
        self.rows.iter().find(holds).map(|row| row.logical)
    }

    /// What a logical core is made of; `None` where there is none of that number.
    #[must_use]
    pub fn row(&self, logical: LogicalCore) -> Option<&LogicalCoreRow> {
        self.rows.get(logical.0 as usize)
    }
}

impl Host {
    /// The Neuron devices whose nodes are there, refused or not. A container sees all devices of its host in sysfs and
    /// has nodes of its own only; the runtime goes by nodes.
    pub fn visible_neuron(&self) -> impl Iterator<Item = &NeuronDevice> {
        self.neuron().iter().filter(|device| device.access != NodeAccess::Missing)
    }

    /// The container's number of a device; `None` for one that is not visible.
    #[must_use]
    pub fn container_device(&self, device: HostDevice) -> Option<ContainerDevice> {
        let position = self.visible_neuron().position(|visible| visible.index == device)?;
        u32::try_from(position).ok().map(ContainerDevice)
    }

    /// The host's number of a device of the container.
    #[must_use]
    pub fn host_device(&self, device: ContainerDevice) -> Option<HostDevice> {
        self.visible_neuron().nth(device.0 as usize).map(|visible| visible.index)
    }

    /// The logical cores by the configuration of this host; see [`Host::lnc`].
    ///
    /// ```
    /// use nearfab::{Host, HostDevice, LogicalCore};
    /// let host = Host::from_instance("trn2.48xlarge")?;
    /// let numbering = host.numbering();
    /// assert_eq!(numbering.rows.len(), 64);
    ///
    /// // Logical core 5 is the second of device 1; which physical cores it is made of, the driver's table says.
    /// let row = numbering.row(LogicalCore(5)).unwrap();
    /// assert_eq!(row.device, HostDevice(1));
    /// assert_eq!(row.physical.iter().map(|core| core.0).collect::<Vec<_>>(), [0, 1]);
    /// assert_eq!(numbering.logical("neuron1:0".parse()?), Some(LogicalCore(5)));
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    #[must_use]
    pub fn numbering(&self) -> CoreNumbering {
        let lnc = self.lnc();
        let rows = lnc.as_ref().map_or_else(Vec::new, |lnc| self.rows(lnc.size));
        CoreNumbering { lnc, rows }
    }

    fn rows(&self, size: u32) -> Vec<LogicalCoreRow> {
        let mut rows = Vec::new();
        let mut next = 0;
        for (container, device) in (0..).zip(self.visible_neuron()) {
            let map = device.core_map(self.instance_type());
            for physical in map.order.chunks_exact(size.max(1) as usize) {
                rows.push(LogicalCoreRow {
                    logical: LogicalCore(next),
                    device: device.index,
                    container: ContainerDevice(container),
                    physical: physical.to_vec(),
                    evidence: map.evidence,
                });
                next += 1;
            }
        }
        rows
    }
}
