//! PCI functions: their ids, their places in the PCIe tree, their NUMA nodes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::{Problems, Result};
use crate::scan::root::{Folder, HostRoot};
use crate::types::{Bdf, CpuList, PciId, PciLink, PciRoot, hex, number};

const DEVICES: &str = "sys/bus/pci/devices";

/// A PCI function and its place in the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PciFunction {
    /// The PCI address.
    pub address: Bdf,
    /// The vendor and device id.
    pub id: PciId,
    /// The NUMA node. `None` if the firmware does not report a node (sysfs shows -1). A missing node does not mean node
    /// 0.
    pub numa: Option<u32>,
    /// The CPUs that the kernel lists as local to the function.
    pub cpus: CpuList,
    /// The root bus above the function.
    pub root: Option<PciRoot>,
    /// The bridges between the root bus and the function, from the root down. The list is empty on flat guests: every
    /// function is directly on a root bus there.
    pub bridges: Vec<Bdf>,
    /// The kernel driver that is bound to the function.
    pub driver: Option<String>,
    /// The PCIe link. Empty until [`Host::with_details`](crate::Host::with_details) reads the link.
    #[serde(default)]
    pub link: PciLink,
}

impl PciFunction {
    /// Returns the upstream port of the PCIe switch above the function; `None` if no switch is above the function. All
    /// functions behind a switch have the same upstream port. The last bridge above a function is the downstream port
    /// of that function alone, and the bridge above this port is the upstream port.
    #[must_use]
    pub fn switch(&self) -> Option<Bdf> {
        self.bridges.iter().rev().nth(1).copied()
    }

    /// Reads the PCIe link: the kernel reads it from the configuration space of the device.
    pub(crate) fn read_link(&mut self, root: &HostRoot, problems: &mut Problems) {
        self.link = link(problems, &root.folder(&self.folder()));
    }

    /// Returns the function's folder, from the root.
    pub(crate) fn folder(&self) -> String {
        format!("{DEVICES}/{}", self.address)
    }
}

/// The kind of a function: the values by which a scan decides whether the function is wanted.
pub(crate) struct Identity {
    pub(crate) address: Bdf,
    pub(crate) id: PciId,
    /// The class code of 24 bits: base class, subclass, programming interface.
    pub(crate) class: Option<u32>,
    driver: Option<String>,
}

/// The place of a function: the root bus, and the bridges from the root bus down.
struct Chain {
    root: PciRoot,
    bridges: Vec<Bdf>,
}

/// The result of a scan of PCI.
pub(crate) struct Found {
    /// The number of all functions.
    pub(crate) seen: usize,
    /// The wanted functions, in the order of their addresses.
    pub(crate) functions: Vec<PciFunction>,
}

/// Returns the functions that are `wanted`. A function with other functions below it is a bridge. A bridge is never
/// returned, and only its link is read.
pub(crate) fn scan(root: &HostRoot, problems: &mut Problems, wanted: impl Fn(&Identity) -> bool) -> Found {
    let names = problems.take(root.list(DEVICES)).unwrap_or_default();
    let mut addresses: Vec<Bdf> = names.iter().filter_map(|name| name.parse().ok()).collect();
    addresses.sort_unstable();
    addresses.dedup(); // A tree that no kernel made can have both cc:00.0 and 0000:cc:00.0.
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

/// Reads a function; `None` if the function is not wanted.
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
    let bridges = bridges.unwrap_or_default();
    Ok(Some(PciFunction { address, id, numa, cpus, root: bus, bridges, driver, link: PciLink::default() }))
}

/// Reads ids, class and driver of a function; `None` if the function has no ids. The file `uevent` has all these
/// values, and saves reading three files. A tree that was copied from a machine can lack `uevent` and have the single
/// attributes.
fn identity(root: &HostRoot, problems: &mut Problems, folder: &Folder<'_>, address: Bdf) -> Result<Option<Identity>> {
    if let Some(text) = folder.read("uevent")? {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        if let Some(id) = value("PCI_ID") {
            let id = PciId::try_from(id.to_owned())
                .map_err(|_| root.malformed(&folder.at("uevent"), "a line such as PCI_ID=1D0F:7364", id))?;
            let class = value("PCI_CLASS").and_then(hex_number);
            return Ok(Some(Identity { address, id, class, driver: value("DRIVER").map(str::to_owned) }));
        }
    }
    let id = |name: &str| folder.parse(name, "an id such as 0x1d0f", |text| u16::try_from(hex_number(text)?).ok());
    let (Some(vendor), Some(device)) = (id("vendor")?, id("device")?) else { return Ok(None) };
    // The ids suffice to list the function: an error in class or driver must not hide the function.
    let class = problems.take(folder.parse("class", "a class such as 0x020000", hex_number)).flatten();
    let driver = problems.take(root.link(&folder.at("driver"))).flatten();
    let driver = driver.and_then(|target| Some(target.rsplit_once('/')?.1.to_owned()));
    Ok(Some(Identity { address, id: PciId { vendor, device }, class, driver }))
}

