//! The defects that a written host can have.

use std::fmt;
use std::str::FromStr;

use nearfab::instances::InstanceTable;
use nearfab::{Bdf, PciId};

use crate::driver::NeuronDriver;
use crate::efa::rdma_folder;
use crate::function::{self, EFA_DRIVER, Function, NEURON_DRIVER, is_efa};
use crate::neuron::DEVICES;
use crate::plan::{GpuView, Plan};
use crate::tree::{Edit, Error};

/// A difference between a host and the table of its instance type: damage, a missing part, an unusual driver.
///
/// [`Defect::FORMS`] lists the texts of defects. Several defects can be combined. Combined defects take effect in their
/// order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Defect {
    /// sysfs shows the Neuron device of this number, and the device's node is missing: udev did not run, or the host is
    /// a container without the device.
    NeuronNodeMissing(u32),
    /// The node of this Neuron device exists, and only root may open it. AWS's documentation since 2026 sets mode 0660
    /// and group `neuron`, which refuses users outside the group. The emulated mode is 000.
    NeuronNodeRefused(u32),
    /// The node `/dev/infiniband/uverbsN` of an RDMA device is missing.
    VerbsNodeMissing(u32),
    /// The node `/dev/infiniband/uverbsN` exists, and only root may open it (mode 000). In a pod with one EFA interface
    /// of p5, opening the other nodes fails with EPERM because of the container's device rules. A tree cannot have
    /// device rules.
    VerbsNodeRefused(u32),
    /// Only these Neuron devices have a node, while sysfs shows all devices: a container with some of the devices.
    Container(Vec<u32>),
    /// The host is a container with only these GPUs, by the N of `/dev/nvidiaN`. The other GPUs have no node, and the
    /// container runtime masks them in `/proc/driver/nvidia/gpus`. sysfs shows all GPUs.
    ContainerGpus(Vec<u32>),
    /// As [`Self::ContainerGpus`], and the NVIDIA driver lists all GPUs: nodes were added to the container without the
    /// container toolkit of NVIDIA.
    ContainerGpusUnmasked(Vec<u32>),
    /// `proc` has no file except the folders of processes, as if mounted with `subset=pid`: no CPU information, no kernel
    /// release, no list of GPUs.
    ProcMasked,
    /// A container with cgroup v2 whose limit of huge pages of 2 MiB is zero, and whose CPUs are the CPUs of the first NUMA
    /// node. Kubernetes sets this limit if a container requests no huge pages.
    CgroupLimits,
    /// The host has no sysfs: `sys` is missing, and the nodes in `dev` are present. Sandboxes and virtual machines of
    /// containers can look so.
    NoSysfs,
    /// The NUMA node of every PCI function is -1, as captured on trn1.2xlarge, g5.48xlarge and hpc6a. The firmware of
    /// these types gives no NUMA node.
    NoNuma,
    /// The Neuron driver is not loaded: the driver's package is not installed, or the driver was not built for this
    /// kernel. The kernel loads the driver by device id only for the first Inferentia.
    NeuronDriverUnbound,
    /// The efa driver is not loaded: the kernel, such as Debian's kernel, has no efa driver, and AWS's installer did
    /// not run.
    EfaDriverUnbound,
    /// The host also has two ConnectX functions. The verbs nodes of ConnectX have higher numbers than the verbs nodes
    /// of EFA interfaces.
    Mlx5Beside,
    /// The host also has two ConnectX functions, and the ConnectX driver was loaded first, as captured on p6-b200. The
    /// verbs nodes of ConnectX have lower numbers than the verbs nodes of EFA interfaces. The ConnectX devices are
    /// first in the RDMA list.
    Mlx5First,
    /// The driver's folder of this Neuron device is empty, as while the device is being removed.
    NeuronAttributesGone(u32),
    /// The PCI function of this Neuron device is missing, and the driver still shows the device.
    NeuronFunctionGone(u32),
    /// The folder of this EFA interface's RDMA device is empty, as while the RDMA device is being removed.
    EfaAttributesGone(Bdf),
    /// The PCI function of this EFA interface is missing, and the RDMA device is still listed: the interface was
    /// detached while a process had the RDMA device open.
    EfaFunctionGone(Bdf),
    /// The efa driver is bound to this EFA interface, and the interface has no RDMA device, as captured on 13 hosts of
    /// hpc6a.
    EfaWithoutRdma(Bdf),
    /// This EFA interface is bound to vfio-pci, for a virtual machine or a program in user space. The interface has no
    /// RDMA device.
    EfaVfio(Bdf),
    /// This GPU is bound to vfio-pci. The NVIDIA driver does not list the GPU, and numbers the other GPUs without it.
    GpuVfio(Bdf),
    /// The last reset of this Neuron device failed. The driver's file `reset` shows 2, and opening the node for reading
    /// fails with EINVAL.
    NeuronResetFailed(u32),
    /// A reset of this Neuron device does not end. The driver's file `reset` shows 0, as captured on two devices with driver
    /// 2.24.7. From 2.30 on, the versions of the device's firmware show `busy`.
    NeuronResetHanging(u32),
    /// This Neuron device does not answer on the PCI bus: each register reads as all ones. The driver shows a serial number
    /// of 16 times f and 65535 SRAM errors, and its file `reset` shows a ready device.
    NeuronOffBus(u32),
    /// Only this number of EFA interfaces is attached, the last by address. EFA interfaces are attached one by one when
    /// an instance is launched. On trn2.48xlarge nodes of EKS, 15 EFA interfaces are attached, since the card of the
    /// primary interface has a plain ENA. It is inferred that the card of the primary interface is the first card by
    /// address.
    EfaAttached(usize),
    /// The attribute at this path below the root contains garbage. The kernel writes no garbage, but tools that copy
    /// trees can write garbage, and a failing device can return any text.
    Garbage(String),
    /// The Neuron driver is loaded in this release. Release 2.31 moved files to paths that are not known. In an
    /// emulated tree of 2.31 the class has devices, and neither the class nor the devices have an attribute that
    /// nearfab knows.
    NeuronDriver(NeuronDriver),
    /// The cores of Neuron devices show no statistics. No such host is known. Nine of ten files are statistics, so
    /// tests that write many trees leave out the statistics.
    NoCoreStatistics,
    /// The firmware names an instance type that nearfab does not know: `trn9.48xlarge`.
    UnknownProduct,
    /// The firmware names no instance type: the host is not on EC2, or is a container without
    /// `/sys/devices/virtual/dmi`.
    NoProduct,
}

