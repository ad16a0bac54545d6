//! `nearfab topo`: the machine as a tree.

use std::io::{self, Write};

use nearfab::{Basis, Bdf, CpuList, Host, HostDevice, Near, NodeAccess, Origin, PciFunction, PciRoot};
use serde::Serialize;

use crate::{FORMAT, list};

/// NUMA nodes, below them PCI roots, below them devices. What has no known place stands under `None`.
#[derive(Serialize)]
pub(crate) struct Topo {
    format: u32,
    numa: Vec<Node>,
}

#[derive(Serialize)]
struct Node {
    node: Option<u32>,
    cpus: CpuList,
    roots: Vec<Root>,
}

#[derive(Serialize)]
struct Root {
    root: Option<PciRoot>,
    /// The upstream port of the switch that all of these are behind.
    switch: Option<Bdf>,
    neuron: Vec<Device>,
    efa: Vec<Interface>,
}

#[derive(Serialize)]
struct Device {
    index: HostDevice,
    address: Option<Bdf>,
    cores: u32,
    access: NodeAccess,
    near: Vec<Near<Bdf>>,
}

#[derive(Serialize)]
struct Interface {
    address: Bdf,
    rdma: Option<String>,
    access: NodeAccess,
}

impl Topo {
    pub(crate) fn of(host: &Host) -> Self {
        let mut topo = Self { format: FORMAT, numa: Vec::new() };
        for node in host.numa() {
            topo.numa.push(Node { node: Some(node.node), cpus: node.cpus.clone(), roots: Vec::new() });
        }
        for device in host.neuron() {
            let near = host.near_device(device.index, Basis::Pairing);
            topo.root(device.function()).neuron.push(Device {
                index: device.index,
                address: device.address(),
                cores: device.cores,
                access: device.access,
                near: near.map_or_else(|_| Vec::new(), |list| list.nearest().cloned().collect()),
            });
        }
        for efa in host.efa() {
            topo.root(Some(&efa.function)).efa.push(Interface {
                address: efa.address(),
                rdma: efa.rdma.clone(),
                access: efa.access,
            });
        }
        for node in &mut topo.numa {
            node.roots.sort_by_key(|root| (root.root, root.switch));
        }
        topo
    }

    /// The entry for the root, and the switch, that a function stands below; made where it is the first.
    fn root(&mut self, function: Option<&PciFunction>) -> &mut Root {
        let numa = function.and_then(|function| function.numa);
        let bus = function.and_then(|function| function.root);
        let switch = function.and_then(PciFunction::switch);
        let new_node = || Node { node: numa, cpus: CpuList::default(), roots: Vec::new() };
        let new_root = || Root { root: bus, switch, neuron: Vec::new(), efa: Vec::new() };
        let node = find_or_add(&mut self.numa, |node| node.node == numa, new_node);
        find_or_add(&mut node.roots, |root| root.root == bus && root.switch == switch, new_root)
    }

    pub(crate) fn text(&self, host: &Host, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", list::headline(host))?;
        for node in &self.numa {
            let name = node.node.map_or("NUMA node unknown".to_owned(), |number| format!("NUMA node {number}"));
            writeln!(out, "\n{name}  CPUs {}", node.cpus)?;
            for (i, root) in node.roots.iter().enumerate() {
                let (branch, trunk) = if i + 1 < node.roots.len() { ("├─", "│") } else { ("└─", " ") };
                root.text(branch, trunk, out)?;
            }
        }
        why(host, out)
    }
}

impl Root {
    fn text(&self, branch: &str, trunk: &str, out: &mut dyn Write) -> io::Result<()> {
        let name = self.root.map_or("no known place on PCI".to_owned(), |root| root.to_string());
        let switch = self.switch.map_or(String::new(), |port| format!("  PCIe switch {port}"));
        writeln!(out, "{branch} {name}{switch}")?;
        for device in &self.neuron {
            let address = device.address.map_or("-".to_owned(), |address| address.to_string());
            let near = list::nearest(device.near.iter());
            let access = access(device.access);
            writeln!(
                out,
                "{trunk}    {:8}  {address:12}  {}  near EFA {near}{access}",
                device.index,
                cores(device.cores)
            )?;
        }
        for efa in &self.efa {
            let name = efa.rdma.as_deref().unwrap_or("-");
            writeln!(out, "{trunk}    efa       {}  {name}{}", efa.address, access(efa.access))?;
        }
        Ok(())
    }
}

fn cores(count: u32) -> String {
    count.checked_sub(1).map_or("cores unknown".to_owned(), |last| format!("cores 0-{last}"))
}

fn access(access: NodeAccess) -> String {
    if access == NodeAccess::Unknown { String::new() } else { format!("  access {access}") }
}

/// Where the facts behind the drawing come from, as far as they come from a table.
fn why(host: &Host, out: &mut dyn Write) -> io::Result<()> {
    let Some(table) = host.table() else { return Ok(()) };
    let from_table = matches!(host.origin(), Origin::Table { .. });
    let located = host.neuron().iter().any(|device| device.location.is_some());
    // On a machine or a tree everything else was read there.
    let used = |fact: &str| from_table || located && ["neuron", "pairing"].contains(&fact);
    let mut sources = table.sources.iter().filter(|source| used(source.fact)).peekable();
    if sources.peek().is_some() {
        writeln!(out, "\nWhy, by the table {}:", table.instance_type)?;
    }
    for source in sources {
        writeln!(out, "  {:14}{:10}{}", source.fact, source.grade, source.text)?;
    }
    Ok(())
}

/// The first item that matches, or a new one at the end.
fn find_or_add<T>(items: &mut Vec<T>, matches: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> &mut T {
    let index = items.iter().position(matches).unwrap_or_else(|| {
        items.push(new());
        items.len() - 1
    });
    &mut items[index]
}
