//! The command line of nearfab, as a library.
//!
//! The program `nearfab` calls [`main`]. Tests and `cargo xtask` call [`run()`], which runs one command line in the
//! calling process, and [`command`], which describes all commands and options.
//!
//! ```
//! let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
//! let status = nearfab_cli::run(["topo", "--instance", "trn2.48xlarge"], &mut stdout, &mut stderr);
//! assert_eq!(status, 0);
//! assert!(String::from_utf8_lossy(&stdout).starts_with("trn2.48xlarge "));
//! assert!(stderr.is_empty());
//! ```

#![forbid(unsafe_code)]

mod arguments;
mod bind;
mod completions;
mod doctor;
mod evidence;
mod failure;
mod head;
mod health;
mod instances;
mod launch;
mod list;
mod man;
mod near;
mod notes;
mod output;
mod plan;
mod rails;
mod record;
mod run;
mod runtimes;
mod shell;
mod signals;
mod source;
mod start;
mod table;
mod topo;
mod verify;

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::CommandFactory;

use arguments::{Arguments, Command};
use failure::{Failure, print_message};
use source::{Hosts, Input};

/// The exit status of a command that found no device although `--require` was given.
const NOTHING: u8 = 3;

/// The exit status of `nearfab health --fail` if there are findings.
const UNHEALTHY: u8 = 4;

/// The width of help and usage errors without a terminal, in columns: the default of clap.
const COLUMNS: usize = 100;

/// Whether a command may start other processes, or replace this one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Processes {
    /// This process is the program `nearfab`.
    Allowed,
    /// This process is another program, which called [`run()`].
    Refused,
}

/// Runs the program `nearfab` with the arguments of this process, and returns its exit status.
///
/// Help and usage errors are as wide as the terminal, and have colours on a terminal.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::parse(&mut command(), std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => {
            // If the stream is closed, the exit status is the only answer.
            let _ = error.print();
            return status_of(&error).into();
        }
    };
    // Without the buffer, standard output would write each line separately.
    let mut stdout = BufWriter::new(io::stdout().lock());
    execute(&arguments, &mut Hosts::default(), Processes::Allowed, &mut stdout, &mut io::stderr()).into()
}

/// Runs one command line in this process, writes to the given streams, and returns the exit status.
///
/// `arguments` are the words after the name of the program. The output is that of the program `nearfab` without a
/// terminal: 100 columns wide and without colours. The commands that start or replace a process (`bind`, and `run`
/// without `--dry-run`) fail with status 1: only the program `nearfab` can run these commands.
#[must_use]
pub fn run<T: Into<OsString>>(
    arguments: impl IntoIterator<Item = T>,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    Session::default().run(arguments, stdout, stderr)
}

/// Runs several command lines, and reads each host once.
///
/// A program that shows one host in many forms saves the time of reading it again. A host that changes during the session keeps the
/// devices that it had when it was read.
pub struct Session {
    command: clap::Command,
    hosts: Hosts,
}

impl Default for Session {
    fn default() -> Self {
        Self { command: command().term_width(COLUMNS), hosts: Hosts::default() }
    }
}

impl Session {
    /// Runs one command line, as the function [`run()`] does.
    #[must_use]
    pub fn run<T: Into<OsString>>(
        &mut self,
        arguments: impl IntoIterator<Item = T>,
        stdout: &mut dyn Write,
        stderr: &mut dyn Write,
    ) -> u8 {
        let words = std::iter::once(OsString::from("nearfab")).chain(arguments.into_iter().map(Into::into));
        match Arguments::parse(&mut self.command, words) {
            Ok(arguments) => execute(&arguments, &mut self.hosts, Processes::Refused, stdout, stderr),
            Err(error) => {
                let text = error.render().to_string();
                let text = text.as_bytes();
                // As in main: if the stream is closed, the exit status is the only answer.
                let _ = if error.use_stderr() { stderr.write_all(text) } else { stdout.write_all(text) };
                status_of(&error)
            }
        }
    }
}

/// Returns the description of all commands and options, from which help, completions and man pages are made.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

fn status_of(error: &clap::Error) -> u8 {
    u8::try_from(error.exit_code()).unwrap_or(2)
}