impl Defect {
    /// The text of each kind of defect, and a short description.
    pub const FORMS: [(&str, &str); 31] = [
        ("neuron-node-missing=N", "no /dev/neuronN"),
        ("neuron-node-refused=N", "only root may open /dev/neuronN"),
        ("verbs-node-missing=N", "no /dev/infiniband/uverbsN"),
        ("verbs-node-refused=N", "only root may open /dev/infiniband/uverbsN"),
        ("container=N,N", "only these Neuron devices have nodes"),
        ("container-gpus=N,N", "only these GPUs have nodes, and the NVIDIA driver lists only them"),
        ("container-gpus-unmasked=N,N", "only these GPUs have nodes, and the NVIDIA driver lists all GPUs"),
        ("proc-masked", "proc shows only processes"),
        ("cgroup-limits", "no huge pages, and only the CPUs of the first NUMA node"),
        ("no-sysfs", "sys is missing"),
        ("no-numa", "the NUMA node of every PCI function is -1"),
        ("neuron-driver-unbound", "the Neuron driver is not loaded"),
        ("efa-driver-unbound", "the efa driver is not loaded"),
        ("mlx5-beside", "two ConnectX functions, with verbs nodes after those of the EFAs"),
        ("mlx5-first", "two ConnectX functions, with verbs nodes before those of the EFAs"),
        ("neuron-attributes-gone=N", "the sysfs folder of neuronN is empty"),
        ("neuron-function-gone=N", "neuronN has no PCI function"),
        ("efa-attributes-gone=BDF", "the sysfs folder of this EFA's RDMA device is empty"),
        ("efa-function-gone=BDF", "this EFA has an RDMA device and no PCI function"),
        ("efa-without-rdma=BDF", "this EFA has no RDMA device"),
        ("efa-vfio=BDF", "this EFA is bound to vfio-pci"),
        ("gpu-vfio=BDF", "this GPU is bound to vfio-pci"),
        ("neuron-reset-failed=N", "the last reset of neuronN failed"),
        ("neuron-reset-hanging=N", "a reset of neuronN does not end"),
        ("neuron-off-bus=N", "the registers of neuronN read as all ones"),
        ("efa-attached=N", "only N EFAs are attached, the last by address"),
        ("garbage=PATH", "the attribute at PATH contains garbage"),
        ("neuron-driver=VERSION", "Neuron driver 2.24, 2.27, 2.28, 2.29, 2.30 or 2.31"),
        ("no-core-statistics", "the cores show no statistics, for a small tree"),
        ("unknown-product", "an instance type that nearfab does not know"),
        ("no-product", "the firmware names no instance type"),
    ];

