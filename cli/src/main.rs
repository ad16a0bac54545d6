//! `nearfab`: which EFA interface is near which Neuron core, and who may use them now.

#![forbid(unsafe_code)]

mod doctor;
mod list;
mod near;
mod record;
mod table;
mod topo;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use nearfab::probe::ProbeOptions;
use nearfab::{Error, Host};

/// The version of the JSON that `near` and `topo` print; that of `list` is the recorded host's own.
const FORMAT: u32 = 1;

/// Which AWS EFA interface is near which Neuron (Trainium, Inferentia) core, and who may use them now.
///
/// Looks at this machine unless told otherwise. It opens no device and needs no privilege and no vendor library.
#[derive(Parser)]
#[command(name = "nearfab", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    source: Source,
    /// The form of the output: tables for people, wide ones with every column, JSON for programs.
    #[arg(short, long, global = true, value_enum, default_value_t)]
    output: Output,
    /// Ask the Neuron driver as well, which opens device nodes; on a part of an UltraServer or pod only if told
    /// even-on-pods, since others on it feel that.
    #[arg(long, global = true, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "alone")]
    probe: Option<Probing>,
}

#[derive(Subcommand)]
enum Command {
    /// List Neuron devices and EFA interfaces; with -o json, the whole host as --host reads it back.
    List,
    /// List what is near a core, a device or an EFA interface, the nearest first, and why.
    Near {
        /// neuron5:0 (core 0 of device 5), neuron5, a PCI address (0000:c9:00.0) or an EFA's RDMA name (rdmap201s0).
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
    /// Draw the machine: NUMA nodes, PCI roots and switches, and each Neuron device with its EFA interface.
    Topo,
}

#[derive(Args)]
#[group(multiple = false)]
struct Source {
    /// Look at the sys and dev below this folder instead of /.
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Look at no machine but at what is known of this instance type, such as trn2.48xlarge.
    #[arg(long, global = true, value_name = "TYPE")]
    instance: Option<String>,
    /// Look at a host recorded by `nearfab record` or `nearfab list -o json`.
    #[arg(long, global = true, value_name = "FILE")]
    host: Option<PathBuf>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    #[default]
    Table,
    Wide,
    Json,
}

/// The machines whose driver may be asked.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Probing {
    /// Those that stand alone.
    Alone,
    /// Parts of UltraServers and pods too.
    EvenOnPods,
}

impl Probing {
    fn options(self) -> ProbeOptions {
        let options = ProbeOptions::default();
        if self == Self::EvenOnPods { options.even_on_pods() } else { options }
    }
}

impl Source {
    fn host(&self) -> nearfab::Result<Host> {
        match (&self.root, &self.instance, &self.host) {
            (Some(root), ..) => Host::from_root(root),
            (_, Some(instance_type), _) => Host::from_instance(instance_type),
            (.., Some(file)) => Host::from_file(file),
            _ => Host::discover(),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has what it wanted, as `head` does.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Output(error)) => fail(&format!("cannot write the output: {error}")),
        Err(Failure::Nearfab(error)) => fail(&error.chain()),
    }
}

fn fail(reason: &str) -> ExitCode {
    complain(reason);
    ExitCode::FAILURE
}

fn complain(reason: &str) {
    // Nobody reads it where standard error is closed.
    let _ = writeln!(io::stderr(), "nearfab: {reason}");
}

enum Failure {
    Nearfab(Error),
    Output(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Nearfab(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<(), Failure> {
    let mut host = arguments.source.host()?;
    let mut probe = None;
    if let Some(probing) = arguments.probe {
        let answers = nearfab::probe(&host, probing.options())?;
        host = answers.place(&host);
        probe = Some(answers);
    }
    for problem in host.problems() {
        complain(problem);
    }
    match (&arguments.command, arguments.output) {
        (Command::List, Output::Json) => writeln!(out, "{}", host.to_json())?,
        (Command::List, _) => list::text(&host, out)?,
        (Command::Near { of, by_place }, output) => near::write(&host, of, *by_place, output, out)?,
        (Command::Doctor { pid }, output) => {
            doctor::write(&host, arguments.source.host.as_deref(), *pid, probe.as_ref(), output, out)?;
        }
        (Command::Record { file, redact }, _) => {
            let record = record::of(&host, arguments.source.host.as_deref())?;
            let record = if *redact { record.redacted() } else { record };
            record::write(&record, file.as_deref(), out)?;
        }
        (Command::Topo, Output::Json) => json(&topo::Topo::of(&host), out)?,
        (Command::Topo, _) => topo::Topo::of(&host).text(&host, out)?,
    }
    Ok(())
}

fn json(value: &impl serde::Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}
