//! What is around the devices of a machine that AWS's installers set up: huge pages, modules, libraries.

use nearfab::instances::InstanceTable;

use crate::machine::cpus;
use crate::tree::{Error, Tree};

const HUGE_PAGES: &str = "sys/kernel/mm/hugepages";
/// What `aws-efa-installer` reserves for each core, in pages of 2 MiB.
const HUGE_PAGES_OF_A_CORE: usize = 110;

pub(crate) fn write(tree: &Tree, table: &InstanceTable) -> Result<(), Error> {
    tree.attribute("proc/sys/kernel/osrelease", "6.1.102-111.182.amzn2023.x86_64")?;
    tree.attribute("proc/sys/kernel/yama/ptrace_scope", 0)?;
    let cores: usize = table.numa.iter().map(|row| cpus(row.cpus).len()).sum();
    let pages = if table.efa.is_empty() { 0 } else { cores * HUGE_PAGES_OF_A_CORE + 1 };
    for (size, count) in [("2048kB", pages), ("1048576kB", 0)] {
        tree.attribute(&format!("{HUGE_PAGES}/hugepages-{size}/nr_hugepages"), count)?;
        tree.attribute(&format!("{HUGE_PAGES}/hugepages-{size}/free_hugepages"), count)?;
    }
    tree.attribute("etc/ld.so.conf", "include ld.so.conf.d/*.conf")?;
    if !table.efa.is_empty() {
        write_efa(tree)?;
    }
    if table.product().is_some() {
        write_neuron(tree)?;
    }
    Ok(())
}

fn write_efa(tree: &Tree) -> Result<(), Error> {
    tree.attribute("sys/module/ib_core/parameters/netns_mode", "Y")?;
    tree.attribute("sys/module/ib_uverbs/refcnt", 1)?;
    tree.attribute("usr/src/efa-3.1.0/VERSION", "3.1.0")?;
    library(tree, "opt/amazon/efa/lib64", "libfabric.so.1", "32.0")?;
    library(tree, "usr/lib64", "libibverbs.so.1", "15.61.0")?;
    library(tree, "usr/lib64", "libefa.so.1", "4.61.0")?;
    tree.attribute("etc/ld.so.conf.d/000_efa.conf", "/opt/amazon/efa/lib64")
}

fn write_neuron(tree: &Tree) -> Result<(), Error> {
    const FOLDER: &str = "opt/aws/neuron/lib";
    tree.attribute("usr/src/aws-neuronx-2.30.2.0/dkms.conf", "PACKAGE_VERSION=2.30.2.0")?;
    // Its files count on from a name of their own, which is not the soname.
    tree.bytes(&format!("{FOLDER}/libnrt.so.2.34.10.0"), b"")?;
    tree.link(&format!("{FOLDER}/libnrt.so.1"), &format!("{FOLDER}/libnrt.so.2.34.10.0"))?;
    tree.bytes(&format!("{FOLDER}/libnccom.so.2.34.10.0"), b"")?;
    tree.link(&format!("{FOLDER}/libnccom.so.2"), &format!("{FOLDER}/libnccom.so.2.34.10.0"))?;
    for program in ["neuron-ls", "neuron-monitor", "neuron-top"] {
        tree.bytes(&format!("opt/aws/neuron/bin/{program}"), b"")?;
    }
    // AWS's package leaves this to whoever sets the machine up.
    tree.attribute("etc/ld.so.conf.d/aws-neuron.conf", "/opt/aws/neuron/lib")
}

/// A library's file and the link to it by soname.
fn library(tree: &Tree, folder: &str, soname: &str, version: &str) -> Result<(), Error> {
    tree.bytes(&format!("{folder}/{soname}.{version}"), b"")?;
    tree.link(&format!("{folder}/{soname}"), &format!("{folder}/{soname}.{version}"))
}
