//! Writes the generated seeds: texts of each attribute, and for each instance type a record and a tree of its first devices.
//!
//! Usage: seeds CORPUS. CORPUS gets a folder for each target.

use std::error::Error;
use std::fs;
use std::path::Path;

use nearfab::instances::{InstanceTable, tables};
use nearfab::{Host, Record};
use nearfab_emu::Defect;
use nearfab_fuzz::attributes::Attributes;

/// Parts of the paths of files that nearfab does not read.
const UNREAD: [&str; 18] = [
    "dev/",
    "proc/",
    "/cpu/",
    "/drivers/",
    "/config",
    "/modalias",
    "/local_cpus",
    "subsystem",
    "/node_type",
    "/node_desc",
    "/sys_image_guid",
    "/link_layer",
    "/phys_state",
    "/instance_type",
    "/cpumap",
    "/meminfo",
    "/power/",
    "/parameters/",
];

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = std::env::args_os().nth(1).ok_or("usage: seeds CORPUS")?;
    let corpus = Path::new(&corpus);
    for (name, input) in Attributes::new().seeds() {
        seed(&corpus.join("attribute"), &name, input)?;
    }
    for table in tables() {
        let dir = tempfile::tempdir()?;
        let two = first_devices(table, 2);
        nearfab_emu::write_tree_with(&two, &without_statistics(&two), dir.path())?;
        let record = Record::take(&Host::from_root(dir.path())?)?;
        seed(&corpus.join("host_json"), table.instance_type, record.to_json())?;
        // The target writes and removes a tree for each input, so small trees allow more inputs.
        let dir = tempfile::tempdir()?;
        let one = first_devices(table, 1);
        nearfab_emu::write_tree_with(&one, &without_statistics(&one), dir.path())?;
        nearfab_fuzz::thin(dir.path());
        let read = |path: &str| !UNREAD.iter().any(|part| path.contains(part));
        seed(&corpus.join("tree"), table.instance_type, nearfab_fuzz::describe(dir.path(), &read))?;
    }
    Ok(())
}

/// Returns the table of an instance type with at most `devices` devices of each kind.
fn first_devices(table: &InstanceTable, devices: usize) -> InstanceTable {
    InstanceTable {
        neuron: &table.neuron[..devices.min(table.neuron.len())],
        efa: &table.efa[..devices.min(table.efa.len())],
        gpu: &table.gpu[..devices.min(table.gpu.len())],
        foreign: &table.foreign[..devices.min(table.foreign.len())],
        ..*table
    }
}

/// Returns the defect that removes the statistics of cores, which makes a tree much smaller, if it applies to the table.
fn without_statistics(table: &InstanceTable) -> Vec<Defect> {
    [Defect::NoCoreStatistics].into_iter().filter(|defect| defect.applies(table)).collect()
}

fn seed(folder: &Path, name: &str, input: impl AsRef<[u8]>) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join(name), input)?;
    Ok(())
}
