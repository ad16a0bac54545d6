//! Divides logical cores or GPUs among ranks.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::PlanOptions;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::topology::{Anchor, LogicalCoreRow, Near, NearList, RailOptions, Rails};
use crate::types::{Bdf, HostDevice, LogicalCore, Usability, number};

/// The cores or GPUs of a rank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Share {
    /// Logical cores of Neuron devices.
    Cores {
        /// The logical cores, with consecutive numbers in ascending order.
        cores: Vec<LogicalCoreRow>,
    },
    /// GPUs.
    Gpus {
        /// The GPUs, in the order of their PCI addresses.
        gpus: Vec<GpuUnit>,
    },
    /// CPUs only, on a host without accelerators.
    Cpus,
}

/// A GPU with the number that CUDA gives it under `CUDA_DEVICE_ORDER=PCI_BUS_ID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct GpuUnit {
    /// The position among the GPUs that this process can see, by PCI address. In a container, only the GPUs of the
    /// container have numbers.
    pub number: u32,
    /// The PCI address.
    pub address: Bdf,
}

impl Share {
    /// Returns the Neuron devices of the cores, each once; none for GPUs.
    #[must_use]
    pub fn devices(&self) -> Vec<HostDevice> {
        let Self::Cores { cores } = self else { return Vec::new() };
        let mut devices: Vec<HostDevice> = cores.iter().map(|row| row.device).collect();
        devices.dedup();
        devices
    }

    /// Returns the numbers in the form of `NEURON_RT_VISIBLE_CORES` or `CUDA_VISIBLE_DEVICES`; an empty text for CPUs.
    #[must_use]
    pub fn numbers(&self) -> String {
        match self {
            Self::Cores { cores } => match (cores.first(), cores.last()) {
                (Some(first), Some(last)) if first != last => format!("{}-{}", first.logical, last.logical),
                (Some(only), _) => only.logical.to_string(),
                _ => String::new(),
            },
            Self::Gpus { gpus } => gpus.iter().map(|gpu| gpu.number.to_string()).collect::<Vec<_>>().join(","),
            Self::Cpus => String::new(),
        }
    }

    /// Returns the NUMA node of each core or GPU, or `None` if the node is unknown.
    pub(super) fn nodes(&self, host: &Host) -> Vec<Option<u32>> {
        let of_device = |device| host.find_neuron(device).ok()?.function()?.numa;
        let of_gpu = |address| host.gpus().iter().find(|gpu| gpu.address() == address)?.function.numa;
        match self {
            Self::Cores { cores } => cores.iter().map(|row| of_device(row.device)).collect(),
            Self::Gpus { gpus } => gpus.iter().map(|gpu| of_gpu(gpu.address)).collect(),
            Self::Cpus => Vec::new(),
        }
    }

    /// Returns true if the device or GPU is part of the share.
    fn has(&self, of: Anchor) -> bool {
        match (self, of) {
            (Self::Cores { cores }, Anchor::Device { device }) => cores.iter().any(|row| row.device == device),
            (Self::Gpus { gpus }, Anchor::Function { address }) => gpus.iter().any(|gpu| gpu.address == address),
            _ => false,
        }
    }

    /// Returns the rails of each device or GPU, or for CPUs the rails of each NUMA node.
    pub(super) fn near(&self, host: &Host, rails: &[Rails], numa: &[u32]) -> Vec<NearOf> {
        if *self == Self::Cpus {
            let of_node = |node| host.rails(Anchor::Numa { node }, RailOptions::default()).ok();
            return numa.iter().filter_map(|&node| of_node(node)).map(|rails| NearOf::new(&rails)).collect();
        }
        rails.iter().filter(|rails| self.has(rails.of)).map(NearOf::new).collect()
    }
}

