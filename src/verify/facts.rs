//! Compares each kind of fact of a table with a host.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use super::findings::{Findings, Need};
use crate::host::Host;
use crate::scan::neuron::{Location, LocationEvidence, NeuronDevice};
use crate::scan::pci::PciFunction;
use crate::tables::instances::{FunctionRow, InstanceTable, NeuronRow};
use crate::topology::Basis;
use crate::types::{Bdf, CpuList, HostDevice};

const DEVICES: &str = "/sys/bus/pci/devices";

/// Compares one kind of fact, named as in the table's sources.
pub(super) fn compare(host: &Host, table: &InstanceTable, fact: &str) -> Findings {
    let mut findings = Findings::default();
    match fact {
        "cpus" => cpus(&mut findings, host, table),
        "numa" => numa(&mut findings, host, table),
        "neuron" => neuron(&mut findings, host, table),
        "efa" => {
            addresses(&mut findings, "EFA interfaces", table.efa, host.efa_interfaces().iter().map(|efa| &efa.function))
        }
        "efa_device_id" => efa_ids(&mut findings, host, table),
        "gpu" => {
            let functions = || host.gpus().iter().map(|gpu| &gpu.function);
            addresses(&mut findings, "GPUs", table.gpu, functions());
            ids(&mut findings, table.gpu, functions());
        }
        "foreign" => foreign(&mut findings, host, table),
        "path" => path(&mut findings, host, table),
        "pairing" => pairing(&mut findings, host, table),
        "links" => links(&mut findings, host, table),
        other => {
            findings.miss(Need::Hand, format!("{other}: this version of nearfab does not compare this kind of fact"))
        }
    }
    findings
}

/// Returns the PCI functions of Neuron devices, with or without a known number, with or without a driver.
pub(super) fn neuron_functions(host: &Host) -> impl Iterator<Item = &PciFunction> {
    host.neuron_devices().iter().filter_map(NeuronDevice::function).chain(host.unnumbered()).chain(host.driverless())
}

/// Returns every PCI function that a table can have.
pub(super) fn functions(host: &Host) -> impl Iterator<Item = &PciFunction> {
    let efa = host.efa_interfaces().iter().map(|efa| &efa.function);
    let gpus = host.gpus().iter().map(|gpu| &gpu.function);
    let others = host.other_rdma().iter().filter_map(|device| device.function.as_ref());
    neuron_functions(host).chain(efa).chain(gpus).chain(others)
}

/// Compares the CPUs of the NUMA nodes, if the host has as many CPUs as the table. EC2 can launch an instance with
/// fewer cores, or with one thread for each core. Such instances number CPUs differently.
fn cpus(findings: &mut Findings, host: &Host, table: &InstanceTable) {
    let rows: Vec<(u32, CpuList)> =
        table.numa.iter().map(|row| (row.node, row.cpus.parse().unwrap_or_default())).collect();
    let expected: usize = rows.iter().map(|(_, cpus)| cpus.len()).sum();
    let present: usize = host.numa_nodes().iter().map(|node| node.cpus.len()).sum();
    if present != expected {
        let what = format!("the CPUs of all nodes: the host has {present}, the table {expected}");
        return findings.miss(Need::OtherHost, what);
    }
    for (node, expected) in &rows {
        let found = host.numa_nodes().iter().find(|other| other.node == *node).map(|node| node.cpus.clone());
        findings.compare(&format!("/sys/devices/system/node/node{node}/cpulist"), expected, &found.unwrap_or_default());
    }
}

/// The place of one row of a table, for any kind of device.
struct Place {
    address: Bdf,
    numa: Option<u32>,
    bridges: &'static [Bdf],
}

fn places(table: &InstanceTable) -> Vec<Place> {
    let neuron = table.neuron.iter().map(|&NeuronRow { address, numa, bridges, .. }| Place { address, numa, bridges });
    let others = [table.efa, table.gpu, table.foreign].into_iter().flatten();
    neuron.chain(others.map(|&FunctionRow { address, numa, bridges, .. }| Place { address, numa, bridges })).collect()
}

/// Calls `compare` for each place where the host shows a function. Counts the places without a function as not shown.
fn at_places(
    findings: &mut Findings,
    host: &Host,
    places: &[Place],
    mut compare: impl FnMut(&mut Findings, &Place, &PciFunction),
) {
    let mut missing = 0;
    for place in places {
        match functions(host).find(|function| function.address == place.address) {
            Some(function) => compare(findings, place, function),
            None => missing += 1,
        }
    }
    findings.miss_some(missing, places.len(), "functions");
}