/// Runs a command and writes its errors; returns the exit status.
fn execute(
    arguments: &Arguments,
    hosts: &mut Hosts,
    processes: Processes,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let result = dispatch(arguments, hosts, processes, out, err).and_then(|status| Ok(out.flush().map(|()| status)?));
    match result {
        Ok(status) => status,
        // The reader of the output, such as `head`, has read enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(failure) => {
            print_message(err, &failure.to_string());
            match failure {
                Failure::Launch { status, .. } => status,
                Failure::Nothing(_) if arguments.require => NOTHING,
                _ => 1,
            }
        }
    }
}

fn dispatch(
    arguments: &Arguments,
    hosts: &mut Hosts,
    processes: Processes,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, Failure> {
    let output = arguments.output();
    let source = &arguments.source;
    match &arguments.command {
        Command::Instances { instance_type } => instances::write(instance_type.as_deref(), output, out).map(|()| 0),
        Command::Runtimes => Ok(runtimes::write(output, out).map(|()| 0)?),
        Command::Completions { shell } => Ok(completions::write(*shell, out).map(|()| 0)?),
        Command::Man { folder } => man::write(folder).map(|()| 0),
        Command::List => of_host(arguments, hosts, err, |input, _| list::write(input, output, out)),
        Command::Topo { form } => {
            of_host(arguments, hosts, err, |input, _| Ok(topo::write(&input.host, *form, output, out)?))
        }
        Command::Near { of, by_place } => {
            of_host(arguments, hosts, err, |input, _| near::write(&input.host, of, *by_place, output, out))
        }
        Command::Rails(rails) => {
            of_host(arguments, hosts, err, |input, err| rails::write(input, rails, output, out, err))
        }
        Command::Doctor { pid } => of_host(arguments, hosts, err, |input, _| doctor::write(input, *pid, output, out)),
        Command::Health { fail } => {
            let mut has_findings = false;
            let status = of_host(arguments, hosts, err, |input, _| {
                has_findings = health::write(input, output, out)?;
                Ok(())
            })?;
            Ok(if *fail && has_findings { UNHEALTHY } else { status })
        }
        Command::Record { file, redact } => {
            of_host(arguments, hosts, err, |input, _| record::write(&input.record()?, *redact, file.as_deref(), out))
        }
        Command::Verify { report } => {
            of_host(arguments, hosts, err, |input, _| verify::write(input, report.as_deref(), output, out))
        }
        Command::Plan(plan) => of_host(arguments, hosts, err, |input, err| plan::write(input, plan, output, out, err)),
        Command::Run(run) if run.dry_run => {
            of_host(arguments, hosts, err, |input, err| run::print(input, run, output, out, err))
        }
        Command::Run(run) => {
            processes.require("run")?;
            run::run(&source.read_and_report(hosts, err)?.with_details()?, source, run, err)
        }
        Command::Bind(bind) => {
            processes.require("bind")?;
            Err(bind::bind(&source.read(hosts)?.with_details()?, source, bind, err))
        }
        Command::Start(start) => {
            processes.require("start")?;
            Err(start::start(start))
        }
    }
}

/// Reads the host that the arguments name, and calls `show` with it; returns the exit status, which `--require`
/// changes.
fn of_host(
    arguments: &Arguments,
    hosts: &mut Hosts,
    err: &mut dyn Write,
    show: impl FnOnce(&Input, &mut dyn Write) -> Result<(), Failure>,
) -> Result<u8, Failure> {
    let input = arguments.source.read_and_report(hosts, err)?;
    show(&input, err)?;
    let is_lacking = arguments.require && input.host.nothing_found().is_some();
    Ok(if is_lacking { NOTHING } else { 0 })
}

impl Processes {
    /// Fails in a process that is not the program `nearfab`.
    fn require(self, command: &str) -> Result<(), Failure> {
        match self {
            Self::Allowed => Ok(()),
            Self::Refused => Err(Failure::launch(format!(
                "nearfab {command} starts or replaces a process, which the library nearfab_cli does not do: call the program nearfab"
            ))),
        }
    }
}