/// The EFA interfaces that one device or GPU should use; see [`Host::rails`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NearOf {
    /// The name of the device, or the PCI address of the GPU.
    pub of: String,
    /// The rails. The list is empty if no interface is known to be near, or if none can be used.
    #[serde(flatten)]
    pub list: NearList<Bdf>,
    /// The nearer interfaces that this process cannot use.
    #[serde(default = "Vec::new")]
    pub passed_over: Vec<Near<Bdf>>,
}

impl NearOf {
    fn new(rails: &Rails) -> Self {
        let entries = rails.rails.iter().map(|rail| rail.near.clone()).collect();
        let list = NearList { entries, missing_pair: rails.missing_pair };
        Self { of: rails.of.to_string(), list, passed_over: rails.passed_over.clone() }
    }
}

/// Returns each interface once.
pub(super) fn interfaces(near: &[NearOf]) -> Vec<Bdf> {
    let mut seen = BTreeSet::new();
    let targets = near.iter().flat_map(|near| &near.list.entries).map(|near| near.target);
    targets.filter(|target| seen.insert(*target)).collect()
}

/// Returns an equal share for each rank.
pub(super) fn divide(host: &Host, options: &PlanOptions) -> Result<Vec<Share>> {
    let mut rows = host.numbering().rows;
    let refused = unusable(host.visible_neuron().map(|device| (device.index, host.neuron_usability(device))));
    rows.retain(|row| refused.iter().all(|(device, _)| *device != row.device));
    if rows.is_empty() && !refused.is_empty() {
        return Err(Error::NoPlan { reason: format!("no Neuron device can be used here: {}", listed(&refused)) });
    }
    if !rows.is_empty() {
        let rows = given(rows, options.cores.as_deref())?;
        let shares = equal(&rows, options.ranks, "logical core")?;
        let of_rank = |(rank, cores)| Ok(Share::Cores { cores: consecutive(rank, cores, &refused)? });
        return (0..).zip(shares).map(of_rank).collect();
    }
    if !host.neuron_devices().is_empty() {
        let reason = "no Neuron device has a device node here, so no core can be used; in a container, pass the nodes";
        return Err(Error::NoPlan { reason: reason.to_owned() });
    }
    let mut gpus: Vec<GpuUnit> =
        (0..).zip(host.visible_gpus()).map(|(number, gpu)| GpuUnit { number, address: gpu.address() }).collect();
    if let Some(given) = &options.gpus {
        gpus.retain(|gpu| given.contains(&gpu.address));
        if gpus.is_empty() {
            return Err(Error::NoPlan { reason: "the given list of GPUs has no GPU that can be used here".to_owned() });
        }
    }
    if gpus.is_empty() {
        let refused = unusable(host.gpus().iter().map(|gpu| (gpu.address(), host.gpu_usability(gpu))));
        let unnumbered = host.unnumbered().iter().chain(host.driverless()).next();
        return match (unnumbered, refused.is_empty()) {
            (Some(function), _) => Err(Error::NoPlan {
                reason: format!(
                    "the Neuron function {} has no known device number, and ranks are placed by the cores of Neuron devices; \
                     nearfab doctor says what is missing",
                    function.address
                ),
            }),
            (None, false) => Err(Error::NoPlan {
                reason: format!("no GPU can be used here ({}); in a container, request GPUs", listed(&refused)),
            }),
            (None, true) => Ok(vec![Share::Cpus; options.ranks as usize]),
        };
    }
    let shares = equal(&gpus, options.ranks, "GPU")?;
    Ok(shares.map(|gpus| Share::Gpus { gpus: gpus.to_vec() }).collect())
}

/// Returns the devices that this process cannot use, with the reasons.
fn unusable<T>(devices: impl Iterator<Item = (T, Usability)>) -> Vec<(T, Usability)> {
    devices.filter(|(_, usability)| !usability.is_possible()).collect()
}

/// Returns the devices in the form `neuron4: node refused, neuron5: node refused`.
fn listed<T: fmt::Display>(devices: &[(T, Usability)]) -> String {
    devices.iter().map(|(device, usability)| format!("{device}: {usability}")).collect::<Vec<_>>().join(", ")
}