/// Compares the NUMA node of each function. The firmware may report no node (-1) for a function. Such a function is not
/// compared.
fn numa(findings: &mut Findings, host: &Host, table: &InstanceTable) {
    let mut places = places(table);
    places.retain(|place| place.numa.is_some());
    let mut without_node = 0;
    at_places(findings, host, &places, |findings, place, function| match (place.numa, function.numa) {
        (Some(expected), Some(found)) => {
            findings.compare(&format!("{DEVICES}/{}/numa_node", place.address), &expected, &found);
        }
        _ => without_node += 1,
    });
    findings.miss_some(without_node, places.len(), "NUMA nodes of functions: the firmware gives none");
}

/// Compares addresses: every function of the host is at an address of the table. Functions of the table may be missing
/// from the host: such functions are not attached, or have disappeared from the bus.
fn addresses<'a>(
    findings: &mut Findings,
    what: &str,
    rows: &[impl HasAddress],
    found: impl Iterator<Item = &'a PciFunction>,
) {
    let known: BTreeSet<Bdf> = rows.iter().map(HasAddress::address).collect();
    let present: BTreeSet<Bdf> = found.map(|function| function.address).collect();
    let missing: Vec<Bdf> = known.difference(&present).copied().collect();
    for address in &present {
        match known.contains(address) {
            true => findings.agree(),
            false if missing.is_empty() => findings.differ(DEVICES, format!("only {} {what}", known.len()), address),
            false => findings.differ(DEVICES, OneOf(&missing), address),
        }
    }
    findings.miss_some(missing.len(), known.len(), what);
}

trait HasAddress {
    fn address(&self) -> Bdf;
}

impl HasAddress for NeuronRow {
    fn address(&self) -> Bdf {
        self.address
    }
}

impl HasAddress for FunctionRow {
    fn address(&self) -> Bdf {
        self.address
    }
}

/// Compares vendor and device ids at the addresses of the rows.
fn ids<'a>(findings: &mut Findings, rows: &[FunctionRow], found: impl Iterator<Item = &'a PciFunction>) {
    for function in found {
        if let Some(row) = rows.iter().find(|row| row.address == function.address) {
            findings.compare(&id_path(function), &row.id, &function.id);
        }
    }
}

fn id_path(function: &PciFunction) -> String {
    format!("{DEVICES}/{}/device", function.address)
}

fn efa_ids(findings: &mut Findings, host: &Host, table: &InstanceTable) {
    let Some(row) = table.efa.first() else { return };
    for efa in host.efa_interfaces() {
        findings.compare(&id_path(&efa.function), &row.id, &efa.function.id);
    }
    if host.efa_interfaces().is_empty() {
        findings.miss(Need::OtherHost, "an EFA interface");
    }
}

/// Compares other RDMA functions at the addresses of the table only. Not every image has these functions, and software
/// can create RDMA devices at other addresses.
fn foreign(findings: &mut Findings, host: &Host, table: &InstanceTable) {
    let present: Vec<&PciFunction> = host.other_rdma().iter().filter_map(|device| device.function.as_ref()).collect();
    ids(findings, table.foreign, present.iter().copied());
    let missing = table.foreign.iter().filter(|row| present.iter().all(|function| function.address != row.address));
    findings.miss_some(missing.count(), table.foreign.len(), "other RDMA functions");
}

/// Compares the addresses of Neuron functions. Compares the device number of each function if the host or a probe shows
/// it.
fn neuron(findings: &mut Findings, host: &Host, table: &InstanceTable) {
    addresses(findings, "Neuron functions", table.neuron, neuron_functions(host));
    let ids = table.product().map_or(&[][..], |product| product.device_ids);
    for function in neuron_functions(host).filter(|function| !ids.contains(&function.id.device)) {
        findings.differ(id_path(function), table.neuron_product.unwrap_or("no Neuron device"), function.id);
    }
    let addresses: BTreeSet<Bdf> = neuron_functions(host).map(|function| function.address).collect();
    let only = addresses.first().filter(|_| addresses.len() == 1 && host.neuron_devices().len() == 1);
    for device in host.neuron_devices() {
        let Some(row) = table.neuron(device.index) else {
            findings.differ("/sys/class/neuron_device", format!("{} devices", table.neuron.len()), device.index);
            continue;
        };
        match &device.location {
            Some(Location { address, evidence: LocationEvidence::Probe, .. }) => {
                findings.compare(&format!("{}: DEVICE_BDF_EXT", device.node()), &row.address, address);
            }
            // An address from the table cannot confirm the table. A host with one device and one function shows which
            // function the device is.
            _ => match only {
                Some(address) => findings.compare(DEVICES, &row.address, address),
                None => findings.miss(Need::Probe, "which device is at which address"),
            },
        }
    }
}

