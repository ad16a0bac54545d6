//! The host as a tree: NUMA nodes, PCI roots, bridges, devices.

use std::io::{self, Write};

use nearfab::{Branch, Host, Leaf, Member, NeuronDevice, NodeAccess, PciFunction};

use crate::evidence::Nearest;
use crate::list::{chain, logical_cores};
use crate::table::or_unknown;
use crate::{head, notes};

pub(super) fn text(host: &Host, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    head::write(host, out)?;
    let drawing = Drawing { host, wide };
    let (shown, empty): (Vec<_>, Vec<_>) =
        host.tree().numa.into_iter().partition(|numa| !numa.cpus.is_empty() || !numa.roots.is_empty());
    for numa in shown {
        let name = numa.node.map_or("NUMA node unknown".to_owned(), |number| format!("NUMA node {number}"));
        let cpus = if numa.cpus.is_empty() { String::new() } else { format!("  CPUs {}", numa.cpus) };
        writeln!(out, "\n{name}{cpus}")?;
        for (i, root) in numa.roots.iter().enumerate() {
            let (branch, trunk) = lines(i + 1 == numa.roots.len());
            let name = root.root.map_or("PCI root unknown".to_owned(), |root| root.to_string());
            writeln!(out, "{branch} {name}")?;
            drawing.below(&root.below, trunk, out)?;
        }
    }
    if !empty.is_empty() {
        writeln!(out, "\nNot shown: {} without CPUs and devices.", head::count(empty.len(), "NUMA node"))?;
    }
    notes::write_sources_of(host, &[], out)
}

/// Returns the line that leads to an entry, and the line that continues below the entry.
fn lines(last: bool) -> (&'static str, &'static str) {
    if last { ("└─", "   ") } else { ("├─", "│  ") }
}

struct Drawing<'a> {
    host: &'a Host,
    wide: bool,
}

impl Drawing<'_> {
    fn below(&self, branches: &[Branch], prefix: &str, out: &mut dyn Write) -> io::Result<()> {
        for (i, branch) in branches.iter().enumerate() {
            let (line, trunk) = lines(i + 1 == branches.len());
            match branch {
                Branch::Bridges { bridges, below } => {
                    writeln!(out, "{prefix}{line} {}", self.bridges(bridges, below))?;
                    self.below(below, &format!("{prefix}{trunk}"), out)?;
                }
                Branch::Member(leaf) => writeln!(out, "{prefix}{line} {}", self.leaf(leaf))?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the bridges. The last one is the upstream port of a PCIe switch if each branch below it is a device behind one port.
    fn bridges(&self, bridges: &[nearfab::Bdf], below: &[Branch]) -> String {
        let ports = below.iter().all(|branch| match branch {
            Branch::Member(leaf) => leaf.bridges.len() == 1,
            _ => true,
        });
        format!("{}{}", chain(bridges), if ports { "  PCIe switch" } else { "" })
    }

    fn leaf(&self, leaf: &Leaf) -> String {
        let mut parts = Vec::new();
        let member = self.host.members().find(|member| member.to_string() == leaf.name && member.kind() == leaf.kind);
        let (name, details) = match member {
            Some(Member::Neuron(device)) => (device.index.to_string(), self.device(device)),
            Some(Member::Unnumbered(function)) => ("neuron?".to_owned(), self.function(function)),
            Some(Member::Driverless(function)) => ("neuron?".to_owned(), self.driverless(function)),
            Some(Member::Gpu(gpu)) => ("gpu".to_owned(), self.function(&gpu.function)),
            Some(Member::Efa(efa)) => {
                let mut details: Vec<String> = efa.rdma.iter().cloned().collect();
                details.extend(access(efa.access));
                details.extend(self.function(&efa.function));
                ("efa".to_owned(), details)
            }
            Some(Member::OtherRdma(device)) => ("not efa".to_owned(), vec![device.name.clone()]),
            _ => (leaf.name.clone(), Vec::new()),
        };
        parts.push(format!("{name:8}"));
        parts.push(format!("{:12}", or_unknown(leaf.address)));
        if !leaf.bridges.is_empty() {
            parts.push(format!("port {}", chain(&leaf.bridges)));
        }
        parts.extend(details);
        if let Some(near) = Nearest::of(&leaf.near) {
            parts.push(format!("near EFA {} ({})", near.targets, near.evidence));
        }
        parts.join("  ").trim_end().to_owned()
    }

    fn device(&self, device: &NeuronDevice) -> Vec<String> {
        let cores = logical_cores(self.host, device.index).map(|cores| format!("cores {cores}"));
        let mut details: Vec<String> = cores.into_iter().chain(access(device.access)).collect();
        details.extend(device.function().into_iter().flat_map(|function| self.function(function)));
        details
    }

    fn driverless(&self, function: &PciFunction) -> Vec<String> {
        let driver = function.driver.as_deref().unwrap_or("no driver");
        let mut details = vec![format!("bound to {driver}")];
        details.extend(self.function(function));
        details
    }

    /// Returns the id and driver of a function, which only wide trees show.
    fn function(&self, function: &PciFunction) -> Vec<String> {
        if self.wide { vec![function.id.to_string(), or_unknown(function.driver.as_ref())] } else { Vec::new() }
    }
}

fn access(access: NodeAccess) -> Option<String> {
    match access {
        NodeAccess::Unknown => None,
        NodeAccess::Missing => Some("no node in /dev".to_owned()),
        access => Some(format!("access {access}")),
    }
}
