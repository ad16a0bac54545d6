//! Huge pages, kernel modules and libraries of a machine that AWS's installers set up.

use crate::driver::NeuronDriver;
use crate::elf::library_file;
use crate::machine::cpus;
use crate::plan::Plan;
use crate::tree::{Error, Tree};

const HUGE_PAGES: &str = "sys/kernel/mm/hugepages";
/// The number of huge pages of 2 MiB that `aws-efa-installer` reserves per CPU.
const HUGE_PAGES_PER_CPU: usize = 110;

pub(crate) fn write(tree: &Tree, plan: &Plan) -> Result<(), Error> {
    tree.attribute("proc/sys/kernel/osrelease", 0o444, "6.1.102-111.182.amzn2023.x86_64")?;
    tree.attribute("proc/sys/kernel/yama/ptrace_scope", 0o644, 0)?;
    let has_efa = plan.functions.iter().any(|function| function.driver == Some("efa"));
    let cpus: usize = plan.numa.iter().map(|row| cpus(row.cpus).len()).sum();
    let pages = if has_efa { cpus * HUGE_PAGES_PER_CPU + 1 } else { 0 };
    for (size, count) in [("2048kB", pages), ("1048576kB", 0)] {
        tree.attribute(&format!("{HUGE_PAGES}/hugepages-{size}/nr_hugepages"), 0o644, count)?;
        tree.attribute(&format!("{HUGE_PAGES}/hugepages-{size}/free_hugepages"), 0o444, count)?;
    }
    tree.attribute("etc/ld.so.conf", 0o644, "include ld.so.conf.d/*.conf")?;
    if has_efa {
        write_efa(tree)?;
    }
    if plan.cgroup_limits {
        write_cgroup(tree, plan)?;
    }
    match &plan.neuron {
        Some(neuron) => write_neuron(tree, neuron.driver),
        None => Ok(()),
    }
}

/// Writes the files of cgroup v2 as a container reads them, whose cgroup is the root of the mounted file system.
fn write_cgroup(tree: &Tree, plan: &Plan) -> Result<(), Error> {
    let first = plan.numa.first();
    for (file, value) in [
        ("cgroup.controllers", "cpuset cpu io memory hugetlb pids rdma misc"),
        ("cpuset.cpus.effective", first.map_or("", |row| row.cpus)),
        ("hugetlb.2MB.max", "0"),
        ("hugetlb.2MB.current", "0"),
        ("hugetlb.2MB.events", "max 0"),
        ("hugetlb.1GB.max", "0"),
        ("hugetlb.1GB.current", "0"),
        ("memory.max", "max"),
    ] {
        tree.attribute(&format!("sys/fs/cgroup/{file}"), 0o444, value)?;
    }
    let node = first.map_or_else(String::new, |row| row.node.to_string());
    tree.attribute("sys/fs/cgroup/cpuset.mems.effective", 0o444, node)
}

fn write_efa(tree: &Tree) -> Result<(), Error> {
    tree.attribute("sys/module/ib_core/parameters/netns_mode", 0o444, "Y")?;
    tree.attribute("sys/module/ib_uverbs/refcnt", 0o444, 1)?;
    tree.attribute("usr/src/efa-3.1.0/VERSION", 0o644, "3.1.0")?;
    let needed: [(&str, &[&str]); 2] =
        [("libefa.so.1", &["EFA_1.2", "EFA_1.3"]), ("libibverbs.so.1", &["IBVERBS_1.1", "IBVERBS_1.14"])];
    library(tree, "opt/amazon/efa/lib64", "libfabric.so.1", "32.0", &library_file(&[], &needed))?;
    let defined = ["IBVERBS_1.0", "IBVERBS_1.1", "IBVERBS_1.14", "IBVERBS_1.15", "IBVERBS_PRIVATE_34"];
    library(tree, "usr/lib64", "libibverbs.so.1", "15.61.0", &library_file(&defined, &[]))?;
    let defined = ["EFA_1.0", "EFA_1.1", "EFA_1.2", "EFA_1.3", "EFA_1.4"];
    let efa = library_file(&defined, &[("libibverbs.so.1", &["IBVERBS_PRIVATE_34"])]);
    library(tree, "usr/lib64", "libefa.so.1", "4.61.0", &efa)?;
    tree.attribute("etc/ld.so.conf.d/000_efa.conf", 0o644, "/opt/amazon/efa/lib64")
}

fn write_neuron(tree: &Tree, driver: NeuronDriver) -> Result<(), Error> {
    const FOLDER: &str = "opt/aws/neuron/lib";
    let version = driver.version();
    let package = format!("PACKAGE_VERSION={version}");
    tree.attribute(&format!("usr/src/aws-neuronx-{version}/dkms.conf"), 0o644, package)?;
    let runtime = runtime_version(driver);
    // The file names contain the library's plain name, such as `libnrt.so`, and not the soname.
    for (name, soname) in [("libnrt.so", "libnrt.so.1"), ("libnccom.so", "libnccom.so.2")] {
        let file = format!("{FOLDER}/{name}.{runtime}");
        tree.bytes(&file, 0o644, b"")?;
        tree.link(&format!("{FOLDER}/{soname}"), &file)?;
    }
    for program in ["neuron-ls", "neuron-monitor", "neuron-top"] {
        tree.bytes(&format!("opt/aws/neuron/bin/{program}"), 0o755, b"")?;
    }
    // The administrator of the machine writes this file. AWS's package does not write it.
    tree.attribute("etc/ld.so.conf.d/aws-neuron.conf", 0o644, "/opt/aws/neuron/lib")
}

/// Returns the version of the runtime that AWS ships with a driver, by the release notes of the Neuron SDK 2.28 to
/// 2.33. Returns the oldest of these versions for older drivers.
fn runtime_version(driver: NeuronDriver) -> &'static str {
    match driver {
        NeuronDriver::V2_24 => "2.30.50.0",
        NeuronDriver::V2_27 | NeuronDriver::V2_28 => "2.32.31.0",
        NeuronDriver::V2_29 => "2.33.10.0",
        NeuronDriver::V2_30 => "2.34.10.0",
        NeuronDriver::V2_31 => "2.35.30.0",
    }
}

/// Writes a library's file, and a link to the file. The link's name is the soname.
fn library(tree: &Tree, folder: &str, soname: &str, version: &str, content: &[u8]) -> Result<(), Error> {
    let file = format!("{folder}/{soname}.{version}");
    tree.bytes(&file, 0o755, content)?;
    tree.link(&format!("{folder}/{soname}"), &file)
}
