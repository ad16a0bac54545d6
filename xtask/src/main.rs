//! The commands people use to work on nearfab: `cargo xtask --help`.

mod bare;
mod bench;
mod check;
mod fuzz;
mod generate;
mod k8s;
mod loom;
mod python;
mod run;
mod setup;
mod tally;
mod test;
mod tools;
mod valgrind;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the tests need (Debian packages, as root), or name what is missing
    Setup,
    /// Set up and run every test; slow beds only when what they depend on changed
    Test {
        /// Run the slow beds regardless
        #[arg(long)]
        all: bool,
    },
    /// Judge format, lints, documentation, dependencies and generated files
    Check,
    /// Write the committed files that a program makes: bindings, C header, picture
    Generate {
        /// Only compare
        #[arg(long)]
        check: bool,
    },
    /// Build and run discovery in a Debian root without libclang, vendor headers and vendor libraries
    Bare,
    /// Measure what seeing a host costs, beside lstopo and beside the least it could cost
    Bench,
    /// Give generated inputs to the fuzz targets
    Fuzz(fuzz::Options),
    /// Check the registry of open devices in every order in which threads can meet in it
    Loom,
    /// Run all that calls vendor libraries under valgrind
    Valgrind,
    /// A real Kubernetes on this machine, in namespaces of its own
    #[command(subcommand)]
    K8s(k8s::Command),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Setup => setup::run(),
        Command::Test { all } => test::run(all),
        Command::Check => check::run(),
        Command::Generate { check } => generate::run(check),
        Command::Bare => bare::run(),
        Command::Bench => bench::run(),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Loom => loom::run(),
        Command::Valgrind => valgrind::run(),
        Command::K8s(command) => command.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not by returning it: a backtrace says nothing to who gave the command.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