    /// Returns defects that apply to a table. Each kind of defect that applies occurs at least once.
    #[must_use]
    pub fn all(table: &InstanceTable) -> Vec<Self> {
        let (devices, efas) = (table.neuron.len(), table.efa.len());
        let last = u32::try_from(devices).unwrap_or(u32::MAX).saturating_sub(1);
        let last_gpu = u32::try_from(table.gpu.len()).unwrap_or(u32::MAX).saturating_sub(1);
        let number = u32::try_from(efas / 2).unwrap_or(u32::MAX);
        let mut all = vec![
            Self::NeuronNodeMissing(last),
            Self::NeuronNodeRefused(last / 2),
            Self::VerbsNodeMissing(0),
            Self::VerbsNodeRefused(number),
            Self::Container(vec![last.saturating_sub(2), last.saturating_sub(1)]),
            Self::ContainerGpus(vec![last_gpu / 2, last_gpu]),
            Self::ContainerGpusUnmasked(vec![0, last_gpu / 2]),
            Self::ProcMasked,
            Self::CgroupLimits,
            Self::NoSysfs,
            Self::NoNuma,
            Self::NeuronDriverUnbound,
            Self::EfaDriverUnbound,
            Self::Mlx5Beside,
            Self::Mlx5First,
            Self::NeuronResetFailed(last),
            Self::NeuronResetHanging(last / 2),
            Self::NeuronOffBus(0),
            Self::NeuronAttributesGone(last),
            Self::NeuronFunctionGone(last),
            Self::NoCoreStatistics,
            Self::UnknownProduct,
            Self::NoProduct,
        ];
        if let Some(row) = table.efa.get(efas / 2) {
            let address = row.address;
            all.extend([Self::EfaAttributesGone(address), Self::EfaFunctionGone(address)]);
            all.extend([Self::EfaWithoutRdma(address), Self::EfaVfio(address)]);
        }
        all.extend(table.gpu.get(table.gpu.len() / 2).map(|row| Self::GpuVfio(row.address)));
        let mut counts = vec![1, efas / 2, efas.saturating_sub(1)];
        counts.dedup();
        all.extend(counts.into_iter().map(Self::EfaAttached));
        let functions = function::functions(table);
        all.extend(functions.first().map(|f| Self::Garbage(format!("sys/bus/pci/devices/{}/numa_node", f.address))));
        all.extend(NeuronDriver::ALL.map(Self::NeuronDriver));
        all.retain(|defect| defect.applies(table));
        all
    }

