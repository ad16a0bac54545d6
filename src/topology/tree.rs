//! The machine as a tree: NUMA nodes, PCI roots, bridges, and what stands below them.

use serde::Serialize;

use super::{Member, MemberKind, Near};
use crate::host::Host;
use crate::scan::numa::NumaNode;
use crate::scan::pci::PciFunction;
use crate::types::PciRoot;
use crate::types::{Bdf, CpuList};

/// A host's NUMA nodes with what is on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopologyTree {
    /// By number; what is on no known node comes last.
    pub numa: Vec<NumaBranch>,
}

/// A NUMA node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NumaBranch {
    /// Its number; `None` for what is on no known node.
    pub node: Option<u32>,
    /// Its CPUs.
    pub cpus: CpuList,
    /// The PCI roots with something on this node; what is below no known root comes first.
    pub roots: Vec<RootBranch>,
}

/// A PCI root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RootBranch {
    /// The root; `None` for what has no known place on PCI.
    pub root: Option<PciRoot>,
    /// What stands below it.
    pub below: Vec<Branch>,
}

/// Bridges, or one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Branch {
    /// Bridges in a row, above several things.
    Bridges {
        /// From the root down. Where ports of a switch follow, the last is its upstream port.
        bridges: Vec<Bdf>,
        /// What is below the last of them.
        below: Vec<Self>,
    },
    /// One thing.
    Member(Leaf),
}

/// One thing in the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leaf {
    /// What it is.
    pub kind: MemberKind,
    /// Its name: `neuron5`, its address, or the name of an RDMA device that is no EFA interface.
    pub name: String,
    /// Its PCI address, where known.
    pub address: Option<Bdf>,
    /// The bridges above it that are above nothing else.
    pub bridges: Vec<Bdf>,
    /// The nearest EFA interfaces, of an accelerator.
    pub near: Vec<Near<Bdf>>,
}

impl Host {
    /// The tree of this host.
    ///
    /// ```
    /// use nearfab::{Branch, Host};
    /// let tree = Host::from_instance("trn2.48xlarge")?.tree();
    /// assert_eq!(tree.numa[0].cpus.to_string(), "0-47,96-143");
    /// let Branch::Bridges { below, .. } = &tree.numa[0].roots[0].below[0] else { panic!("a switch") };
    /// assert_eq!(below.len(), 4, "two devices and their interfaces");
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    #[must_use]
    pub fn tree(&self) -> TopologyTree {
        let node = |node: &NumaNode| NumaBranch { node: Some(node.node), cpus: node.cpus.clone(), roots: Vec::new() };
        let mut numa: Vec<NumaBranch> = self.numa().iter().map(node).collect();
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

    /// The branches of members that have their first `depth` bridges in common.
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
            // In order, so that what the first and the last have in common all have.
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
            near: near.map_or_else(|_| Vec::new(), |list| list.nearest().cloned().collect()),
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

/// The branch of a node, made at the end where the host does not list it.
fn node_of(numa: &mut Vec<NumaBranch>, node: Option<u32>) -> &mut NumaBranch {
    let index = numa.iter().position(|branch| branch.node == node).unwrap_or_else(|| {
        numa.push(NumaBranch { node, cpus: CpuList::default(), roots: Vec::new() });
        numa.len() - 1
    });
    &mut numa[index]
}
