//! Maps logical cores to the host's and the container's device numbers and to physical cores.

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::scan::gpu::Gpu;
use crate::scan::neuron::{CoreMapEvidence, Lnc, NeuronDevice};
use crate::scan::root::NodeAccess;
use crate::types::{ContainerDevice, Core, HostDevice, LogicalCore, PhysicalCore};

/// The logical cores that a process on this host, or in this container, can name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CoreNumbering {
    /// The logical core configuration (LNC) of the numbers; `None` on a host without Neuron devices.
    pub lnc: Option<Lnc>,
    /// The rows, one for each logical core, in ascending order.
    pub rows: Vec<LogicalCoreRow>,
}

/// A logical core with its device and its physical cores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogicalCoreRow {
    /// The number of the logical core.
    pub logical: LogicalCore,
    /// The host's number of the device.
    pub device: HostDevice,
    /// The container's number of the device.
    pub container: ContainerDevice,
    /// The physical cores of the logical core.
    pub physical: Vec<PhysicalCore>,
    /// The source of the physical cores.
    pub evidence: CoreMapEvidence,
}

impl CoreNumbering {
    /// Returns the logical core that contains a physical core, or `None` if the device is not visible.
    #[must_use]
    pub fn logical(&self, core: Core) -> Option<LogicalCore> {
        let holds = |row: &&LogicalCoreRow| row.device == core.device && row.physical.contains(&core.core);
        self.rows.iter().find(holds).map(|row| row.logical)
    }

    /// Returns the row of a logical core, or `None` if no logical core has that number.
    #[must_use]
    pub fn row(&self, logical: LogicalCore) -> Option<&LogicalCoreRow> {
        self.rows.get(logical.0 as usize)
    }
}

impl Host {
    /// Returns the Neuron devices whose device nodes exist, accessible or not. The sysfs of a container shows all
    /// devices of the host, but the container has only the nodes of its devices. The Neuron runtime numbers devices by
    /// nodes.
    pub fn visible_neuron(&self) -> impl Iterator<Item = &NeuronDevice> {
        self.neuron_devices().iter().filter(|device| device.access != NodeAccess::Missing)
    }

    /// Returns the GPUs that this process can see: all GPUs of the host, or in a container only the GPUs that the
    /// NVIDIA driver lists. CUDA numbers these GPUs from 0, by PCI address if `CUDA_DEVICE_ORDER` is `PCI_BUS_ID`.
    pub fn visible_gpus(&self) -> impl Iterator<Item = &Gpu> {
        self.gpus().iter().filter(|gpu| self.gpu_usability(gpu).is_possible())
    }

    /// Returns the container's number of a device, or `None` if the device is not visible.
    #[must_use]
    pub fn container_device(&self, device: HostDevice) -> Option<ContainerDevice> {
        let position = self.visible_neuron().position(|visible| visible.index == device)?;
        u32::try_from(position).ok().map(ContainerDevice)
    }

    /// Returns the host's number of a device of the container.
    #[must_use]
    pub fn host_device(&self, device: ContainerDevice) -> Option<HostDevice> {
        self.visible_neuron().nth(device.0 as usize).map(|visible| visible.index)
    }

    /// Returns the logical cores under the LNC of this host; see [`Host::lnc`].
    ///
    /// ```
    /// use nearfab::{Host, HostDevice, LogicalCore};
    /// let host = Host::from_instance("trn2.48xlarge")?;
    /// let numbering = host.numbering();
    /// assert_eq!(numbering.rows.len(), 64);
    ///
    /// // Logical core 5 is the second core of device 1. The driver's table has its physical cores.
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
