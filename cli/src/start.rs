//! The first step of a rank: in its own process it binds itself, sees to it that it ends with `nearfab run`, and becomes the
//! command. What a process does to itself needs no `unsafe` between fork and exec.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nearfab::CpuList;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

use crate::failure::Failure;
use crate::{launch, signals};

/// What a shell exits with where there is no such command, and where it cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// To bind itself to.
    #[arg(long)]
    pub(crate) cpus: CpuList,
    /// The process that the rank must not outlive.
    #[arg(long)]
    parent: i32,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl Arguments {
    /// The words of the command line that these arguments are read from.
    pub(crate) fn words(cpus: &CpuList, parent: u32, command: &[OsString]) -> Vec<OsString> {
        let own = ["start", "--cpus", &cpus.to_string(), "--parent", &parent.to_string(), "--"].map(OsString::from);
        own.into_iter().chain(command.iter().cloned()).collect()
    }
}

/// Returns only where it fails.
pub(crate) fn start(arguments: &Arguments) -> Failure {
    if let Err(errno) = set_pdeathsig(Signal::SIGKILL) {
        return Failure::launch(format!("the kernel does not tie this rank to nearfab: {errno}"));
    }
    // It may have ended before that.
    if getppid() != Pid::from_raw(arguments.parent) {
        return Failure::launch("nearfab ended before this rank was started");
    }
    if let Err(errno) = signals::release() {
        return Failure::launch(format!("the kernel does not give this rank its signals: {errno}"));
    }
    match launch::bind_to(&arguments.cpus) {
        Ok(()) => become_command(&arguments.command, |_| ()),
        Err(failure) => failure,
    }
}

/// Replaces this program with a command, whose environment is changed first.
pub(crate) fn become_command(command: &[OsString], prepare: impl FnOnce(&mut Command)) -> Failure {
    let Some((program, words)) = command.split_first() else { return Failure::launch("there is no command") };
    let mut command = Command::new(program);
    command.args(words);
    prepare(&mut command);
    let error = command.exec();
    let status = if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_RUN };
    Failure::Launch { reason: format!("{} cannot be started: {error}", program.display()), status }
}
