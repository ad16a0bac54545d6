//! Running programs and waiting for conditions, with errors that say what was run and what it said.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// The top of the source tree.
pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Where cargo put this program, and puts the workspace's other binaries of the same profile.
///
/// # Errors
/// When the kernel does not tell where this program is.
pub(crate) fn binaries() -> Result<PathBuf> {
    let program = std::env::current_exe().context("finding this program's own file")?;
    let folder = program.parent().context("this program has no folder")?;
    Ok(folder.to_owned())
}

/// A line for the person who gave the command.
#[expect(clippy::print_stdout, reason = "a command's answer goes to stdout")]
pub(crate) fn say(line: impl std::fmt::Display) {
    println!("{line}");
}

/// Runs a program to its end and returns what it wrote to stdout.
///
/// # Errors
/// When it cannot be started or fails; the error carries the command line and all it wrote.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {}", line(command)))?;
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    if status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&stderr);
    bail!("{} ended with {status}\n{stdout}{stderr}", line(command))
}

/// Runs a program to its end with its output passed through.
///
/// # Errors
/// When it cannot be started or fails.
pub(crate) fn visibly(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", line(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", line(command));
    }
    Ok(())
}

/// Asks `probe` until it breaks with a value; what it continues with is the reason to wait on.
///
/// # Errors
/// What `probe` fails with; the last reason when `limit` is over; an interruption by a signal.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<ControlFlow<T, String>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        check_interrupt()?;
        match probe()? {
            ControlFlow::Break(value) => return Ok(value),
            ControlFlow::Continue(reason) if Instant::now() > deadline => {
                bail!("{what}: not within {} s: {reason}", limit.as_secs())
            }
            ControlFlow::Continue(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// From now on a Ctrl-C, a hang-up or a plain kill makes [`until`] fail instead of ending the program,
/// so that what was started gets cleaned up. A second one ends it.
///
/// # Errors
/// When the kernel refuses the handlers.
pub(crate) fn catch_interrupts() -> Result<()> {
    if INTERRUPTED.get().is_some() {
        return Ok(());
    }
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // In this order: the first signal finds the flag unset, and sets it.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, flag.clone())?;
        signal_hook::flag::register(signal, flag.clone())?;
    }
    Ok(())
}

/// Lets [`until`] wait again after an interruption.
pub(crate) fn forget_interrupts() {
    if let Some(flag) = INTERRUPTED.get() {
        flag.store(false, Ordering::Relaxed);
    }
}

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

fn check_interrupt() -> Result<()> {
    match INTERRUPTED.get() {
        Some(flag) if flag.load(Ordering::Relaxed) => bail!("interrupted"),
        _ => Ok(()),
    }
}

fn line(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}
