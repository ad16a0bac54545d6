//! The command line: its commands and its options.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{FromArgMatches, Parser, Subcommand};

use crate::completions::Shell;
use crate::output::Output;
use crate::source::Source;
use crate::{bind, health, list, plan, rails, run, start, topo, verify};

/// Show which AWS EFA interface is near which Neuron (Trainium, Inferentia) core, why, and whether this user may open it.
///
/// Reads this machine unless --root, --instance or --host names another host. Reading opens no device, and needs no privilege and
/// no vendor library.
#[derive(Parser)]
#[command(name = "nearfab", version)]
#[command(
    after_help = "Exit status: 0 success, 1 failure, 2 wrong usage, 3 no device found although --require was given, \
                  4 an unhealthy device although nearfab health --fail was given."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) source: Source,
    /// The form of the output: tables for people (the default), wide tables with every column, or JSON for programs. `record`
    /// writes JSON only. `plan --export` and `run --dry-run` print shell commands or JSON. `run`, `bind` and `completions`
    /// have only one form and refuse this option.
    #[arg(short, long, global = true, value_enum)]
    output: Option<Output>,
    /// Exit with status 3 if the host has neither a Neuron device nor an EFA interface.
    #[arg(long, global = true)]
    pub(crate) require: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List Neuron devices, EFA interfaces and GPUs. -o json writes the whole host, which --host reads.
    #[command(after_help = list::HELP)]
    List,
    /// Draw the host as a tree, as a matrix of distances, or as the links between Neuron devices.
    Topo {
        /// What to draw.
        #[arg(value_enum, default_value_t)]
        form: topo::Form,
    },
    /// List the EFA interfaces near a core, device or GPU, or the devices near an EFA interface. The
    /// nearest is first, with the evidence.
    Near {
        /// A core (neuron5:0 or 5:0 is core 0 of device 5), a logical core (nc5 is number 5 of NEURON_RT_VISIBLE_CORES), a device
        /// (neuron5, /dev/neuron5, nd5), an EFA interface (rdmap201s0, rdmap201s0-rdm, uverbs3), a GPU (gpu0 is the first in the
        /// order of PCI addresses; its UUID or the beginning of it; /dev/nvidia0), a NUMA node (numa0), the PCI address of an EFA
        /// interface, a Neuron device or a GPU (0000:c9:00.0), or a name of `nearfab topo matrix` (E0, G0).
        #[arg(value_name = "NAME")]
        of: String,
        /// Rank by PCIe path and NUMA node alone, and ignore the pairing that the vendor publishes.
        #[arg(long)]
        by_place: bool,
    },
    /// List the EFA interfaces that each accelerator should use: its own part of the interfaces that are near.
    #[command(after_help = rails::HELP)]
    Rails(rails::Arguments),
    /// Report known problems on this host, what they mean, and how to fix them.
    ///
    /// The exit status is 0 even if the doctor finds problems: programs read -o json. The status is 1 if nothing could be examined. With --probe, the doctor also runs libfabric's
    /// program fi_info to see which EFA interfaces libfabric finds.
    Doctor {
        /// Also check this process: its limits, its environment, and the libraries that it has loaded.
        #[arg(long)]
        pid: Option<u32>,
    },
    /// Show the health of each device: memory errors, unhealthy components, DMA aborts, and counters of EFA interfaces.
    ///
    /// Counts of memory errors are read from registers of the devices, and counters of EFA interfaces cost a command of each
    /// interface. The exit status is 0 even if a device is unhealthy.
    #[command(after_help = health::HELP)]
    Health {
        /// Exit with status 4 if a device is unhealthy.
        #[arg(long)]
        fail: bool,
    },
    /// Write this host, its system and its configuration into one JSON file, which --host reads.
    Record {
        /// The file to create. An existing file is not overwritten. The default is standard output.
        file: Option<PathBuf>,
        /// Replace the names and numbers that identify the machine or its owner.
        #[arg(long)]
        redact: bool,
    },
    /// Check nearfab's assumptions about this hardware and instance type against the host: confirmed, refuted or untestable.
    #[command(after_help = verify::HELP)]
    Verify {
        /// Also write the host and the verdicts into a new file, to send to the nearfab project.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// Divide this host among ranks: the cores, EFA interfaces and CPUs that each rank should use, and why.
    #[command(after_help = plan::HELP)]
    Plan(plan::Arguments),
    /// Start a command once for each rank, with the rank's cores, EFA interfaces and CPUs. If one rank fails, end all.
    #[command(after_help = run::HELP)]
    Run(run::Arguments),
    /// Bind a command to the cores, EFA interfaces and CPUs of its rank, in a job started by srun, mpirun or torchrun.
    #[command(after_help = bind::HELP)]
    Bind(bind::Arguments),
    /// Bind this process as one rank, and run the command of the rank: the first step of each process that `nearfab run` starts.
    #[command(hide = true)]
    Start(start::Arguments),
    /// List the vendor libraries that a program on this machine would load: version, file, missing functions.
    Runtimes,
    /// List the instance types that nearfab has a table for, or the whole table of one type with the source of each fact.
    Instances {
        /// The instance type, such as trn2.48xlarge.
        instance_type: Option<String>,
    },
    /// Print the completions of a shell, to be loaded at its start.
    #[command(after_help = crate::completions::HELP)]
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write the man pages, one for nearfab and one for each command.
    #[command(hide = true)]
    Man {
        /// The folder to write the pages into; it is created if missing.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

impl Arguments {
    /// Reads a command line, whose first word is the name of the program.
    pub(crate) fn parse(
        command: &mut clap::Command,
        words: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, clap::Error> {
        let words: Vec<OsString> = words.into_iter().collect();
        let mut matches = command.try_get_matches_from_mut(&words)?;
        let arguments = Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(command))?;
        let refusal = arguments.source.conflict(&words).map(str::to_owned);
        let refusal = refusal.or_else(|| arguments.refused_source()).or_else(|| arguments.refused_output());
        match refusal {
            Some(reason) => Err(command.error(ErrorKind::ArgumentConflict, reason)),
            None => Ok(arguments),
        }
    }

    /// The form of the output.
    pub(crate) fn output(&self) -> Output {
        self.output.unwrap_or_default()
    }

    /// Returns why the command cannot read the host that the options name, or query its driver.
    fn refused_source(&self) -> Option<String> {
        let why = match &self.command {
            Command::Runtimes => {
                "nearfab runtimes asks the loader of this machine for its libraries (nearfab record --root DIR lists the library \
                 files of another host)"
            }
            Command::Instances { .. } => "nearfab instances prints the tables of nearfab, and reads no host",
            Command::Completions { .. } => "nearfab completions prints a script for a shell, and reads no host",
            Command::Man { .. } => "nearfab man writes man pages, and reads no host",
            Command::Start(_) => "nearfab start binds a process of this machine, and reads no host",
            Command::Run(run) if run.dry_run => return None,
            Command::Run(_) | Command::Bind(_) | Command::Health { .. } | Command::Doctor { pid: Some(_) } => {
                let (does, instead) = match &self.command {
                    Command::Health { .. } => ("nearfab health reads the state of devices", ""),
                    Command::Doctor { .. } => ("nearfab doctor --pid reads a process", ", or leave --pid out"),
                    _ => (
                        "nearfab run and nearfab bind start processes",
                        ", or use nearfab plan or nearfab run --dry-run",
                    ),
                };
                let option = self.source.other_host()?;
                // A record has the health of the devices, a table has not.
                if matches!(self.command, Command::Health { .. }) && option != "--instance" {
                    return None;
                }
                return Some(format!(
                    "{does} on this machine, and {option} names another host: leave {option} out{instead}"
                ));
            }
            _ => return None,
        };
        let option = self.source.option().or(self.require.then_some("--require"))?;
        Some(format!("{why}: leave {option} out"))
    }

    /// Returns why the command cannot print the form that `--output` asks for.
    fn refused_output(&self) -> Option<String> {
        let output = self.output?;
        let why = match &self.command {
            Command::Record { .. } if output != Output::Json => {
                "nearfab record writes JSON only: leave --output out, or give it as json"
            }
            Command::Plan(plan) if plan.export.is_some() && output != Output::Json => {
                "nearfab plan --export prints shell commands or JSON: leave --output out, or give it as json"
            }
            Command::Run(run) if run.dry_run && output != Output::Json => {
                "nearfab run --dry-run prints shell commands or JSON: leave --output out, or give it as json"
            }
            Command::Rails(rails) if rails.form.is_some() => {
                "nearfab rails --for prints what one program reads: leave --output out"
            }
            Command::Run(run) if run.dry_run => return None,
            Command::Run(_) | Command::Bind(_) | Command::Start(_) => {
                "the output is that of the command to start: give --output to that command, after --"
            }
            Command::Completions { .. } => "nearfab completions prints a script for a shell only: leave --output out",
            Command::Man { .. } => "nearfab man writes man pages only: leave --output out",
            _ => return None,
        };
        Some(why.to_owned())
    }
}
