//! PCI functions: their ids, their place in the PCIe tree, their NUMA node.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::{Problems, Result};
use crate::scan::root::{Folder, HostRoot};
use crate::types::{Bdf, CpuList, PciId, PciLink, PciRoot, hex};

const DEVICES: &str = "sys/bus/pci/devices";

/// One PCI function and its place in the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciFunction {
    /// Its address.
    pub address: Bdf,
    /// Its vendor and device id.
    pub id: PciId,
    /// Its NUMA node; `None` where the firmware does not say (sysfs has -1 then), which is not node 0.
    pub numa: Option<u32>,
    /// The CPUs near it, as the kernel says.
    pub cpus: CpuList,
    /// The root bus it is below.
    pub root: Option<PciRoot>,
    /// The bridges between the root bus and the function, from the root down. None on flat guests, where every
    /// function stands on its root bus.
    pub bridges: Vec<Bdf>,
    /// The kernel driver bound to it.
    pub driver: Option<String>,
    /// Its PCIe link.
    #[serde(default)]
    pub link: PciLink,
}

impl PciFunction {
    /// The upstream port of the PCIe switch that the function is behind: what all functions of a switch have in common.
    /// The last bridge is the function's own port; the one above it belongs to the switch.
    #[must_use]
    pub fn switch(&self) -> Option<Bdf> {
        self.bridges.iter().rev().nth(1).copied()
    }

    /// Its folder below the root.
    pub(crate) fn folder(&self) -> String {
        format!("{DEVICES}/{}", self.address)
    }
}

/// What a function is, before anything else of it is read.
pub(crate) struct Identity {
    pub(crate) address: Bdf,
    pub(crate) id: PciId,
    /// The class code of 24 bits: base class, subclass, programming interface.
    pub(crate) class: Option<u32>,
    driver: Option<String>,
}

/// Where a function is, from the root bus down.
struct Chain {
    root: PciRoot,
    bridges: Vec<Bdf>,
}

/// What a scan of PCI found.
pub(crate) struct Found {
    /// How many functions there are, of whatever kind.
    pub(crate) seen: usize,
    /// Those that were wanted, in order of their addresses.
    pub(crate) functions: Vec<PciFunction>,
}

/// Finds the functions that are `wanted`. Bridges are none of them: what has functions below it is a bridge, and more than
/// its link is not read.
pub(crate) fn scan(root: &HostRoot, problems: &mut Problems, wanted: impl Fn(&Identity) -> bool) -> Found {
    let names = problems.take(root.list(DEVICES)).unwrap_or_default();
    let mut addresses: Vec<Bdf> = names.iter().filter_map(|name| name.parse().ok()).collect();
    addresses.sort_unstable();
    addresses.dedup(); // cc:00.0 in a tree that no kernel made.
    let seen = addresses.len();
    let chains: Vec<Result<Option<Chain>>> = addresses.iter().map(|&address| chain(root, address)).collect();
    let known = chains.iter().filter_map(|chain| chain.as_ref().ok()?.as_ref());
    let bridges: BTreeSet<Bdf> = known.flat_map(|chain| chain.bridges.iter().copied()).collect();
    let mut functions = Vec::new();
    for (address, chain) in addresses.into_iter().zip(chains) {
        if !bridges.contains(&address) {
            let found = function(root, problems, address, chain, &wanted);
            functions.extend(problems.take(found).flatten());
        }
    }
    Found { seen, functions }
}

fn function(
    root: &HostRoot,
    problems: &mut Problems,
    address: Bdf,
    chain: Result<Option<Chain>>,
    wanted: impl Fn(&Identity) -> bool,
) -> Result<Option<PciFunction>> {
    let folder = root.folder(&format!("{DEVICES}/{address}"));
    let Some(identity) = identity(root, problems, &folder, address)?.filter(wanted) else { return Ok(None) };
    let numa = problems.take(numa_node(&folder)).flatten();
    let cpus = problems.take(local_cpus(&folder)).unwrap_or_default();
    let (bus, bridges) = problems.take(chain).flatten().map(|chain| (chain.root, chain.bridges)).unzip();
    let Identity { id, driver, .. } = identity;
    let link = link(problems, &folder);
    Ok(Some(PciFunction { address, id, numa, cpus, root: bus, bridges: bridges.unwrap_or_default(), driver, link }))
}

