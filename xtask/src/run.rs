//! Runs programs and waits for conditions. An error has the command line and the output of the program.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Returns the top folder of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Returns the folder of this program, where cargo puts the other programs of the same profile too.
///
/// # Errors
/// If the kernel does not give the path of this program.
pub(crate) fn binaries() -> Result<PathBuf> {
    let program = std::env::current_exe().context("finding this program's own file")?;
    let folder = program.parent().context("this program has no folder")?;
    Ok(folder.to_owned())
}

/// Prints a line to stdout.
#[expect(clippy::print_stdout, reason = "a command's answer goes to stdout")]
pub(crate) fn say(line: impl std::fmt::Display) {
    println!("{line}");
}

/// Runs a program to its end and returns what it wrote to stdout.
///
/// # Errors
/// If the program cannot be started or fails; the error has the command line and everything that the program wrote.
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
/// If the program cannot be started or fails.
pub(crate) fn visibly(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", line(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", line(command));
    }
    Ok(())
}

/// Calls `probe` until it returns `Break` with a value. The text of `Continue` is the reason to wait longer.
///
/// # Errors
/// The error of `probe`; the last reason if `limit` is over; an interruption by a signal.
pub(crate) fn until<T>(
    goal: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<ControlFlow<T, String>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        check_interrupt()?;
        match probe()? {
            ControlFlow::Break(value) => return Ok(value),
            ControlFlow::Continue(reason) if Instant::now() > deadline => {
                bail!("{goal}: not within {} s: {reason}", limit.as_secs())
            }
            ControlFlow::Continue(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Catches the signals of Ctrl-C, a hang-up and a plain kill. After the first signal, [`until`] fails, so that the
/// program can clean up. A second signal ends the program.
///
/// # Errors
/// If the kernel refuses the handlers.
pub(crate) fn catch_interrupts() -> Result<()> {
    if INTERRUPTED.get().is_some() {
        return Ok(());
    }
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // In this order, the first signal finds the flag unset and sets it.
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
