//! NUMA nodes and their CPUs.

mod cores;
mod cpulist;

pub use cores::CpuCores;
pub use cpulist::{CpuList, ParseCpuListError};
use serde::{Deserialize, Serialize};

use crate::error::{Problems, Result};
use crate::id::number;
use crate::root::HostRoot;

const NODES: &str = "sys/devices/system/node";

/// One NUMA node of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumaNode {
    /// The kernel's number of the node.
    pub node: u32,
    /// Its CPUs; none on a node that has only memory.
    pub cpus: CpuList,
}

/// What is done with sets of CPUs; the build script, which reads them, needs none of it.
impl CpuList {
    /// The CPUs that are in both.
    ///
    /// ```
    /// use nearfab::CpuList;
    /// let (node, given): (CpuList, CpuList) = ("0-47,96-143".parse()?, "40-99".parse()?);
    /// assert_eq!(node.and(&given).to_string(), "40-47,96-99");
    /// assert_eq!(node.without(&given).to_string(), "0-39,100-143");
    /// # Ok::<(), nearfab::ParseCpuListError>(())
    /// ```
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.iter().filter(|&cpu| other.contains(cpu)).collect()
    }

    /// The CPUs that are not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.iter().filter(|&cpu| !other.contains(cpu)).collect()
    }

    /// The CPUs of all of them.
    pub(crate) fn union<'a>(lists: impl IntoIterator<Item = &'a Self>) -> Self {
        lists.into_iter().flat_map(Self::iter).collect()
    }
}

/// The nodes in order of their numbers.
pub(crate) fn scan(root: &HostRoot, problems: &mut Problems) -> Vec<NumaNode> {
    let names = problems.take(root.list(NODES)).unwrap_or_default();
    let mut numbers: Vec<u32> = names.iter().filter_map(|name| number(name.strip_prefix("node")?)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
        .into_iter()
        .map(|node| NumaNode { node, cpus: problems.take(cpus(root, node)).unwrap_or_default() })
        .collect()
}

fn cpus(root: &HostRoot, node: u32) -> Result<CpuList> {
    let path = format!("{NODES}/node{node}/cpulist");
    let text = root.read(&path)?.unwrap_or_default();
    text.parse().map_err(|_| root.malformed(&path, "a CPU list such as 0-47,96-143", &text))
}
