//! The pages of the book and the links of all Markdown files.

mod markdown;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::Result;

use super::report;
use crate::files;
use crate::run::workspace;
use markdown::{Page, page};

/// The list of the book's pages.
const SUMMARY: &str = "docs/SUMMARY.md";

/// Checks the list of pages and the links.
///
/// # Errors
/// If a page is not in the list, or a link or an anchor leads nowhere.
pub(crate) fn run() -> Result<()> {
    let names = files::tracked(&["*.md"])?;
    let pages = names.iter().filter_map(|name| Some((name.clone(), page(&files::text(name)?))));
    let pages: BTreeMap<String, Page> = pages.collect();
    let mut faults = unlisted(&pages);
    faults.extend(dead_links(&pages, |path| workspace().join(path).exists()));
    report("docs", &faults)
}

/// Returns the pages below `docs/` that are not in the list of pages.
fn unlisted(pages: &BTreeMap<String, Page>) -> Vec<String> {
    let Some(summary) = pages.get(SUMMARY) else {
        return vec![format!("{SUMMARY} does not exist: it lists the pages of the book")];
    };
    let listed = summary.links.iter().filter_map(|link| target(SUMMARY, &link.target));
    let listed: BTreeSet<String> = listed.map(|(path, _)| path).collect();
    let left_out = pages
        .keys()
        .filter(|name| name.starts_with("docs/") && name.as_str() != SUMMARY && !listed.contains(name.as_str()));
    left_out.map(|name| format!("{name}:1: the page is not in {SUMMARY}")).collect()
}

/// Returns the links to a file or an anchor that does not exist.
fn dead_links(pages: &BTreeMap<String, Page>, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, page) in pages {
        for link in &page.links {
            let Some((path, anchor)) = target(name, &link.target) else { continue };
            let at = format!("{name}:{}: the link to {}", link.line, link.target);
            if !exists(&path) {
                faults.push(format!("{at} leads to no file: {path}"));
            } else if let (Some(anchor), Some(target)) = (anchor, pages.get(&path))
                && !target.anchors.contains(&anchor)
            {
                faults.push(format!("{at} leads to no heading of {path}"));
            }
        }
    }
    faults
}

/// Returns the file, relative to the workspace, and the anchor that a link leads to; nothing for a link to elsewhere.
fn target(from: &str, link: &str) -> Option<(String, Option<String>)> {
    let is_elsewhere = link.contains("://") || link.starts_with("mailto:") || link.is_empty();
    if is_elsewhere {
        return None;
    }
    let (path, anchor) = match link.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor.to_owned())),
        None => (link, None),
    };
    if path.is_empty() {
        return Some((from.to_owned(), anchor));
    }
    let mut resolved = PathBuf::new();
    for part in Path::new(from).parent()?.join(path).components() {
        match part {
            Component::ParentDir => {
                resolved.pop();
            }
            part => resolved.push(part),
        }
    }
    Some((resolved.to_string_lossy().into_owned(), anchor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(texts: &[(&str, &str)]) -> BTreeMap<String, Page> {
        texts.iter().map(|(name, text)| ((*name).to_owned(), page(text))).collect()
    }

    #[test]
    fn a_page_outside_of_the_list_is_a_fault() {
        let pages = pages(&[
            ("docs/SUMMARY.md", "- [A](a.md)\n  - [B](b/c.md#d)\n"),
            ("docs/a.md", ""),
            ("docs/b/c.md", ""),
            ("docs/e.md", ""),
            ("README.md", ""),
        ]);
        assert_eq!(unlisted(&pages), ["docs/e.md:1: the page is not in docs/SUMMARY.md"]);
    }

    #[test]
    fn a_dead_link_is_a_fault() {
        let pages = pages(&[
            ("docs/a.md", "# One two\n[x](b/c.md) [x](../src/lib.rs) [x](gone.md)\n[x](#one-two) [x](#three)\n"),
            ("docs/b/c.md", "[x](../a.md#one-two) [x](../a.md#three) <https://gone>\n\n[y]: ../a.md\n[z]: gone.md\n"),
        ]);
        let exists = |path: &str| path == "src/lib.rs" || pages.contains_key(path);
        assert_eq!(
            dead_links(&pages, exists),
            [
                "docs/a.md:2: the link to gone.md leads to no file: docs/gone.md",
                "docs/a.md:3: the link to #three leads to no heading of docs/a.md",
                "docs/b/c.md:1: the link to ../a.md#three leads to no heading of docs/a.md",
                "docs/b/c.md:4: the link to gone.md leads to no file: docs/b/gone.md",
            ]
        );
    }
}