/// The kernel puts ids, class and driver into `uevent`, one file instead of four; trees copied from elsewhere may have
/// only the single attributes.
fn identity(root: &HostRoot, problems: &mut Problems, folder: &Folder<'_>, address: Bdf) -> Result<Option<Identity>> {
    if let Some(text) = folder.read("uevent")? {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        if let Some(id) = value("PCI_ID") {
            let id = PciId::try_from(id.to_owned())
                .map_err(|_| root.malformed(&folder.at("uevent"), "a line such as PCI_ID=1D0F:7364", id))?;
            let class = value("PCI_CLASS").and_then(number);
            return Ok(Some(Identity { address, id, class, driver: value("DRIVER").map(str::to_owned) }));
        }
    }
    let id = |name: &str| folder.parse(name, "an id such as 0x1d0f", |text| u16::try_from(number(text)?).ok());
    let (Some(vendor), Some(device)) = (id("vendor")?, id("device")?) else { return Ok(None) };
    // What it is is known: nothing that is wrong from here on hides it.
    let class = problems.take(folder.parse("class", "a class such as 0x020000", number)).flatten();
    let driver = problems.take(root.link(&folder.at("driver"))).flatten();
    let driver = driver.and_then(|target| Some(target.rsplit_once('/')?.1.to_owned()));
    Ok(Some(Identity { address, id: PciId { vendor, device }, class, driver }))
}

/// A hexadecimal number with or without `0x`.
fn number(text: &str) -> Option<u32> {
    hex(text.strip_prefix("0x").unwrap_or(text), 1..=8, u32::MAX)
}

fn link(problems: &mut Problems, folder: &Folder<'_>) -> PciLink {
    let mut speed = |name: &str| {
        let expected = "a link speed such as 16.0 GT/s PCIe, or Unknown";
        problems.take(folder.parse(name, expected, |text| text.parse().ok())).flatten()
    };
    let (now, max) = (speed("current_link_speed"), speed("max_link_speed"));
    let mut width = |name: &str| {
        let expected = "a number of lanes such as 16, or 255";
        problems.take(folder.parse(name, expected, |text| text.parse().ok())).flatten()
    };
    PciLink { speed: now, width: width("current_link_width"), max_speed: max, max_width: width("max_link_width") }
}

fn numa_node(folder: &Folder<'_>) -> Result<Option<u32>> {
    let parse = |text: &str| if text == "-1" { Some(None) } else { number(text).map(Some) };
    Ok(folder.parse("numa_node", "a NUMA node number or -1", parse)?.flatten())
}

fn local_cpus(folder: &Folder<'_>) -> Result<CpuList> {
    let parse = |text: &str| text.parse().ok();
    Ok(folder.parse("local_cpulist", "a CPU list such as 0-47,96-143", parse)?.unwrap_or_default())
}

/// Root bus and bridges, from the link's target: `../../../devices/pci0000:b7/0000:b7:00.0/…/0000:cc:00.0`.
fn chain(root: &HostRoot, address: Bdf) -> Result<Option<Chain>> {
    let path = format!("{DEVICES}/{address}");
    let Some(target) = root.link(&path)? else { return Ok(None) };
    let parse = || {
        let mut parts = target.split('/').skip_while(|part| !part.starts_with("pci"));
        let bus: PciRoot = parts.next()?.parse().ok()?;
        let mut bridges = parts.map(|part| part.parse().ok()).collect::<Option<Vec<Bdf>>>()?;
        (bridges.pop()? == address).then_some(Chain { root: bus, bridges })
    };
    let expected = "a link to .../devices/pciDDDD:BB/<bridges>/<address>";
    parse().map(Some).ok_or_else(|| root.malformed(&path, expected, &target))
}
