//! `nearfab-emu`: the program that writes a synthetic host.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use nearfab::instances::InstanceTable;
use nearfab_emu::{Defect, write_tree_with};

/// Write the file tree of an instance type: its sys, proc and dev, which nearfab, lstopo and libibverbs read
#[derive(Parser)]
#[command(name = "nearfab-emu", version, after_help = defects())]
struct Arguments {
    /// Instance type, such as trn2.48xlarge
    instance_type: String,
    /// Folder for the tree, new or empty
    dir: PathBuf,
    /// Defect of the host, from the list below; may be given several times
    #[arg(long = "defect", value_name = "NAME")]
    defects: Vec<Defect>,
}

fn defects() -> String {
    let lines = Defect::FORMS.map(|(form, about)| format!("  {form:<27}  {about}\n"));
    format!("Defects:\n{}", lines.concat().trim_end())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let written = InstanceTable::find(&arguments.instance_type)
        .map_err(|error| error.to_string())
        .and_then(|table| write_tree_with(table, &arguments.defects, &arguments.dir).map_err(|error| chain(&error)));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("nearfab-emu: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
