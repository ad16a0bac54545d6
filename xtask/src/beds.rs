//! `cargo xtask beds`: the test beds that cost minutes. Each bed runs if its inputs changed.

mod inputs;
mod list;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::run::{say, workspace};
use crate::setup;
use crate::tally::Tally;
use inputs::Inputs;
use list::{BEDS, Bed};

/// The options of `cargo xtask beds`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The beds to run (default: all)
    names: Vec<String>,
    /// Run beds also if they passed with the same inputs before
    #[arg(long)]
    all: bool,
    /// Skip a bed that takes more than the rest of this many minutes
    #[arg(long, value_name = "MINUTES")]
    within: Option<u64>,
}

/// Runs the beds whose inputs changed.
///
/// # Errors
/// If a bed fails, after all beds have run; if there is no bed of a given name.
pub(crate) fn run(Options { names, all, within }: &Options) -> Result<()> {
    for name in names {
        let known = BEDS.map(|bed| bed.name);
        ensure!(known.contains(&name.as_str()), "there is no bed {name}; there are: {}", known.join(", "));
    }
    if let Err(reason) = setup::for_beds() {
        say(reason); // A bed that needs a missing package is skipped by its name.
    }
    let end = within.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let mut tally = Tally::default();
    for bed in BEDS.iter().filter(|bed| names.is_empty() || names.iter().any(|name| name == bed.name)) {
        let done = run_one(bed, *all, end, &mut tally);
        done.unwrap_or_else(|error| tally.fail(bed.name, &error));
    }
    say(&tally);
    if tally.failed > 0 {
        bail!("{} failed", tally.failed);
    }
    Ok(())
}

fn run_one(bed: &Bed, all: bool, end: Option<Instant>, tally: &mut Tally) -> Result<()> {
    // If the inputs cannot be read, the bed runs.
    let inputs = Inputs::of(bed.name, &bed.inputs.concat()).ok();
    if !all && inputs.as_ref().is_some_and(Inputs::have_passed) {
        say(format_args!("UNCHANGED {}: passed before with the same inputs", bed.name));
        return Ok(());
    }
    if let Some(reason) = end.and_then(|end| no_time(bed, end.saturating_duration_since(Instant::now()))) {
        tally.skip(bed.name, &reason);
        return Ok(());
    }
    let before = (tally.failed, tally.skipped);
    let start = Instant::now();
    say(format_args!("running {}", bed.name));
    let program = std::env::current_exe().context("finding this program's own file")?;
    // If there is a time limit for all beds, a bed that hangs must not use up the time of the other beds.
    let usual = Duration::from_secs(60 * bed.minutes);
    let limit = end.map(|end| end.saturating_duration_since(start).min(2 * usual));
    let status = tally.run(bed.name, limited(&program, limit).args(bed.command).current_dir(workspace()))?;
    let ran = start.elapsed().as_secs();
    say(format_args!("{} ran for {ran} s", bed.name));
    if status.code() == Some(ENDED_BY_TIMEOUT) {
        // A bed that is ended may report its own tests as failed.
        tally.failed = before.0;
        tally.skip(bed.name, &format!("it did not end within {ran} s: cargo xtask {}", bed.command.join(" ")));
        return Ok(());
    }
    tally.judge(bed.name, status, before.0);
    match inputs {
        Some(inputs) if (tally.failed, tally.skipped) == before => inputs.keep_as_passed(),
        _ => Ok(()),
    }
}

/// The exit status of timeout(1) if timeout(1) ended the program.
const ENDED_BY_TIMEOUT: i32 = 124;

/// Returns a command that runs a program. After the limit, timeout(1) ends the program and its children.
fn limited(program: &Path, limit: Option<Duration>) -> Command {
    let Some(limit) = limit else { return Command::new(program) };
    let mut command = Command::new("timeout");
    command.args(["--verbose", &limit.as_secs().max(1).to_string()]).arg(program);
    command
}

/// Returns why a bed does not fit into the time that is left.
fn no_time(bed: &Bed, left: Duration) -> Option<String> {
    let left = left.as_secs() / 60;
    (left < bed.minutes).then(|| {
        format!(
            "it takes up to {} minutes with empty caches, and {left} are left: cargo xtask {}",
            bed.minutes,
            bed.command.join(" ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_ended() {
        let status = limited(Path::new("sleep"), Some(Duration::ZERO)).arg("600").status().unwrap();
        assert_eq!(status.code(), Some(ENDED_BY_TIMEOUT));
    }

    #[test]
    fn a_bed_that_does_not_fit_is_skipped_with_its_command() {
        let bed = Bed { name: "k8s", command: &["k8s", "test"], inputs: &[], minutes: 15 };
        assert_eq!(no_time(&bed, Duration::from_secs(15 * 60)), None);
        let reason = no_time(&bed, Duration::from_secs(15 * 60 - 1)).unwrap();
        assert_eq!(reason, "it takes up to 15 minutes with empty caches, and 14 are left: cargo xtask k8s test");
    }
}
