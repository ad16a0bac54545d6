//! The first step of a rank's process: the process binds itself to its CPUs, arranges to end with `nearfab run`, and
//! becomes the command. A process can take these steps itself, so no `unsafe` code has to run between fork and exec.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nearfab::CpuList;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

use crate::failure::Failure;
use crate::{launch, signals};

/// The exit status of a shell for a command that does not exist.
const NOT_FOUND: u8 = 127;
/// The exit status of a shell for a command that cannot be executed.
const NOT_RUN: u8 = 126;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The CPUs to bind this process to.
    #[arg(long)]
    pub(crate) cpus: CpuList,
    /// The process of `nearfab run`, which the rank must not outlive.
    #[arg(long)]
    parent: i32,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl Arguments {
    /// Returns the command line with these arguments.
    pub(crate) fn words(cpus: &CpuList, parent: u32, command: &[OsString]) -> Vec<OsString> {
        let own = ["start", "--cpus", &cpus.to_string(), "--parent", &parent.to_string(), "--"].map(OsString::from);
        own.into_iter().chain(command.iter().cloned()).collect()
    }
}

/// Binds this process, and replaces it with the command; returns only on failure.
pub(crate) fn start(arguments: &Arguments) -> Failure {
    if let Err(errno) = set_pdeathsig(Signal::SIGKILL) {
        return Failure::launch(format!("cannot make this rank end with nearfab (PR_SET_PDEATHSIG): {errno}"));
    }
    // nearfab run may have ended before the call of `set_pdeathsig`.
    if getppid() != Pid::from_raw(arguments.parent) {
        return Failure::launch("nearfab run ended before this rank started");
    }
    if let Err(errno) = signals::release() {
        return Failure::launch(format!("cannot unblock the signals of this rank: {errno}"));
    }
    match launch::bind_to(&arguments.cpus) {
        Ok(()) => become_command(&arguments.command, |_| ()),
        Err(failure) => failure,
    }
}

/// Replaces this program with a command, after `prepare` has changed its environment.
pub(crate) fn become_command(command: &[OsString], prepare: impl FnOnce(&mut Command)) -> Failure {
    let Some((program, words)) = command.split_first() else { return Failure::launch("no command was given") };
    let mut command = Command::new(program);
    command.args(words);
    prepare(&mut command);
    let error = command.exec();
    let status = if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUN };
    Failure::Launch { reason: format!("cannot start {}: {error}", program.display()), status }
}