    /// Returns true if a host of the table's type can have this defect and the defect changes the host.
    #[must_use]
    pub fn applies(&self, table: &InstanceTable) -> bool {
        let is_device = |index: &u32| (*index as usize) < table.neuron.len();
        let is_efa = |address: &Bdf| table.efa.iter().any(|row| row.address == *address);
        let rdma = table.efa.len() + table.foreign.len();
        match self {
            Self::NeuronNodeMissing(n) | Self::NeuronNodeRefused(n) => is_device(n),
            Self::NeuronAttributesGone(n) | Self::NeuronFunctionGone(n) => is_device(n),
            Self::VerbsNodeMissing(n) | Self::VerbsNodeRefused(n) => (*n as usize) < rdma,
            Self::Container(devices) => devices.iter().all(is_device) && devices.len() < table.neuron.len(),
            Self::ContainerGpus(gpus) | Self::ContainerGpusUnmasked(gpus) => {
                gpus.iter().all(|gpu| (*gpu as usize) < table.gpu.len()) && gpus.len() < table.gpu.len()
            }
            Self::ProcMasked | Self::CgroupLimits | Self::NoSysfs => true,
            Self::GpuVfio(address) => table.gpu.iter().any(|row| row.address == *address),
            Self::NeuronResetFailed(n) | Self::NeuronResetHanging(n) => is_device(n),
            // The driver shows no serial number of the first Inferentia.
            Self::NeuronOffBus(n) => is_device(n) && table.neuron_product != Some("Inferentia"),
            Self::NoNuma => function::functions(table).iter().any(|function| function.numa.is_some()),
            Self::NeuronDriverUnbound | Self::NoCoreStatistics => !table.neuron.is_empty(),
            Self::EfaDriverUnbound => !table.efa.is_empty(),
            Self::Mlx5Beside | Self::Mlx5First => !table.efa.is_empty() && table.foreign.is_empty(),
            Self::EfaAttributesGone(a) | Self::EfaFunctionGone(a) | Self::EfaWithoutRdma(a) | Self::EfaVfio(a) => {
                is_efa(a)
            }
            Self::EfaAttached(count) => (1..table.efa.len()).contains(count),
            Self::Garbage(path) => path.starts_with("sys/") && !path.split('/').any(|part| part == ".."),
            Self::NeuronDriver(driver) => table
                .product()
                .is_some_and(|product| driver.supports(product) && *driver != NeuronDriver::newest_for(product)),
            Self::UnknownProduct | Self::NoProduct => true,
        }
    }

    pub(crate) fn apply(&self, table: &InstanceTable, plan: &mut Plan) -> Result<(), Error> {
        if !self.applies(table) {
            let instance_type = table.instance_type.to_owned();
            return Err(Error::DoesNotApply { defect: self.to_string(), instance_type });
        }
        let device = |index: u32| format!("dev/neuron{index}");
        let verbs = |number: u32| format!("dev/infiniband/uverbs{number}");
        match self {
            Self::NeuronNodeMissing(n) => plan.edits.push(Edit::Remove(device(*n))),
            Self::NeuronNodeRefused(n) => plan.edits.push(Edit::Refuse(device(*n))),
            Self::VerbsNodeMissing(n) => plan.edits.push(Edit::Remove(verbs(*n))),
            Self::VerbsNodeRefused(n) => plan.edits.push(Edit::Refuse(verbs(*n))),
            Self::Container(devices) => {
                let others = table.neuron.iter().map(|row| row.index.0).filter(|index| !devices.contains(index));
                plan.edits.extend(others.map(|index| Edit::Remove(device(index))));
            }
            Self::ContainerGpus(gpus) => {
                plan.gpus = GpuView { nodes: Some(gpus.clone()), listed: Some(gpus.clone()) };
            }
            Self::ContainerGpusUnmasked(gpus) => plan.gpus.nodes = Some(gpus.clone()),
            Self::ProcMasked => plan.edits.push(Edit::Empty("proc".to_owned())),
            Self::CgroupLimits => plan.cgroup_limits = true,
            Self::NoSysfs => plan.edits.push(Edit::RemoveFolder("sys".to_owned())),
            Self::EfaVfio(address) | Self::GpuVfio(address) => plan.bind_to_vfio(*address),
            Self::NeuronResetFailed(n) => plan.edits.push(overwrite(*n, "reset", "2\n")),
            Self::NeuronResetHanging(n) => {
                plan.edits.push(overwrite(*n, "reset", "0\n"));
                if plan.neuron.as_ref().is_some_and(|neuron| neuron.driver == NeuronDriver::V2_30) {
                    plan.edits.extend(["fw_api_version", "fw_build"].map(|file| overwrite(*n, file, "busy\n")));
                }
            }
            Self::NeuronOffBus(n) => {
                plan.edits.push(overwrite(*n, "info/serial_number", "ffffffffffffffff\n"));
                plan.edits.push(overwrite(*n, "stats/hardware/sram_ecc_uncorrected", "65535\n"));
            }
            Self::NoNuma => plan.functions.iter_mut().for_each(|function| function.numa = None),
            Self::NeuronDriverUnbound => {
                plan.unbind(NEURON_DRIVER);
                plan.neuron = None;
            }
            Self::EfaDriverUnbound => {
                plan.unbind(EFA_DRIVER);
                plan.rdma = plan.rdma().filter(|function| !is_efa(function.id)).map(|f| f.address).collect();
            }
            Self::Mlx5Beside => add_mlx5(plan, plan.rdma.len()),
            Self::Mlx5First => add_mlx5(plan, 0),
            Self::NeuronAttributesGone(n) => plan.edits.push(Edit::Empty(format!("{DEVICES}/neuron{n}"))),
            Self::NeuronFunctionGone(n) => {
                let missing = table.neuron.iter().find(|row| row.index.0 == *n).map(|row| row.address);
                plan.functions.retain(|function| Some(function.address) != missing);
            }
            Self::EfaAttributesGone(address) => {
                let device = plan.rdma().find(|function| function.address == *address).map(rdma_folder);
                plan.edits.extend(device.map(Edit::Empty));
            }
            Self::EfaFunctionGone(address) => {
                for folder in ["devices", "drivers/efa"] {
                    plan.edits.push(Edit::Remove(format!("sys/bus/pci/{folder}/{address}")));
                }
            }
            Self::EfaWithoutRdma(address) => plan.rdma.retain(|other| other != address),
            Self::EfaAttached(count) => {
                let mut all: Vec<Bdf> = table.efa.iter().map(|row| row.address).collect();
                all.sort_unstable();
                let detached = &all[..all.len() - count];
                plan.functions.retain(|function| !detached.contains(&function.address));
                plan.rdma.retain(|address| !detached.contains(address));
            }
            Self::Garbage(path) => plan.edits.push(Edit::Overwrite(path.clone(), "first\n")),
            Self::NeuronDriver(driver) => plan.neuron.iter_mut().for_each(|neuron| neuron.driver = *driver),
            Self::NoCoreStatistics => plan.neuron.iter_mut().for_each(|neuron| neuron.core_statistics = false),
            Self::UnknownProduct => plan.product_name = Some("trn9.48xlarge".to_owned()),
            Self::NoProduct => plan.product_name = None,
        }
        Ok(())
    }
}

