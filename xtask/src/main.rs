//! The commands people use to work on nearfab: `cargo xtask --help`.

mod k8s;
mod run;
mod tools;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A real Kubernetes on this machine, in namespaces of its own
    #[command(subcommand)]
    K8s(k8s::Command),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::K8s(command) => command.run(),
    }
}
