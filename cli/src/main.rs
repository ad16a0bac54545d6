//! `nearfab`: which EFA interface is near which Neuron core, and who may use them now.

#![forbid(unsafe_code)]

mod bind;
mod doctor;
mod evidence;
mod failure;
mod head;
mod instances;
mod launch;
mod list;
mod near;
mod notes;
mod output;
mod plan;
mod record;
mod run;
mod runtimes;
mod signals;
mod source;
mod start;
mod table;
mod topo;
mod verify;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nearfab::Origin;

use failure::{Failure, complain};
use output::Output;
use source::{Seen, Source};

/// Nothing was found, and something was required.
const NOTHING: u8 = 3;

/// Which AWS EFA interface is near which Neuron (Trainium, Inferentia) core, and who may use them now.
///
/// Looks at this machine unless told otherwise. It opens no device and needs no privilege and no vendor library.
#[derive(Parser)]
#[command(name = "nearfab", version)]
#[command(after_help = "Exit status: 0 done, 1 failed, 2 wrong usage, 3 nothing found and --require was given.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    source: Source,
    /// The form of the output: tables for people, wide ones with every column, JSON for programs.
    #[arg(short, long, global = true, value_enum, default_value_t)]
    output: Output,
    /// Exit with status 3 where the host has neither a Neuron device nor an EFA interface.
    #[arg(long, global = true)]
    require: bool,
}

#[derive(Subcommand)]
enum Command {
    /// List Neuron devices, EFA interfaces, GPUs; with -o json, the whole host as --host reads it back.
    #[command(after_help = list::HELP)]
    List,
    /// Draw the machine: as a tree, as a matrix of who is near whom, or as the links between Neuron devices.
    Topo {
        /// What to draw.
        #[arg(value_enum, default_value_t)]
        form: topo::Form,
    },
    /// List what is near a core, a device or an EFA interface, the nearest first, and why.
    Near {
        /// neuron5:0 (core 0 of device 5), nc5 (what 5 means in NEURON_RT_VISIBLE_CORES), neuron5, an EFA's RDMA name
        /// (rdmap201s0), or the PCI address of an EFA, a Neuron device or a GPU (0000:c9:00.0).
        of: String,
        /// Judge by PCIe path and NUMA node alone, as if the vendor's pairing were not known.
        #[arg(long)]
        by_place: bool,
    },
    /// Tell what of this host is known to make trouble, what it means, and what to do.
    ///
    /// The exit status is 0 whatever is found; programs read -o json. With --probe it also has libfabric's own program fi_info
    /// look for EFA interfaces.
    Doctor {
        /// Look at this process too: its limits, its environment, the libraries in it.
        #[arg(long)]
        pid: Option<u32>,
    },
    /// Write this host and what is around it into one file, which --host reads.
    Record {
        /// A file that is not there yet; standard output without.
        file: Option<PathBuf>,
        /// Leave out what identifies the machine or its owner.
        #[arg(long)]
        redact: bool,
    },
    /// Hold what is believed of hardware, and of this instance type, against the host: confirmed, refuted or untestable.
    #[command(after_help = verify::HELP)]
    Verify {
        /// Also write one file to send: the host, and what was found.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },
    /// Divide this host among ranks: which cores, EFA interfaces and CPUs each should use, and why.
    #[command(after_help = plan::HELP)]
    Plan(plan::Arguments),
    /// Start a command once a rank, each with its cores, EFA interfaces and CPUs, and end all where one fails.
    #[command(after_help = run::HELP)]
    Run(run::Arguments),
    /// Bind a command to what its rank should use, in a job that srun, mpirun or torchrun started.
    #[command(after_help = bind::HELP)]
    Bind(bind::Arguments),
    /// The first step of a rank that `run` starts.
    #[command(hide = true)]
    Start(start::Arguments),
    /// List the vendor libraries that programs on this machine get: version, file, what they lack and what that means.
    Runtimes,
    /// List the instance types with a table, or all that the table of one says, with the source of each fact.
    Instances {
        /// The instance type, such as trn2.48xlarge.
        instance_type: Option<String>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Standard output alone would write each line by itself.
    let mut out = BufWriter::new(io::stdout().lock());
    match run(&arguments, &mut out).and_then(|status| Ok(out.flush().map(|()| status)?)) {
        Ok(status) => status,
        // The reader has what it wanted, as `head` does.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Output(error)) => fail(&format!("cannot write the output: {error}")),
        Err(Failure::Nearfab(error)) => fail(&error.chain()),
        Err(Failure::Launch { reason, status }) => {
            complain(&reason);
            status.into()
        }
        Err(Failure::Nothing(reason)) => {
            let status = fail(&format!("no Neuron device and no EFA interface: {reason}"));
            if arguments.require { NOTHING.into() } else { status }
        }
    }
}

fn fail(reason: &str) -> ExitCode {
    complain(reason);
    ExitCode::FAILURE
}

fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let output = arguments.output;
    match &arguments.command {
        Command::Instances { instance_type } => {
            instances::write(instance_type.as_deref(), output, out)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Runtimes => {
            runtimes::write(output, out)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::List => arguments.of_host(|seen| Ok(list::write(seen, output, out)?)),
        Command::Topo { form } => arguments.of_host(|seen| Ok(topo::write(&seen.host, *form, output, out)?)),
        Command::Near { of, by_place } => arguments.of_host(|seen| near::write(&seen.host, of, *by_place, output, out)),
        Command::Doctor { pid } => arguments.of_host(|seen| doctor::write(seen, *pid, output, out)),
        Command::Record { file, redact } => {
            arguments.of_host(|seen| record::write(&seen.record()?, *redact, file.as_deref(), out))
        }
        Command::Plan(plan) => arguments.of_host(|seen| plan::write(seen, plan, output, out)),
        Command::Run(run) => run::run(&arguments.seen()?, &arguments.source, run, out),
        Command::Bind(bind) => Err(bind::bind(&arguments.source.look()?, &arguments.source, bind)),
        Command::Start(start) => Err(start::start(start)),
        Command::Verify { report } => arguments.of_host(|seen| verify::write(seen, report.as_deref(), output, out)),
    }
}

impl Arguments {
    /// The host that the arguments name; what could not be read of it is said.
    fn seen(&self) -> nearfab::Result<Seen> {
        let seen = self.source.look()?;
        // What a table invents is not a problem of a host: the views say it where it counts.
        if !matches!(seen.host.origin(), Origin::Table { .. }) {
            seen.host.problems().iter().for_each(|problem| complain(problem));
        }
        Ok(seen)
    }

    /// Shows something of the host that the arguments name.
    fn of_host(&self, show: impl FnOnce(&Seen) -> Result<(), Failure>) -> Result<ExitCode, Failure> {
        let seen = self.seen()?;
        show(&seen)?;
        let lacking = self.require && seen.host.nothing_found().is_some();
        Ok(if lacking { NOTHING.into() } else { ExitCode::SUCCESS })
    }
}
