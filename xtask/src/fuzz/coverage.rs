//! The part of each source file that the kept inputs of the targets reach.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::engine::{Engine, host_triple};
use crate::run::{output, say, workspace};

/// The folders without parsers of trees and of user input.
const APART: [&str; 1] = ["src/live/"];

/// Runs the targets on their seeds and corpora with counters, and prints for each file of the library the regions that a
/// target reached.
///
/// # Errors
/// If the compiler has no `llvm-tools`, or a target does not build.
pub(crate) fn run(engine: &Engine, targets: &[String]) -> Result<()> {
    let host = host_triple()?;
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let tools = PathBuf::from(sysroot.trim()).join("lib/rustlib").join(&host).join("bin");
    if !tools.join("llvm-cov").is_file() {
        bail!("the compiler has no llvm-tools: rustup component add llvm-tools");
    }
    engine.make_seeds()?;
    let counts = engine.folder().join("coverage");
    let mut merge = Command::new(tools.join("llvm-profdata"));
    merge.args(["merge", "--sparse", "--output"]).arg(counts.join("all.profdata"));
    let mut export = Command::new(tools.join("llvm-cov"));
    export.args(["export", "--summary-only", "--instr-profile"]).arg(counts.join("all.profdata"));
    for target in targets {
        say(format_args!("counting {target}"));
        let mut coverage = engine.cargo_fuzz("coverage");
        coverage.args(["--sanitizer", "none", target]).arg(engine.corpus(target)?).args(engine.seeds(target));
        output(&mut coverage)?;
        merge.arg(counts.join(target).join("coverage.profdata"));
        let program = workspace().join("target").join(&host).join("coverage").join(&host).join("release").join(target);
        export.arg("--object").arg(program);
    }
    output(&mut merge)?;
    let export: Value = serde_json::from_str(&output(&mut export)?).context("reading the report of llvm-cov")?;
    print(&export)
}

fn print(export: &Value) -> Result<()> {
    let files = export["data"][0]["files"].as_array().context("llvm-cov reports no files")?;
    say("\nFILE                       REGIONS      OF  SHARE");
    for file in files {
        let name = file["filename"].as_str().and_then(|name| name.split_once("/src/"));
        let Some(name) = name.filter(|(before, _)| workspace().canonicalize().is_ok_and(|top| top.ends_with(before)))
        else {
            continue;
        };
        let name = format!("src/{}", name.1);
        if APART.iter().any(|apart| name.starts_with(apart)) && !name.ends_with("attached.rs") {
            continue;
        }
        let regions = &file["summary"]["regions"];
        let (covered, count) = (regions["covered"].as_u64().unwrap_or(0), regions["count"].as_u64().unwrap_or(0));
        say(format_args!("{name:26} {covered:7} {count:7} {:5}%", 100 * covered / count.max(1)));
    }
    Ok(())
}
