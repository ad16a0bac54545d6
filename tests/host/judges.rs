//! Compares hosts with the readings of independent programs from the same trees: lstopo for places, libibverbs for EFA
//! interfaces.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use nearfab::instances::{InstanceTable, tables};
use nearfab::{Bdf, Host, PciFunction, PciRoot, RailOptions, Usability};
use nearfab_emu::Defect;
use roxmltree::{Document, Node};

use crate::tree::tree_of;

/// Runs an independent program. If the program is not installed, returns `None` and prints that the test is skipped.
fn judged_by(test: &str, command: &mut Command) -> Option<String> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            nearfab_emu::skipped(test, format_args!("{:?} is not installed", command.get_program()));
            return None;
        }
        Err(error) => panic!("{command:?}: {error}"),
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{command:?}: {}{text}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

fn lstopo(tree: &Path) -> Option<String> {
    let mut command = Command::new("lstopo-no-graphics");
    command.args(["--whole-io", "--if", "fsroot", "--of", "xml", "-i"]).arg(tree);
    judged_by("lstopo", &mut command)
}

#[test]
fn lstopo_sees_the_same_parents_and_numa_nodes() {
    for table in tables() {
        let tree = tree_of(table, &[]);
        let host = Host::from_root(tree.path()).unwrap();
        let Some(xml) = lstopo(tree.path()) else { return };
        let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
        let document = Document::parse_with_options(&xml, options).unwrap();

        let functions: Vec<&PciFunction> = host.efa_interfaces().iter().map(|efa| &efa.function).collect();
        let functions: Vec<&PciFunction> =
            functions.into_iter().chain(host.neuron_devices().iter().filter_map(|device| device.function())).collect();
        let gpus = host.gpus().iter().map(|gpu| &gpu.function);
        let others = host.other_rdma().iter().filter_map(|device| device.function.as_ref());
        let functions: Vec<&PciFunction> = functions.into_iter().chain(gpus).chain(others).collect();
        let placed = if table.places_neuron() { table.neuron.len() } else { 0 };
        assert_eq!(functions.len(), table.efa.len() + placed + table.gpu.len() + table.foreign.len());
        for function in functions {
            let name = function.address.to_string();
            let object = document
                .descendants()
                .find(|node| node.attribute("type") == Some("PCIDev") && node.attribute("pci_busid") == Some(&name))
                .unwrap_or_else(|| panic!("lstopo does not see {name}"));
            assert_eq!(bridges(object), function.bridges, "{name}");
            assert_eq!(Some(root_bus(object)), function.root, "{name}");
            let nodes: BTreeSet<u32> = match function.numa {
                Some(node) => BTreeSet::from([node]),
                // A function without a node is near all nodes.
                None => table.numa.iter().map(|row| row.node).collect(),
            };
            assert_eq!(numa_nodes(object), nodes, "{} {name}", table.instance_type);
        }
    }
}

/// Returns the PCI-to-PCI bridges above an object, from the root down.
fn bridges(object: Node) -> Vec<Bdf> {
    let above = object.ancestors().filter(|node| node.attribute("bridge_type") == Some("1-1"));
    let mut bridges: Vec<Bdf> = above.map(|node| node.attribute("pci_busid").unwrap().parse().unwrap()).collect();
    bridges.reverse();
    bridges
}

/// Returns the root bus, from the host bridge's range: `0000:[b7-cc]`.
fn root_bus(object: Node) -> PciRoot {
    let bridge = object.ancestors().find(|node| node.attribute("bridge_type") == Some("0-1")).unwrap();
    let range = bridge.attribute("bridge_pci").unwrap();
    let (domain, buses) = range.split_once(":[").unwrap();
    format!("pci{domain}:{}", &buses[..2]).parse().unwrap()
}

/// Returns the nodes in the node set of the nearest object around the bridges.
fn numa_nodes(object: Node) -> BTreeSet<u32> {
    let around = object.ancestors().find_map(|node| node.attribute("nodeset")).unwrap();
    let set = u32::from_str_radix(around.trim_start_matches("0x"), 16).unwrap();
    (0..32).filter(|node| set >> node & 1 == 1).collect()
}

/// Runs ibv_devices on the emulated machine, because libibverbs finds nodes only in /dev. Returns the names of the devices, or
/// `None` after printing why libibverbs cannot run here.
fn listed_by_libibverbs(tree: &Path) -> Option<BTreeSet<String>> {
    let machine = || {
        let mut command = Command::new("sh");
        command.arg("tests/support/machine.sh");
        command
    };
    let check = machine().arg("--check").output().unwrap();
    if !check.status.success() {
        nearfab_emu::skipped("libibverbs", String::from_utf8_lossy(&check.stderr).trim());
        return None;
    }
    let installed = Command::new("ibv_devices").output();
    if installed.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        nearfab_emu::skipped("libibverbs", "ibv_devices is not installed");
        return None;
    }
    let listing = judged_by("libibverbs", machine().arg(tree).arg("ibv_devices"))?;
    Some(listing.lines().skip(2).filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

#[test]
fn libibverbs_lists_the_same_interfaces() {
    for table in tables().iter().filter(|table| !table.efa.is_empty()) {
        let tree = tree_of(table, &[]);
        let host = Host::from_root(tree.path()).unwrap();
        let Some(listed) = listed_by_libibverbs(tree.path()) else { return };
        let seen: BTreeSet<String> = host.efa_interfaces().iter().filter_map(|efa| efa.rdma.clone()).collect();
        assert_eq!(seen.len(), table.efa.len());
        let foreign: BTreeSet<String> = listed.iter().filter(|name| !name.starts_with("rdmap")).cloned().collect();
        assert_eq!(foreign.len(), table.foreign.len(), "{foreign:?}");
        let listed: BTreeSet<String> = listed.difference(&foreign).cloned().collect();
        // rdma-core before 53 does not know this generation.
        if listed.is_empty() && table.efa[0].id.device >= 0xefa3 {
            nearfab_emu::skipped("libibverbs", format_args!("it is too old for {}", table.instance_type));
            continue;
        }
        assert_eq!(listed, seen);
    }
}

/// A pod on p5en.48xlarge has some of the interfaces: others have no node here, no RDMA device, or another driver.
#[test]
fn libibverbs_lists_the_usable_interfaces_of_a_pod_and_each_rail_is_one() {
    let table = InstanceTable::find("p5en.48xlarge").unwrap();
    let second = table.efa[1].address;
    for missing in [vec![], vec![0], vec![0, 2, 3], (4..15).collect::<Vec<u32>>()] {
        let mut defects: Vec<Defect> = missing.into_iter().map(Defect::VerbsNodeMissing).collect();
        defects.push(Defect::EfaWithoutRdma(second));
        let tree = tree_of(table, &defects);
        let host = Host::from_root(tree.path()).unwrap();
        let Some(listed) = listed_by_libibverbs(tree.path()) else { return };
        let usable = host.efa_interfaces().iter().filter(|efa| host.efa_usability(efa) == Usability::Usable);
        let usable: BTreeSet<String> = usable.filter_map(|efa| efa.rdma.clone()).collect();
        assert_eq!(listed, usable, "{defects:?}");
        let rails = host.all_rails(RailOptions::default());
        assert_eq!(rails.len(), 8);
        for rail in rails.iter().flat_map(|rails| &rails.rails) {
            let name = host.find_efa(rail.near.target).unwrap().rdma.clone().unwrap();
            assert!(listed.contains(&name), "{name}: {listed:?}");
        }
    }
}
