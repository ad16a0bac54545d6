//! `cargo xtask fuzz`: the fuzz targets of `fuzz/`, the parts of the parsers that they reach, and whether they find bugs.

mod coverage;
mod engine;
mod seeded;

use std::time::Duration;

use anyhow::{Result, bail};

use crate::run::{say, workspace};
use engine::{Engine, Run};

/// The options of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The target to run; all of them, one after the other, for none
    target: Option<String>,
    /// The time for each target (60), or the longest time for each seeded bug (120)
    #[arg(long)]
    seconds: Option<u32>,
    /// Put each bug of fuzz/bugs into a copy of the sources, and check that its target finds it
    #[arg(long)]
    seeded: bool,
    /// Print the part of each parser that the kept inputs reach (needs the component llvm-tools of the compiler)
    #[arg(long, conflicts_with_all = ["seeded", "seconds"])]
    coverage: bool,
}

/// Runs the targets and prints a table of the results; with an option, does what the option says instead.
///
/// # Errors
/// If an input fails a target, a seeded bug is not found, the target does not exist, or cargo-fuzz cannot be installed.
pub(crate) fn run(options: &Options) -> Result<()> {
    let engine = Engine::new(workspace())?;
    let targets = engine.targets(options.target.as_deref())?;
    let seconds = |default| Duration::from_secs(options.seconds.unwrap_or(default).into());
    match options {
        Options { seeded: true, .. } => seeded::run(&engine, &targets, seconds(120)),
        Options { coverage: true, .. } => coverage::run(&engine, &targets),
        _ => fuzz(&engine, &targets, seconds(60)),
    }
}

fn fuzz(engine: &Engine, targets: &[String], time: Duration) -> Result<()> {
    engine.make_seeds()?;
    let mut runs = Vec::new();
    for target in targets {
        say(format_args!("fuzzing {target} for {} s", time.as_secs()));
        let program = engine.build(target)?;
        let run = engine.run(target, &program, &engine.corpus(target)?, time, true)?;
        if let Some(finding) = &run.finding {
            bail!("{target}: {finding}; the input is {}", run.input.unwrap_or_default().display());
        }
        runs.push((target, run));
    }
    say("\nTARGET         SECONDS  EXECUTIONS  A SECOND  INPUTS   EDGES      OF  SHARE");
    for (target, Run { seconds, executions, inputs, edges, of_edges, .. }) in &runs {
        let rate = executions / (*seconds).max(1);
        let share = 100 * edges / (*of_edges).max(1);
        say(format_args!(
            "{target:13} {seconds:8} {executions:11} {rate:9} {inputs:7} {edges:7} {of_edges:7} {share:5}%"
        ));
    }
    Ok(())
}