/// Compares the PCI root and the bridges. sysfs shows the root and the bridges in the link of a function.
fn path(findings: &mut Findings, host: &Host, table: &InstanceTable) {
    let places = places(table);
    let mut without_path = 0;
    at_places(findings, host, &places, |findings, place, function| {
        let Some(root) = function.root else {
            without_path += 1;
            return;
        };
        let top = place.bridges.first().copied().unwrap_or(place.address);
        let expected = Route { root: (top.domain(), top.bus()), bridges: place.bridges };
        let found = Route { root: (root.domain, root.bus), bridges: &function.bridges };
        findings.compare(&format!("{DEVICES}/{}", place.address), &expected, &found);
    });
    findings.miss_some(without_path, places.len(), "PCI paths of functions: the tree has no links to the functions");
}

#[derive(PartialEq)]
struct Route<'a> {
    root: (u32, u8),
    bridges: &'a [Bdf],
}

impl Display for Route<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pci{:04x}:{:02x}", self.root.0, self.root.1)?;
        self.bridges.iter().try_for_each(|bridge| write!(f, "/{bridge}"))
    }
}

/// Checks that the vendor's paired interface is among the nearest interfaces by place. Among equally near interfaces,
/// the place cannot show which one is paired.
fn pairing(findings: &mut Findings, host: &Host, table: &InstanceTable) {
    let pairs: Vec<(HostDevice, Bdf)> = table.neuron.iter().filter_map(|row| Some((row.index, row.efa?))).collect();
    let [mut unattached, mut unplaced] = [0; 2];
    for &(index, pair) in &pairs {
        let Ok(device) = host.find_neuron(index) else {
            unplaced += 1;
            continue;
        };
        let (Some(function), Ok(near)) = (device.function(), host.near_device(index, Basis::Place)) else {
            // A probe does not help if the table places the devices, or if the host shows no function.
            let helps = device.location.is_none() && neuron_functions(host).next().is_some();
            findings.miss(if helps { Need::Probe } else { Need::OtherHost }, "the addresses of the devices");
            continue;
        };
        let nearest: Vec<Bdf> = near.nearest_by_rank().map(|near| near.target).collect();
        if host.find_efa(pair).is_err() {
            unattached += 1;
        } else if nearest.is_empty() {
            unplaced += 1;
        } else if nearest.contains(&pair) {
            findings.agree();
            if nearest.len() > 1 {
                findings.miss(Need::Hand, "which of the equally near interfaces is the pair");
            }
        } else {
            let path = format!("{DEVICES}/{}", function.address);
            findings.differ(path, format!("{pair} among the interfaces nearest to {index}"), OneOf(&nearest));
        }
    }
    findings.miss_some(unattached, pairs.len(), "paired interfaces: not attached");
    findings.miss_some(unplaced, pairs.len(), "devices: not present, or without a place that ranks interfaces");
}

struct OneOf<'a>(&'a [Bdf]);

impl Display for OneOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, address) in self.0.iter().enumerate() {
            write!(f, "{}{address}", if i == 0 { "" } else { " or " })?;
        }
        Ok(())
    }
}

/// Compares sets of neighbours. The driver chooses its list of neighbours by the number of devices, so it lists other
/// neighbours if one device is missing.
fn links(findings: &mut Findings, host: &Host, table: &InstanceTable) {
    if host.neuron_devices().len() != table.neuron.len() {
        let what = format!(
            "the links of {} devices: the host has {} devices",
            table.neuron.len(),
            host.neuron_devices().len()
        );
        return findings.miss(Need::OtherHost, what);
    }
    for device in host.neuron_devices() {
        let Some(expected) = table.neuron(device.index).and_then(|row| row.links) else { continue };
        match &device.links {
            Some(found) => {
                let path = format!("/sys/class/neuron_device/{}/connected_devices", device.index);
                findings.compare(&path, &Neighbours::of(expected), &Neighbours::of(found));
            }
            None => findings.miss(Need::OtherHost, "links: the driver does not show them to this user"),
        }
    }
}

#[derive(PartialEq)]
struct Neighbours(BTreeSet<HostDevice>);

impl Neighbours {
    fn of(links: &[HostDevice]) -> Self {
        Self(links.iter().copied().collect())
    }
}

impl Display for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return write!(f, "none");
        }
        for (i, device) in self.0.iter().enumerate() {
            write!(f, "{}{device}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