/// Returns the rows of the given cores.
fn given(rows: Vec<LogicalCoreRow>, given: Option<&[LogicalCore]>) -> Result<Vec<LogicalCoreRow>> {
    let Some(given) = given else { return Ok(rows) };
    if given.is_empty() {
        return Err(Error::NoPlan {
            reason: "the given list of logical cores is empty; give at least one core".to_owned(),
        });
    }
    let last = rows.len() - 1;
    if let Some(absent) = given.iter().find(|core| core.0 as usize > last) {
        let reason = format!("this host has no logical core {absent}; it has the cores 0 to {last}");
        return Err(Error::NoPlan { reason });
    }
    Ok(rows.into_iter().filter(|row| given.contains(&row.logical)).collect())
}

/// Returns the cores of a rank. `NEURON_RT_VISIBLE_CORES` can name only consecutive cores, so this function refuses
/// other cores: a range over other cores would include cores that the rank was not given.
fn consecutive(
    rank: u32,
    cores: &[LogicalCoreRow],
    refused: &[(HostDevice, Usability)],
) -> Result<Vec<LogicalCoreRow>> {
    let gap = cores.windows(2).find(|pair| pair[0].logical.0.checked_add(1) != Some(pair[1].logical.0));
    match gap {
        None => Ok(cores.to_vec()),
        Some(pair) => Err(Error::NoPlan {
            reason: format!(
                "rank {rank} would get logical core {} after {}: NEURON_RT_VISIBLE_CORES takes only consecutive cores; give \
                 consecutive cores, or another number of ranks{}",
                pair[1].logical,
                pair[0].logical,
                match refused {
                    [] => String::new(),
                    refused => format!(" (cannot be used here: {})", listed(refused)),
                }
            ),
        }),
    }
}

/// Splits units into equal runs, one for each rank. `units` has at least one unit.
fn equal<'a, T>(units: &'a [T], ranks: u32, what: &str) -> Result<impl Iterator<Item = &'a [T]>> {
    let fits = |ranks: usize| ranks > 0 && units.len().is_multiple_of(ranks);
    let wanted = ranks as usize;
    if !fits(wanted) {
        let fitting: Vec<String> =
            (1..=units.len()).filter(|&ranks| fits(ranks)).map(|ranks| ranks.to_string()).collect();
        let reason = format!(
            "{} {what}s cannot be divided evenly among {ranks} ranks; numbers of ranks that fit: {}",
            units.len(),
            fitting.join(", ")
        );
        return Err(Error::NoPlan { reason });
    }
    Ok(units.chunks_exact(units.len() / wanted))
}

/// Parses a value of `NEURON_RT_VISIBLE_CORES`: `5`, `0-3` or `0,1-3`.
///
/// ```
/// use nearfab::LogicalCore;
/// use nearfab::plan::visible_cores;
/// assert_eq!(visible_cores("4-6")?, [4, 5, 6].map(LogicalCore));
/// assert!(visible_cores("0,2").is_err());
/// # Ok::<(), nearfab::Error>(())
/// ```
///
/// # Errors
/// [`Error::BadName`] if the text is not a list of consecutive cores. The Neuron runtime accepts no other list.
pub fn visible_cores(text: &str) -> Result<Vec<LogicalCore>> {
    let parse = || {
        let mut cores: Vec<u32> = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (u32, u32) = (number(first.trim())?, number(last.trim())?);
            let follows = cores.last().is_none_or(|previous| previous.checked_add(1) == Some(first));
            if !follows || last < first || last - first >= MOST_CORES {
                return None;
            }
            cores.extend(first..=last);
        }
        Some(cores.into_iter().map(LogicalCore).collect())
    };
    let expected = "consecutive cores, as NEURON_RT_VISIBLE_CORES takes them: 5, 0-3, or 0,1-3";
    parse().ok_or_else(|| Error::BadName { text: text.to_owned(), expected })
}

/// The most cores of a range that is accepted. No host has this many cores.
const MOST_CORES: u32 = 65536;
