//! What can be wrong with a host, or unusual of it.

use std::fmt;
use std::str::FromStr;

use nearfab::instances::InstanceTable;
use nearfab::{Bdf, PciId};

use crate::driver::NeuronDriver;
use crate::efa::rdma_folder;
use crate::function::{self, EFA_DRIVER, Function, NEURON_DRIVER, is_efa};
use crate::neuron::DEVICES;
use crate::plan::Plan;
use crate::tree::{Edit, Error};

/// Something that makes a host other than its instance type's table has it: damage, a missing part, an unusual driver.
///
/// Written as in [`Defect::FORMS`]. Several can be combined; they take effect in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Defect {
    /// The driver shows a Neuron device, and there is no node of this number: udev did not run, or this is a container
    /// that was not given the device.
    NeuronNodeMissing(u32),
    /// The node is there and for root alone, as AWS's documentation has it since 2026 (mode 0660, group `neuron`) for who
    /// is not of the group. Here nobody but root may use it (mode 000).
    NeuronNodeRefused(u32),
    /// The same of `/dev/infiniband/uverbsN`.
    VerbsNodeMissing(u32),
    /// The same of `/dev/infiniband/uverbsN`. In a pod with one EFA interface of p5 the others are listed and answer
    /// EPERM, by the container's device rules, which no tree can have.
    VerbsNodeRefused(u32),
    /// Nodes of these Neuron devices only while sysfs shows all: a container that was given some.
    Container(Vec<u32>),
    /// No PCI function tells its NUMA node, as captured on trn1.2xlarge, g5.48xlarge and hpc6a: the firmware does not say.
    NoNuma,
    /// The Neuron driver is not loaded: its package was not installed, or not built for this kernel. It is not loaded by
    /// device id, except for the first Inferentia.
    NeuronDriverUnbound,
    /// The efa driver is not loaded: the kernel has none, as Debian's, and AWS's installer did not run.
    EfaDriverUnbound,
    /// Two ConnectX functions stand beside the EFA interfaces, with the verbs nodes after theirs.
    Mlx5Beside,
    /// The same, and their driver was first, as captured on p6-b200: their nodes and their place in the RDMA list are
    /// before those of the EFA interfaces.
    Mlx5First,
    /// The driver's folder of this Neuron device is there, and nothing in it: the device is just being removed.
    NeuronAttributesGone(u32),
    /// The PCI function of this Neuron device is gone, and the driver still shows the device.
    NeuronFunctionGone(u32),
    /// The folder of this EFA interface's RDMA device is there, and nothing in it: it is just being removed.
    EfaAttributesGone(Bdf),
    /// The PCI function of this EFA interface is not on the bus any more, and its RDMA device is still listed: a process
    /// keeps it while the interface was detached.
    EfaFunctionGone(Bdf),
    /// This EFA interface has a driver and no RDMA device, as captured on 13 hosts of hpc6a.
    EfaWithoutRdma(Bdf),
    /// So many EFA interfaces are attached, the last ones by address: they are attached one by one when an instance is
    /// launched. On trn2.48xlarge nodes of EKS it is 15, since the card of the primary interface has a plain ENA; that
    /// this card is the first by address is inferred.
    EfaAttached(usize),
    /// This attribute, by its path below the root, is garbage: no kernel writes such, but trees are copied by tools, and
    /// files of a sick device read as anything.
    Garbage(String),
    /// Another release of the Neuron driver. Of 2.31 it is known that files moved, not where to: the class has devices,
    /// and neither they nor the class have an attribute that is known.
    NeuronDriver(NeuronDriver),
    /// The cores of Neuron devices show no statistics. No host is known to be so: they are nine files of ten, and who writes
    /// many trees does without them.
    NoCoreStatistics,
    /// The firmware names an instance type that came after this nearfab: `trn9.48xlarge`.
    UnknownProduct,
    /// The firmware names none: not EC2, or a container without `/sys/devices/virtual/dmi`.
    NoProduct,
}

impl Defect {
    /// How each kind is written, and what it is in a few words.
    pub const FORMS: [(&str, &str); 21] = [
        ("neuron-node-missing=N", "no /dev/neuronN"),
        ("neuron-node-refused=N", "/dev/neuronN for root only"),
        ("verbs-node-missing=N", "no /dev/infiniband/uverbsN"),
        ("verbs-node-refused=N", "/dev/infiniband/uverbsN for root only"),
        ("container=N,N", "nodes of these Neuron devices only"),
        ("no-numa", "NUMA node -1 everywhere"),
        ("neuron-driver-unbound", "the Neuron driver is not loaded"),
        ("efa-driver-unbound", "the efa driver is not loaded"),
        ("mlx5-beside", "two ConnectX functions, numbered after the EFAs"),
        ("mlx5-first", "two ConnectX functions, numbered before the EFAs"),
        ("neuron-attributes-gone=N", "an empty folder for neuronN"),
        ("neuron-function-gone=N", "neuronN without its PCI function"),
        ("efa-attributes-gone=BDF", "an empty folder for an EFA's RDMA device"),
        ("efa-function-gone=BDF", "an EFA's RDMA device without its PCI function"),
        ("efa-without-rdma=BDF", "an EFA without its RDMA device"),
        ("efa-attached=N", "so many of the EFAs"),
        ("garbage=PATH", "garbage in an attribute"),
        ("neuron-driver=VERSION", "2.24, 2.27, 2.28, 2.29, 2.30 or 2.31"),
        ("no-core-statistics", "small: the cores show no statistics"),
        ("unknown-product", "an instance type that nobody knows"),
        ("no-product", "no instance type"),
    ];

