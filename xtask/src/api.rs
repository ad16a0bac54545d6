//! The public API of the crate `nearfab` as text: a line for each item, from rustdoc's JSON.

mod items;
mod types;

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::run::{output, workspace};

/// The first lines of the file.
const HEADER: &str = "\
# The public API of the crate nearfab. `cargo xtask generate` writes this file, and `cargo xtask check` compares it.
# A line that disappears breaks programs that use it; see the rules in CONTRIBUTING.md.
";

/// Returns the text of the committed file.
///
/// # Errors
/// If the library's documentation cannot be built, or rustdoc's JSON has something that the renderer does not know.
pub(crate) fn text() -> Result<String> {
    let lines = items::lines(&document()?)?;
    Ok(format!("{HEADER}\n{}\n", lines.join("\n")))
}

/// Returns rustdoc's description of the library. A stable compiler writes JSON only with `RUSTC_BOOTSTRAP`, which this call
/// sets. The target folder is separate, because with this variable cargo builds some dependencies again.
///
/// The renderer is used with format 57 of the JSON. The renderer reads other formats too. An unknown construct is an
/// error.
fn document() -> Result<Value> {
    let target = workspace().join("target/api");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace()).env("RUSTC_BOOTSTRAP", "1");
    cargo.args(["rustdoc", "--quiet", "--package", "nearfab", "--lib", "--target-dir"]).arg(&target);
    output(cargo.args(["--", "-Z", "unstable-options", "--output-format", "json"]))?;
    let file = target.join("doc/nearfab.json");
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let document: Value = serde_json::from_str(&text).with_context(|| format!("reading {}", file.display()))?;
    ensure!(document["format_version"].is_u64(), "{} names no format", file.display());
    Ok(document)
}
