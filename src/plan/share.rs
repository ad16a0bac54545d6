//! Cores or GPUs, divided.

use std::collections::BTreeSet;

use serde::Serialize;

use super::PlanOptions;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::scan::gpu::Gpu;
use crate::topology::{Basis, LogicalCoreRow, NearList};
use crate::types::{Bdf, HostDevice, LogicalCore, number};

/// What a rank computes with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Share {
    /// Logical cores of Neuron devices.
    Cores {
        /// In the order of their numbers, which are consecutive.
        cores: Vec<LogicalCoreRow>,
    },
    /// GPUs.
    Gpus {
        /// In the order of their addresses.
        gpus: Vec<GpuUnit>,
    },
}

/// A GPU, as CUDA numbers it with `CUDA_DEVICE_ORDER=PCI_BUS_ID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GpuUnit {
    /// Its position among the GPUs of the host by PCI address.
    pub number: u32,
    /// Its PCI address.
    pub address: Bdf,
}

impl Share {
    /// The Neuron devices that the cores are on, each once; none for GPUs.
    #[must_use]
    pub fn devices(&self) -> Vec<HostDevice> {
        let Self::Cores { cores } = self else { return Vec::new() };
        let mut devices: Vec<HostDevice> = cores.iter().map(|row| row.device).collect();
        devices.dedup();
        devices
    }

    /// Its numbers, as `NEURON_RT_VISIBLE_CORES` or `CUDA_VISIBLE_DEVICES` has them.
    #[must_use]
    pub fn numbers(&self) -> String {
        match self {
            Self::Cores { cores } => match (cores.first(), cores.last()) {
                (Some(first), Some(last)) if first != last => format!("{}-{}", first.logical, last.logical),
                (Some(only), _) => only.logical.to_string(),
                _ => String::new(),
            },
            Self::Gpus { gpus } => gpus.iter().map(|gpu| gpu.number.to_string()).collect::<Vec<_>>().join(","),
        }
    }

    /// The NUMA node of each core or GPU, as far as known.
    pub(super) fn nodes(&self, host: &Host) -> Vec<Option<u32>> {
        let of_device = |device| host.find_neuron(device).ok()?.function()?.numa;
        let of_gpu = |address| host.gpus().iter().find(|gpu| gpu.address() == address)?.function.numa;
        match self {
            Self::Cores { cores } => cores.iter().map(|row| of_device(row.device)).collect(),
            Self::Gpus { gpus } => gpus.iter().map(|gpu| of_gpu(gpu.address)).collect(),
        }
    }

    /// What is near each device or GPU.
    pub(super) fn near(&self, host: &Host) -> Result<Vec<NearOf>> {
        let near = |of: String, mut list: NearList<Bdf>| {
            list.entries.truncate(list.nearest().count());
            NearOf { of, list }
        };
        let of_device = |device: HostDevice| Ok(near(device.to_string(), host.near_device(device, Basis::Pairing)?));
        match self {
            Self::Cores { .. } => self.devices().into_iter().map(of_device).collect(),
            Self::Gpus { gpus } => {
                gpus.iter().map(|gpu| Ok(near(gpu.address.to_string(), host.near_function(gpu.address)?))).collect()
            }
        }
    }
}

/// The EFA interfaces nearest to one device or GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NearOf {
    /// The device, or the address of the GPU.
    pub of: String,
    /// Those of rank 1 only: several are a tie. None where none is known to be near.
    #[serde(flatten)]
    pub list: NearList<Bdf>,
}

/// Each interface once.
pub(super) fn interfaces(near: &[NearOf]) -> Vec<Bdf> {
    let mut seen = BTreeSet::new();
    let targets = near.iter().flat_map(|near| &near.list.entries).map(|near| near.target);
    targets.filter(|target| seen.insert(*target)).collect()
}

/// An equal share for each rank.
pub(super) fn divide(host: &Host, options: &PlanOptions) -> Result<Vec<Share>> {
    let rows = host.numbering().rows;
    if !rows.is_empty() {
        let rows = given(rows, options.cores.as_deref())?;
        let shares = equal(&rows, options.ranks, "logical core")?;
        return Ok(shares.map(|cores| Share::Cores { cores: cores.to_vec() }).collect());
    }
    if !host.neuron().is_empty() {
        let reason = "none of the Neuron devices has a node here, so no core of theirs can be used";
        return Err(Error::NoPlan { reason: reason.to_owned() });
    }
    let gpus: Vec<GpuUnit> =
        (0..).zip(host.gpus().iter().map(Gpu::address)).map(|(number, address)| GpuUnit { number, address }).collect();
    if gpus.is_empty() {
        let reason =
            "ranks are placed by the cores of Neuron devices, or by GPUs where there are none; this host has neither";
        return Err(Error::NoPlan { reason: reason.to_owned() });
    }
    let shares = equal(&gpus, options.ranks, "GPU")?;
    Ok(shares.map(|gpus| Share::Gpus { gpus: gpus.to_vec() }).collect())
}

/// Those of the cores that were given.
fn given(rows: Vec<LogicalCoreRow>, given: Option<&[LogicalCore]>) -> Result<Vec<LogicalCoreRow>> {
    let Some(given) = given else { return Ok(rows) };
    let last = rows.len() - 1;
    if let Some(absent) = given.iter().find(|core| core.0 as usize > last) {
        let reason = format!("logical core {absent} was given, and this host has 0 to {last}");
        return Err(Error::NoPlan { reason });
    }
    Ok(rows.into_iter().filter(|row| given.contains(&row.logical)).collect())
}

fn equal<'a, T>(units: &'a [T], ranks: u32, what: &str) -> Result<impl Iterator<Item = &'a [T]>> {
    let fits = |ranks: usize| ranks > 0 && units.len().is_multiple_of(ranks);
    let wanted = ranks as usize;
    if !fits(wanted) {
        let fitting: Vec<String> =
            (1..=units.len()).filter(|&ranks| fits(ranks)).map(|ranks| ranks.to_string()).collect();
        let reason = format!(
            "{} {what}s cannot be divided evenly among {ranks} ranks; numbers that fit: {}",
            units.len(),
            fitting.join(", ")
        );
        return Err(Error::NoPlan { reason });
    }
    Ok(units.chunks_exact(units.len() / wanted))
}

/// What `NEURON_RT_VISIBLE_CORES` says: `5`, `0-3` or `0,1-3`.
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
/// [`Error::BadName`] for what is no such text; the runtime takes cores one after the other only.
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
    let expected = "cores one after the other, as NEURON_RT_VISIBLE_CORES takes them: 5, 0-3, or 0,1-3";
    parse().ok_or_else(|| Error::BadName { text: text.to_owned(), expected })
}

/// More than any host has; what is above is garbage.
const MOST_CORES: u32 = 65536;