    /// Defects that apply to a table: of each kind at least one, where any does.
    #[must_use]
    pub fn all(table: &InstanceTable) -> Vec<Self> {
        let (devices, efas) = (table.neuron.len(), table.efa.len());
        let last = u32::try_from(devices).unwrap_or(u32::MAX).saturating_sub(1);
        let number = u32::try_from(efas / 2).unwrap_or(u32::MAX);
        let mut all = vec![
            Self::NeuronNodeMissing(last),
            Self::NeuronNodeRefused(last / 2),
            Self::VerbsNodeMissing(0),
            Self::VerbsNodeRefused(number),
            Self::Container(vec![last.saturating_sub(2), last.saturating_sub(1)]),
            Self::NoNuma,
            Self::NeuronDriverUnbound,
            Self::EfaDriverUnbound,
            Self::Mlx5Beside,
            Self::Mlx5First,
            Self::NeuronAttributesGone(last),
            Self::NeuronFunctionGone(last),
            Self::NoCoreStatistics,
            Self::UnknownProduct,
            Self::NoProduct,
        ];
        if let Some(row) = table.efa.get(efas / 2) {
            let address = row.address;
            all.extend([Self::EfaAttributesGone(address), Self::EfaFunctionGone(address)]);
            all.push(Self::EfaWithoutRdma(address));
        }
        let mut counts = vec![1, efas / 2, efas.saturating_sub(1)];
        counts.dedup();
        all.extend(counts.into_iter().map(Self::EfaAttached));
        let functions = function::functions(table);
        all.extend(functions.first().map(|f| Self::Garbage(format!("sys/bus/pci/devices/{}/numa_node", f.address))));
        all.extend(NeuronDriver::ALL.map(Self::NeuronDriver));
        all.retain(|defect| defect.applies(table));
        all
    }

    /// Whether a host of the table's type can have this, and is not so anyway.
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
            Self::NoNuma => function::functions(table).iter().any(|function| function.numa.is_some()),
            Self::NeuronDriverUnbound | Self::NoCoreStatistics => !table.neuron.is_empty(),
            Self::EfaDriverUnbound => !table.efa.is_empty(),
            Self::Mlx5Beside | Self::Mlx5First => !table.efa.is_empty() && table.foreign.is_empty(),
            Self::EfaAttributesGone(a) | Self::EfaFunctionGone(a) | Self::EfaWithoutRdma(a) => is_efa(a),
            Self::EfaAttached(count) => (1..table.efa.len()).contains(count),
            Self::Garbage(path) => path.starts_with("sys/") && !path.split('/').any(|part| part == ".."),
            Self::NeuronDriver(driver) => {
                table.product().is_some_and(|of| driver.drives(of) && *driver != NeuronDriver::newest_for(of))
            }
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
                let gone = table.neuron.iter().find(|row| row.index.0 == *n).map(|row| row.address);
                plan.functions.retain(|function| Some(function.address) != gone);
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
                let lacking = &all[..all.len() - count];
                plan.functions.retain(|function| !lacking.contains(&function.address));
                plan.rdma.retain(|address| !lacking.contains(address));
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

/// Two functions on buses that no table has, with the verbs nodes from this place on. That these two buses are on the
/// first NUMA node is made up.
fn add_mlx5(plan: &mut Plan, place: usize) {
    let addresses = [0xfd, 0xfe].map(|bus| Bdf::new(0, bus, 0, 0));
    plan.functions.extend(addresses.map(|address| Function {
        address,
        id: PciId { vendor: 0x15b3, device: 0x1021 },
        class: function::CLASS_INFINIBAND,
        numa: plan.numa.first().map(|row| row.node),
        bridges: Vec::new(),
        driver: Some("mlx5_core"),
        below: None,
    }));
    plan.rdma.splice(place..place, addresses);
}

/// As in [`Defect::FORMS`].
impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeuronNodeMissing(n) => write!(f, "neuron-node-missing={n}"),
            Self::NeuronNodeRefused(n) => write!(f, "neuron-node-refused={n}"),
            Self::VerbsNodeMissing(n) => write!(f, "verbs-node-missing={n}"),
            Self::VerbsNodeRefused(n) => write!(f, "verbs-node-refused={n}"),
            Self::Container(devices) => {
                let devices: Vec<String> = devices.iter().map(u32::to_string).collect();
                write!(f, "container={}", devices.join(","))
            }
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
        let address = || value.parse::<Bdf>().ok();
        let parse = || {
            Some(match name {
                "neuron-node-missing" => Self::NeuronNodeMissing(number()?),
                "neuron-node-refused" => Self::NeuronNodeRefused(number()?),
                "verbs-node-missing" => Self::VerbsNodeMissing(number()?),
                "verbs-node-refused" => Self::VerbsNodeRefused(number()?),
                "container" => Self::Container(value.split(',').map(|n| n.parse().ok()).collect::<Option<_>>()?),
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

/// A text that was read as a defect and is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseDefectError(String);

impl fmt::Display for ParseDefectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forms: Vec<&str> = Defect::FORMS.iter().map(|(form, _)| *form).collect();
        write!(f, "{:?} is no defect; expected one of {}", self.0, forms.join(", "))
    }
}

impl std::error::Error for ParseDefectError {}
