//! Writes the seeds that are made rather than kept: for each instance type a record and a tree of its first devices.
//!
//! Usage: seeds CORPUS, the folder with a folder for each target.

use std::error::Error;
use std::fs;
use std::path::Path;

use nearfab::Host;
use nearfab::instances::{InstanceTable, tables};
use nearfab_emu::Defect;

/// More devices make inputs larger, and say nothing new.
const DEVICES: usize = 2;
/// Parts of the paths of what nearfab does not read.
const UNREAD: [&str; 9] =
    ["dev/", "proc/", "/cpu/", "/config", "/modalias", "/local_cpus", "subsystem", "/power/", "/parameters/"];

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = std::env::args_os().nth(1).ok_or("usage: seeds CORPUS")?;
    let corpus = Path::new(&corpus);
    for table in tables() {
        let some = InstanceTable {
            neuron: &table.neuron[..DEVICES.min(table.neuron.len())],
            efa: &table.efa[..DEVICES.min(table.efa.len())],
            ..*table
        };
        let dir = tempfile::tempdir()?;
        let small: Vec<Defect> = [Defect::NoCoreStatistics].into_iter().filter(|small| small.applies(&some)).collect();
        nearfab_emu::write_tree_with(&some, &small, dir.path())?;
        seed(&corpus.join("host_json"), table, &Host::from_root(dir.path())?.to_json())?;
        let read = |path: &str| !UNREAD.iter().any(|part| path.contains(part));
        seed(&corpus.join("tree"), table, &nearfab_fuzz::describe(dir.path(), &read))?;
    }
    Ok(())
}

fn seed(folder: &Path, table: &InstanceTable, text: &str) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join(table.instance_type), text)?;
    Ok(())
}