/// Returns the change of a file of a Neuron device.
fn overwrite(device: u32, file: &str, text: &'static str) -> Edit {
    Edit::Overwrite(format!("{DEVICES}/neuron{device}/{file}"), text)
}

/// Returns the numbers of a list, with commas between them.
fn join(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// Adds two ConnectX functions on buses that no table uses. The ConnectX verbs nodes get the numbers from `place` on.
/// The place of the functions on the first NUMA node is invented.
fn add_mlx5(plan: &mut Plan, place: usize) {
    let addresses = [0xfd, 0xfe].map(|bus| Bdf::new(0, bus, 0, 0));
    plan.functions.extend(addresses.map(|address| Function {
        address,
        id: PciId { vendor: 0x15b3, device: 0x1021 },
        class: function::CLASS_INFINIBAND,
        numa: plan.numa.first().map(|row| row.node),
        bridges: Vec::new(),
        driver: Some("mlx5_core"),
        buses_below: None,
    }));
    plan.rdma.splice(place..place, addresses);
}

/// Writes the text of [`Defect::FORMS`].
impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeuronNodeMissing(n) => write!(f, "neuron-node-missing={n}"),
            Self::NeuronNodeRefused(n) => write!(f, "neuron-node-refused={n}"),
            Self::VerbsNodeMissing(n) => write!(f, "verbs-node-missing={n}"),
            Self::VerbsNodeRefused(n) => write!(f, "verbs-node-refused={n}"),
            Self::Container(devices) => write!(f, "container={}", join(devices)),
            Self::ContainerGpus(gpus) => write!(f, "container-gpus={}", join(gpus)),
            Self::ContainerGpusUnmasked(gpus) => write!(f, "container-gpus-unmasked={}", join(gpus)),
            Self::ProcMasked => write!(f, "proc-masked"),
            Self::CgroupLimits => write!(f, "cgroup-limits"),
            Self::NoSysfs => write!(f, "no-sysfs"),
            Self::EfaVfio(address) => write!(f, "efa-vfio={address}"),
            Self::GpuVfio(address) => write!(f, "gpu-vfio={address}"),
            Self::NeuronResetFailed(n) => write!(f, "neuron-reset-failed={n}"),
            Self::NeuronResetHanging(n) => write!(f, "neuron-reset-hanging={n}"),
            Self::NeuronOffBus(n) => write!(f, "neuron-off-bus={n}"),
            Self::NoNuma => write!(f, "no-numa"),
            Self::NeuronDriverUnbound => write!(f, "neuron-driver-unbound"),
            Self::EfaDriverUnbound => write!(f, "efa-driver-unbound"),
            Self::Mlx5Beside => write!(f, "mlx5-beside"),
            Self::Mlx5First => write!(f, "mlx5-first"),
            Self::NeuronAttributesGone(n) => write!(f, "neuron-attributes-gone={n}"),
            Self::NeuronFunctionGone(n) => write!(f, "neuron-function-gone={n}"),
            Self::EfaAttributesGone(address) => write!(f, "efa-attributes-gone={address}"),
            Self::EfaFunctionGone(address) => write!(f, "efa-function-gone={address}"),
            Self::EfaWithoutRdma(address) => write!(f, "efa-without-rdma={address}"),
            Self::EfaAttached(count) => write!(f, "efa-attached={count}"),
            Self::Garbage(path) => write!(f, "garbage={path}"),
            Self::NeuronDriver(driver) => write!(f, "neuron-driver={driver}"),
            Self::NoCoreStatistics => write!(f, "no-core-statistics"),
            Self::UnknownProduct => write!(f, "unknown-product"),
            Self::NoProduct => write!(f, "no-product"),
        }
    }
}

