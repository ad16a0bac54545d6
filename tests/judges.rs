//! Other people's programs read the same trees: lstopo for places, libibverbs for EFA interfaces.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use nearfab::instances::tables;
use nearfab::{Bdf, Host, PciFunction, PciRoot};
use roxmltree::{Document, Node};

/// Runs a judge; `None`, with a line that says so, where it is not installed.
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
        let tree = tempfile::tempdir().unwrap();
        nearfab_emu::write_tree(table, tree.path()).unwrap();
        let host = Host::from_root(tree.path()).unwrap();
        let Some(xml) = lstopo(tree.path()) else { return };
        let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
        let document = Document::parse_with_options(&xml, options).unwrap();

        let functions: Vec<&PciFunction> = host.efa().iter().map(|efa| &efa.function).collect();
        let functions: Vec<&PciFunction> =
            functions.into_iter().chain(host.neuron().iter().filter_map(|device| device.function())).collect();
        assert_eq!(functions.len(), table.efa.len() + table.neuron.len());
        for function in functions {
            let name = function.address.to_string();
            let object = document
                .descendants()
                .find(|node| node.attribute("type") == Some("PCIDev") && node.attribute("pci_busid") == Some(&name))
                .unwrap_or_else(|| panic!("lstopo does not see {name}"));
            assert_eq!(bridges(object), function.bridges, "{name}");
            assert_eq!(Some(root_bus(object)), function.root, "{name}");
            assert_eq!(Some(numa_node(object)), function.numa, "{name}");
        }
    }
}

/// The PCI-to-PCI bridges above an object, from the root down.
fn bridges(object: Node) -> Vec<Bdf> {
    let above = object.ancestors().filter(|node| node.attribute("bridge_type") == Some("1-1"));
    let mut bridges: Vec<Bdf> = above.map(|node| node.attribute("pci_busid").unwrap().parse().unwrap()).collect();
    bridges.reverse();
    bridges
}

/// The root bus, from the host bridge's range: `0000:[b7-cc]`.
fn root_bus(object: Node) -> PciRoot {
    let bridge = object.ancestors().find(|node| node.attribute("bridge_type") == Some("0-1")).unwrap();
    let range = bridge.attribute("bridge_pci").unwrap();
    let (domain, buses) = range.split_once(":[").unwrap();
    format!("pci{domain}:{}", &buses[..2]).parse().unwrap()
}

/// The node whose bit is set in the node set of the nearest object around the bridges.
fn numa_node(object: Node) -> u32 {
    let around = object.ancestors().find_map(|node| node.attribute("nodeset")).unwrap();
    let set = u32::from_str_radix(around.trim_start_matches("0x"), 16).unwrap();
    assert_eq!(set.count_ones(), 1, "lstopo does not place {object:?} on one node");
    set.trailing_zeros()
}

#[test]
fn libibverbs_lists_the_same_interfaces() {
    // libibverbs takes sysfs from a variable, and the nodes from /dev alone: so it runs on the emulated machine.
    let machine = || {
        let mut command = Command::new("sh");
        command.arg("tests/support/machine.sh");
        command
    };
    let check = machine().arg("--check").output().unwrap();
    if !check.status.success() {
        return nearfab_emu::skipped("libibverbs", String::from_utf8_lossy(&check.stderr).trim());
    }
    for table in tables() {
        let tree = tempfile::tempdir().unwrap();
        nearfab_emu::write_tree(table, tree.path()).unwrap();
        let host = Host::from_root(tree.path()).unwrap();
        let installed = Command::new("ibv_devices").output();
        if installed.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            return nearfab_emu::skipped("libibverbs", "ibv_devices is not installed");
        }
        let mut command = machine();
        command.arg(tree.path()).arg("ibv_devices").env("SYSFS_PATH", tree.path().join("sys"));
        let Some(listing) = judged_by("libibverbs", &mut command) else { return };
        let listed: BTreeSet<&str> =
            listing.lines().skip(2).filter_map(|line| line.split_whitespace().next()).collect();
        let seen: BTreeSet<&str> = host.efa().iter().filter_map(|efa| efa.rdma.as_deref()).collect();
        assert_eq!(seen.len(), table.efa.len());
        assert_eq!(listed, seen);
    }
}
