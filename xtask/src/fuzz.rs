//! `cargo xtask fuzz`: the fuzz targets of `fuzz/`, what of the parsers they reach, and whether they find bugs.

mod coverage;
mod engine;
mod seeded;

use std::time::Duration;

use anyhow::{Result, bail};

use crate::run::{say, workspace};
use engine::{Engine, Run};

/// What of `cargo xtask fuzz` is wanted.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// One target; without it, each in turn
    target: Option<String>,
    /// How long for each target (60), or at most for each seeded bug (120)
    #[arg(long)]
    seconds: Option<u32>,
    /// Put the bugs of fuzz/bugs into copies of the sources, and see whether the targets find each
    #[arg(long)]
    seeded: bool,
    /// Tell what of each parser the inputs that were kept reach (with the component llvm-tools of the compiler)
    #[arg(long, conflicts_with_all = ["seeded", "seconds"])]
    coverage: bool,
}

/// Fuzzes the targets and tells what that came to; or does what the options say instead.
///
/// # Errors
/// When an input fails a target, a seeded bug is not found, there is no such target, or no cargo-fuzz.
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
            bail!("{target}: {finding}; for the input {}", run.input.unwrap_or_default().display());
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
