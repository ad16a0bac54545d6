//! The machine's identity, CPUs and memory, which lstopo reads.

use std::fmt::Write;

use nearfab::CpuList;
use nearfab::instances::NumaRow;

use crate::plan::Plan;
use crate::tree::{Error, Tree};

const CPUS: &str = "sys/devices/system/cpu";
const NODES: &str = "sys/devices/system/node";
/// The memory of each NUMA node. The size is arbitrary: no test checks the size.
const MEMORY_KB: u64 = 64 << 20;

pub(crate) fn write(tree: &Tree, plan: &Plan) -> Result<(), Error> {
    let dmi = "sys/devices/virtual/dmi/id";
    if let Some(name) = &plan.product_name {
        tree.attribute(&format!("{dmi}/product_name"), 0o444, name)?;
    }
    tree.attribute(&format!("{dmi}/sys_vendor"), 0o444, "Amazon EC2")?;
    tree.attribute(&format!("{dmi}/board_asset_tag"), 0o444, "i-0123456789abcdef0")?;
    tree.link("sys/class/dmi/id", dmi)?;

    let nodes: Vec<(u32, CpuList)> = plan.numa.iter().map(|row| (row.node, cpus(row.cpus))).collect();
    let all = all_cpus(plan.numa);
    for name in ["online", "possible", "present"] {
        tree.attribute(&format!("{CPUS}/{name}"), 0o444, &all)?;
    }
    let numbers = nodes.iter().map(|(node, _)| node.to_string()).collect::<Vec<_>>().join(",");
    for name in ["online", "possible", "has_cpu", "has_memory"] {
        tree.attribute(&format!("{NODES}/{name}"), 0o444, cpus(&numbers))?;
    }
    let mut cpuinfo = String::new();
    for (node, cpus) in &nodes {
        let distances = nodes.iter().map(|(other, _)| if other == node { "10" } else { "21" }).collect::<Vec<_>>();
        tree.attribute(&format!("{NODES}/node{node}/cpumap"), 0o444, mask(cpus))?;
        tree.attribute(&format!("{NODES}/node{node}/cpulist"), 0o444, cpus)?;
        tree.attribute(&format!("{NODES}/node{node}/distance"), 0o444, distances.join(" "))?;
        tree.attribute(&format!("{NODES}/node{node}/meminfo"), 0o444, format!("Node {node} MemTotal: {MEMORY_KB} kB"))?;
        for cpu in cpus.iter() {
            let (core, siblings) = core_of(cpus, cpu);
            let topology = format!("{CPUS}/cpu{cpu}/topology");
            tree.attribute(&format!("{topology}/physical_package_id"), 0o444, node)?;
            tree.attribute(&format!("{topology}/core_id"), 0o444, core)?;
            tree.attribute(&format!("{topology}/core_cpus"), 0o444, mask(&siblings))?;
            tree.attribute(&format!("{topology}/thread_siblings_list"), 0o444, &siblings)?;
            tree.attribute(&format!("{topology}/package_cpus"), 0o444, mask(cpus))?;
            // Writing to a String cannot fail.
            let _ = write!(cpuinfo, "processor\t: {cpu}\nphysical id\t: {node}\ncore id\t\t: {core}\n\n");
        }
    }
    tree.bytes("proc/cpuinfo", 0o444, cpuinfo.as_bytes())?;
    tree.attribute("proc/meminfo", 0o444, format!("MemTotal: {} kB", MEMORY_KB * nodes.len() as u64))?;
    let cgroup =
        if plan.cgroup_limits { "\ncgroup /sys/fs/cgroup cgroup2 ro,nosuid,nodev,noexec,relatime 0 0" } else { "" };
    tree.attribute("proc/mounts", 0o444, format_args!("sysfs /sys sysfs rw 0 0{cgroup}"))
}

/// Returns the number and the CPUs of the core that `cpu` is a thread of. On EC2 machines with one thread per core, the
/// CPUs of a node are one range. On other EC2 machines, the CPUs of a node are two ranges of equal length, and the
/// second range has the second threads.
fn core_of(node: &CpuList, cpu: u32) -> (usize, CpuList) {
    let all: Vec<u32> = node.iter().collect();
    let threads = node.to_string().split(',').count();
    let cores = all.len() / threads;
    let core = all.iter().position(|&other| other == cpu).unwrap_or_default() % cores;
    let siblings: Vec<String> = (0..threads).map(|thread| all[core + thread * cores].to_string()).collect();
    (core, cpus(&siblings.join(",")))
}

/// Returns a CPU set as the kernel's bit mask: 32-bit words in hexadecimal, the highest first.
pub(crate) fn mask(cpus: &CpuList) -> String {
    let words = cpus.iter().last().map_or(1, |last| last as usize / 32 + 1);
    let mut bits = vec![0_u32; words];
    for cpu in cpus.iter() {
        bits[cpu as usize / 32] |= 1 << (cpu % 32);
    }
    bits.iter().rev().map(|word| format!("{word:08x}")).collect::<Vec<_>>().join(",")
}

/// Returns the CPUs of all NUMA nodes.
pub(crate) fn all_cpus(numa: &[NumaRow]) -> CpuList {
    cpus(&numa.iter().map(|row| row.cpus).collect::<Vec<_>>().join(","))
}

/// Parses a CPU list of a table. The build of nearfab checks these lists, so parsing cannot fail here.
pub(crate) fn cpus(list: &str) -> CpuList {
    list.parse().unwrap_or_default()
}
