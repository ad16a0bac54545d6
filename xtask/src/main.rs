//! The commands that people use to work on nearfab: `cargo xtask --help`.

mod allocator;
mod api;
mod bare;
mod beds;
mod bench;
mod book;
mod check;
mod files;
mod fuzz;
mod generate;
mod go;
mod k8s;
mod lexer;
mod loom;
mod man;
mod memory;
mod package;
mod packages;
mod python;
mod quick;
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
    /// Install the Debian packages that the other commands need (as root), or name the missing ones
    Setup,
    /// Check a small change within a minute: format, lints of changed packages, unit tests, one host of each family
    Quick,
    /// Install what the tests need, and run every test that needs no emulated machine, no checker and no cluster
    Test,
    /// Run the slow test beds whose inputs changed: book, loom, bare, package, valgrind, k8s
    Beds(beds::Options),
    /// Check format, lints, documentation, words, dependencies, packages and generated files
    Check {
        /// The checks to run (default: all)
        names: Vec<check::Check>,
    },
    /// Write the committed files that a program writes: bindings, protocols, C header, picture, list of the public API
    Generate(generate::Options),
    /// Render docs/ as a book of HTML
    Book,
    /// Write the manual pages of nearfab
    Man,
    /// Build each published package outside of the workspace, and run the examples in its documentation
    Package,
    /// Build and run discovery in a Debian root without libclang, vendor headers and vendor libraries
    Bare,
    /// Measure discovery beside lstopo and beside the least possible number of system calls
    Bench,
    /// Run the fuzz targets on generated inputs
    Fuzz(fuzz::Options),
    /// Check the registry of open devices and the generations of processes in every order of their threads
    Loom,
    /// Run the tests that call vendor libraries under valgrind
    Valgrind,
    /// Test the device model of nearfab-dra by the allocator of Kubernetes, in three versions
    Allocator,
    /// Run Kubernetes on this machine, in private namespaces
    #[command(subcommand)]
    K8s(k8s::Command),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Setup => setup::for_all(),
        Command::Quick => quick::run(),
        Command::Test => test::run(),
        Command::Beds(options) => beds::run(&options),
        Command::Check { names } => check::run(&names),
        Command::Generate(options) => generate::run(&options),
        Command::Book => book::run(),
        Command::Man => man::run(),
        Command::Package => package::run(),
        Command::Bare => bare::run(),
        Command::Bench => bench::run(),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Loom => loom::run(),
        Command::Valgrind => valgrind::run(),
        Command::Allocator => allocator::run(),
        Command::K8s(command) => command.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not returned from `main`: a backtrace does not help the person who gave the command.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