impl FromStr for Defect {
    type Err = ParseDefectError;

    fn from_str(text: &str) -> Result<Self, ParseDefectError> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let number = || value.parse::<u32>().ok();
        let numbers = || value.split(',').map(|n| n.parse().ok()).collect::<Option<Vec<u32>>>();
        let address = || value.parse::<Bdf>().ok();
        let parse = || {
            Some(match name {
                "neuron-node-missing" => Self::NeuronNodeMissing(number()?),
                "neuron-node-refused" => Self::NeuronNodeRefused(number()?),
                "verbs-node-missing" => Self::VerbsNodeMissing(number()?),
                "verbs-node-refused" => Self::VerbsNodeRefused(number()?),
                "container" => Self::Container(numbers()?),
                "container-gpus" => Self::ContainerGpus(numbers()?),
                "container-gpus-unmasked" => Self::ContainerGpusUnmasked(numbers()?),
                "efa-vfio" => Self::EfaVfio(address()?),
                "gpu-vfio" => Self::GpuVfio(address()?),
                "neuron-reset-failed" => Self::NeuronResetFailed(number()?),
                "neuron-reset-hanging" => Self::NeuronResetHanging(number()?),
                "neuron-off-bus" => Self::NeuronOffBus(number()?),
                "neuron-attributes-gone" => Self::NeuronAttributesGone(number()?),
                "neuron-function-gone" => Self::NeuronFunctionGone(number()?),
                "efa-attributes-gone" => Self::EfaAttributesGone(address()?),
                "efa-function-gone" => Self::EfaFunctionGone(address()?),
                "efa-without-rdma" => Self::EfaWithoutRdma(address()?),
                "efa-attached" => Self::EfaAttached(value.parse().ok()?),
                "garbage" => Self::Garbage(value.to_owned()),
                "neuron-driver" => {
                    Self::NeuronDriver(NeuronDriver::ALL.into_iter().find(|driver| driver.to_string() == value)?)
                }
                _ => [
                    Self::ProcMasked,
                    Self::CgroupLimits,
                    Self::NoSysfs,
                    Self::NoNuma,
                    Self::NeuronDriverUnbound,
                    Self::EfaDriverUnbound,
                    Self::Mlx5Beside,
                    Self::Mlx5First,
                    Self::NoCoreStatistics,
                    Self::UnknownProduct,
                    Self::NoProduct,
                ]
                .into_iter()
                .find(|defect| defect.to_string() == text)?,
            })
        };
        parse().ok_or_else(|| ParseDefectError(text.to_owned()))
    }
}

/// A text that is not a defect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseDefectError(String);

impl fmt::Display for ParseDefectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forms: Vec<&str> = Defect::FORMS.iter().map(|(form, _)| *form).collect();
        write!(f, "invalid defect {:?}: expected one of {}", self.0, forms.join(", "))
    }
}

impl std::error::Error for ParseDefectError {}
