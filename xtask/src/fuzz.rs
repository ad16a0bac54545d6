//! `cargo xtask fuzz`: the fuzz targets of `fuzz/`, each for a while.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{output, say, visibly, workspace};
use crate::tools;

/// Fuzzes one target, or each in turn, for a number of seconds; stops at the first finding.
///
/// # Errors
/// When an input fails a target, or there is no such target, no nightly compiler or no cargo-fuzz.
pub(crate) fn run(target: Option<&str>, seconds: u32) -> Result<()> {
    let folder = workspace().join("fuzz");
    let cargo_fuzz = tools::from_crates(&tools::CARGO_FUZZ)?;
    nightly("rustc")
        .arg("--version")
        .output()
        .ok()
        .filter(|output| output.status.success())
        .context("fuzzing needs a nightly compiler: rustup toolchain install nightly --profile minimal")?;
    let fuzz = |arguments: &[&str]| {
        let mut command = nightly(&cargo_fuzz);
        command.arg("fuzz").args(arguments).arg("--fuzz-dir").arg(&folder);
        command
    };
    let all = output(&mut fuzz(&["list"]))?;
    let targets: Vec<&str> = all.lines().filter(|name| target.is_none_or(|wanted| wanted == *name)).collect();
    if targets.is_empty() {
        bail!("there is no such target; there are: {}", all.lines().collect::<Vec<_>>().join(", "));
    }
    let corpus = folder.join("corpus");
    let mut seeds = Command::new(env!("CARGO"));
    seeds.current_dir(&folder).args(["run", "--quiet", "--example", "seeds", "--"]).arg(&corpus);
    visibly(&mut seeds)?;
    for target in targets {
        let corpus = corpus.join(target);
        fs::create_dir_all(&corpus).with_context(|| format!("making {}", corpus.display()))?;
        say(format_args!("fuzzing {target} for {seconds} s"));
        // Without a sanitizer: what is fuzzed has no unsafe code, and finds more inputs a second.
        let mut command = fuzz(&["run", "--sanitizer", "none"]);
        command.arg(target).arg(&corpus).arg(folder.join("seeds").join(target));
        command.args(["--", "-print_final_stats=1", "-timeout=10"]).arg(format!("-max_total_time={seconds}"));
        visibly(&mut command)?;
    }
    Ok(())
}

/// A program that builds with the nightly compiler, whatever built this one.
fn nightly(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_remove("CARGO").env("RUSTUP_TOOLCHAIN", "nightly");
    command
}
