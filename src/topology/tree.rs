//! Builds the tree of a host: NUMA nodes, PCI roots, bridges, and the devices below them.

use serde::Serialize;

use super::{Member, MemberKind, Near};
use crate::host::Host;
use crate::scan::numa::NumaNode;
use crate::scan::pci::PciFunction;
use crate::types::{Bdf, CpuList, PciRoot};

/// A host's NUMA nodes with the devices on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TopologyTree {
    /// The NUMA nodes, ascending. Devices whose NUMA node is unknown come last.
    pub numa: Vec<NumaBranch>,
}

/// A NUMA node with its PCI roots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NumaBranch {
    /// The number of the node; `None` for devices whose NUMA node is unknown.
    pub node: Option<u32>,
    /// The CPUs of the node.
    pub cpus: CpuList,
    /// The PCI roots with devices on this node. Devices whose root is unknown come first.
    pub roots: Vec<RootBranch>,
}

/// A PCI root with its devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RootBranch {
    /// The root; `None` for devices whose PCI path is unknown.
    pub root: Option<PciRoot>,
    /// The bridges and devices below the root.
    pub below: Vec<Branch>,
}

/// A chain of bridges with several devices below, or one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Branch {
    /// A chain of bridges above several devices.
    Bridges {
        /// The bridges from the root down. The last bridge is the upstream port of a switch if ports of the switch
        /// follow.
        bridges: Vec<Bdf>,
        /// The branches below the last bridge.
        below: Vec<Self>,
    },
    /// One device.
    Member(Leaf),
}

/// A device in the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Leaf {
    /// The kind of the device.
    pub kind: MemberKind,
    /// The name: `neuron5`, a PCI address, or the name of an RDMA device that is not an EFA interface.
    pub name: String,
    /// The PCI address, if it is known.
    pub address: Option<Bdf>,
    /// The bridges above this device alone.
    pub bridges: Vec<Bdf>,
    /// The nearest EFA interfaces of an accelerator; empty for other devices.
    pub near: Vec<Near<Bdf>>,
}

impl Host {
    /// Returns the tree of this host.
    ///
    /// ```
    /// use nearfab::{Branch, Host};
    /// let tree = Host::from_instance("trn2.48xlarge")?.tree();
    /// assert_eq!(tree.numa[0].cpus.to_string(), "0-47,96-143");
    /// let Branch::Bridges { below, .. } = &tree.numa[0].roots[0].below[0] else { panic!("a switch") };
    /// assert_eq!(below.len(), 4, "two devices and two interfaces are below the first switch");
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    #[must_use]
    pub fn tree(&self) -> TopologyTree {
        let node = |node: &NumaNode| NumaBranch { node: Some(node.node), cpus: node.cpus.clone(), roots: Vec::new() };
        let mut numa: Vec<NumaBranch> = self.numa_nodes().iter().map(node).collect();
        let mut placed: Vec<Member<'_>> = self.members().collect();
        placed.sort_by_key(|member| {
            let function = member.function();
            (root(function), bridges(function).to_vec(), function.map(|function| function.address))
        });
        let same_root = |a: &Member<'_>, b: &Member<'_>| {
            numa_of(a.function()) == numa_of(b.function()) && root(a.function()) == root(b.function())
        };
        placed.sort_by_key(|member| numa_of(member.function()));
        for members in placed.chunk_by(same_root) {
            let Some(function) = members.first().map(|member| member.function()) else { continue };
            let branch = RootBranch { root: root(function), below: self.below(members, 0) };
            node_of(&mut numa, numa_of(function)).roots.push(branch);
        }
        TopologyTree { numa }
    }

    /// Returns the branches of members whose first `depth` bridges are the same.
    fn below(&self, members: &[Member<'_>], depth: usize) -> Vec<Branch> {
        let next = |member: &Member<'_>| bridges(member.function()).get(depth).copied();
        let mut branches = Vec::new();
        for group in members.chunk_by(|a, b| next(a).is_some() && next(a) == next(b)) {
            let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
            let chain = bridges(first.function());
            if group.len() == 1 {
                branches.push(Branch::Member(self.leaf(*first, chain.get(depth..).unwrap_or_default())));
                continue;
            }
            // The group is sorted, so all members share the bridges that the first and the last member share.
            let common = chain.iter().zip(bridges(last.function())).take_while(|(a, b)| a == b).count();
            let shared = chain.get(depth..common).unwrap_or_default().to_vec();
            branches.push(Branch::Bridges { bridges: shared, below: self.below(group, common) });
        }
        branches
    }

    fn leaf(&self, member: Member<'_>, bridges: &[Bdf]) -> Leaf {
        let near = self.near_member(member);
        Leaf {
            kind: member.kind(),
            name: member.to_string(),
            address: member.address(),
            bridges: bridges.to_vec(),
            near: near.map_or_else(|_| Vec::new(), |list| list.nearest_by_rank().cloned().collect()),
        }
    }
}

fn root(function: Option<&PciFunction>) -> Option<PciRoot> {
    function.and_then(|function| function.root)
}

fn numa_of(function: Option<&PciFunction>) -> Option<u32> {
    function.and_then(|function| function.numa)
}

fn bridges(function: Option<&PciFunction>) -> &[Bdf] {
    function.map_or(&[], |function| &function.bridges)
}

/// Returns the branch of a NUMA node. Appends a branch if the host does not list the node.
fn node_of(numa: &mut Vec<NumaBranch>, node: Option<u32>) -> &mut NumaBranch {
    let index = numa.iter().position(|branch| branch.node == node).unwrap_or_else(|| {
        numa.push(NumaBranch { node, cpus: CpuList::default(), roots: Vec::new() });
        numa.len() - 1
    });
    &mut numa[index]
}