/// Parses a hexadecimal number with or without `0x`.
fn hex_number(text: &str) -> Option<u32> {
    hex(text.strip_prefix("0x").unwrap_or(text), 1..=8, u32::MAX)
}

/// Reads the PCIe link.
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

/// Reads the NUMA node. The kernel writes the node's number in decimal, unlike the ids.
fn numa_node(folder: &Folder<'_>) -> Result<Option<u32>> {
    let parse = |text: &str| if text == "-1" { Some(None) } else { number(text).map(Some) };
    Ok(folder.parse("numa_node", "a NUMA node number or -1", parse)?.flatten())
}

fn local_cpus(folder: &Folder<'_>) -> Result<CpuList> {
    let parse = |text: &str| text.parse().ok();
    Ok(folder.parse("local_cpulist", "a CPU list such as 0-47,96-143", parse)?.unwrap_or_default())
}

/// Reads the root bus and the bridges from the target of the function's link:
/// `../../../devices/pci0000:b7/0000:b7:00.0/…/0000:cc:00.0`. A controller such as VMD has a root bus with its own PCI domain
/// below its function: the last root bus of the path is the root of the functions below it.
fn chain(root: &HostRoot, address: Bdf) -> Result<Option<Chain>> {
    let path = format!("{DEVICES}/{address}");
    let Some(target) = root.link(&path)? else { return Ok(None) };
    let parse = || {
        let parts: Vec<&str> = target.split('/').collect();
        let last_root = parts.iter().rposition(|part| part.starts_with("pci"))?;
        let bus: PciRoot = parts[last_root].parse().ok()?;
        let mut bridges = parts[last_root + 1..].iter().map(|part| part.parse().ok()).collect::<Option<Vec<Bdf>>>()?;
        (bridges.pop()? == address).then_some(Chain { root: bus, bridges })
    };
    let expected = "a link to .../devices/pciDDDD:BB/<bridges>/<address>";
    parse().map(Some).ok_or_else(|| root.malformed(&path, expected, &target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_root_of_a_path_counts() {
        let tree = tempfile::tempdir().unwrap();
        let devices = tree.path().join(DEVICES);
        std::fs::create_dir_all(&devices).unwrap();
        let root = HostRoot::open(tree.path()).unwrap();
        let place = |path: &str| {
            let address: Bdf = path.rsplit_once('/').unwrap().1.parse().unwrap();
            std::os::unix::fs::symlink(format!("../../../devices/{path}"), devices.join(address.to_string())).unwrap();
            chain(&root, address).unwrap().map(|chain| (chain.root.to_string(), chain.bridges))
        };
        let bdf = |text: &str| text.parse::<Bdf>().unwrap();
        let vmd = "pci0000:63/0000:63:00.5";
        for (path, bus, bridges) in [
            ("pci0000:63/0000:63:00.5", "pci0000:63", vec![]),
            (&format!("{vmd}/pci10000:00/10000:00:03.0"), "pci10000:00", vec![]),
            (&format!("{vmd}/pci10000:00/10000:00:03.0/10000:02:01.0"), "pci10000:00", vec![bdf("10000:00:03.0")]),
            (&format!("{vmd}/pci1abcd:80/1abcd:80:00.0"), "pci1abcd:80", vec![]),
            (
                "LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/VMBUS:00/00000000-0101/pci0101:00/0101:00:00.0",
                "pci0101:00",
                vec![],
            ),
        ] {
            assert_eq!(place(path), Some((bus.to_owned(), bridges)), "{path}");
        }
    }

    #[test]
    fn numa_node_is_decimal_and_ids_are_hexadecimal() {
        let tree = tempfile::tempdir().unwrap();
        let folder = tree.path().join(DEVICES).join("0000:c9:00.0");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in [("vendor", "0x1d0f"), ("device", "0xefa1"), ("numa_node", "10"), ("class", "0x020000")] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        let (root, mut problems) = (HostRoot::open(tree.path()).unwrap(), Problems::default());
        let Found { seen, functions } = scan(&root, &mut problems, |identity| identity.class == Some(0x02_0000));
        assert_eq!((seen, functions[0].numa), (1, Some(10)));
        assert_eq!(functions[0].id.to_string(), "1d0f:efa1");
        assert_eq!(problems.into_sentences(), [""; 0]);
    }
}
