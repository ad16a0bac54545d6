//! Bugs that are put in on purpose: a target that does not find them would not find unknown bugs either.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::engine::{Engine, Run};
use crate::run::{output, say, workspace};
use crate::tools;

/// A change to the sources, `fuzz/bugs/<target>/<parser>/<name>.patch`.
struct Bug {
    name: String,
    target: String,
    patch: PathBuf,
}

/// Puts each bug into a copy of the sources, and runs the target that should find the bug, from its seeds alone.
///
/// # Errors
/// If a patch does not apply or build; after all patches, if a target did not find its bug.
pub(crate) fn run(engine: &Engine, targets: &[String], limit: Duration) -> Result<()> {
    tools::require(tools::SEEDED)?;
    let bugs = bugs(&engine.folder().join("bugs"), targets)?;
    engine.make_seeds()?;
    let copy = workspace().join("target/seeded");
    let buggy = Engine::new(&copy)?;
    let mut missed = Vec::new();
    say("BUG                                        SECONDS  EXECUTIONS  FOUND BY");
    for bug in &bugs {
        synchronize(&copy)?;
        apply(&bug.patch, &copy)?;
        let program = buggy.build(&bug.target).with_context(|| format!("building with {}", bug.name))?;
        let Run { seconds, executions, past_seeds, finding, input, .. } = search(engine, bug, &program, limit)?;
        if let Some(input) = input {
            let clean = engine.build(&bug.target)?;
            output(engine.command(&clean).arg(input))
                .context("this input fails without the bug too: correct that first")?;
        }
        let how = match finding {
            None => "nothing",
            Some(_) if past_seeds => "mutation",
            Some(_) => "a seed",
        };
        say(format_args!("{:42} {seconds:7} {executions:11}  {how}", bug.name));
        if how == "nothing" {
            missed.push(bug.name.as_str());
        }
    }
    if !missed.is_empty() {
        bail!("{} of {} bugs were not found: {}", missed.len(), bugs.len(), missed.join(", "));
    }
    say(format_args!("all {} bugs were found", bugs.len()));
    Ok(())
}

fn search(engine: &Engine, bug: &Bug, program: &Path, limit: Duration) -> Result<Run> {
    // An empty corpus, without the inputs that an earlier run kept.
    let corpus = tempfile::tempdir().context("making a temporary folder")?;
    engine.run(&bug.target, program, corpus.path(), limit, false)
}

fn bugs(folder: &Path, targets: &[String]) -> Result<Vec<Bug>> {
    let mut bugs = Vec::new();
    for target in targets {
        let of_target = folder.join(target);
        for parser in names(&of_target)? {
            for name in names(&of_target.join(&parser))? {
                let patch = of_target.join(&parser).join(&name);
                let name = format!("{target}/{parser}/{}", name.trim_end_matches(".patch"));
                bugs.push(Bug { name, target: target.clone(), patch });
            }
        }
    }
    Ok(bugs)
}

fn names(folder: &Path) -> Result<BTreeSet<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Makes the copy equal to the sources. Only files that differ are written, so that cargo builds little again.
fn synchronize(copy: &Path) -> Result<()> {
    let mut git = Command::new("git");
    git.current_dir(workspace()).args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]);
    for name in output(&mut git)?.split_terminator('\0') {
        let (from, to) = (workspace().join(name), copy.join(name));
        let Ok(content) = fs::read(&from) else { continue }; // Removed, with the removal not committed.
        if fs::read(&to).is_ok_and(|present| present == content) {
            continue;
        }
        fs::create_dir_all(to.parent().unwrap_or(copy))
            .and_then(|()| fs::write(&to, content))
            .with_context(|| format!("writing {}", to.display()))?;
    }
    Ok(())
}

fn apply(patch: &Path, copy: &Path) -> Result<()> {
    let mut command = Command::new("patch");
    command.args(["--strip=1", "--silent", "--forward", "--no-backup-if-mismatch", "--reject-file=-"]);
    output(command.arg("--directory").arg(copy).arg("--input").arg(patch))
        .with_context(|| format!("{} does not apply: write the same bug for the current code", patch.display()))?;
    Ok(())
}
