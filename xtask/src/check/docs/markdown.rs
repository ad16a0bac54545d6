//! Links and anchors of a Markdown page, as GitHub and mdBook make them.

use std::collections::{BTreeMap, BTreeSet};

/// The links and anchors of a page.
pub(super) struct Page {
    pub(super) links: Vec<Link>,
    /// The names that a link can lead to after its `#`.
    pub(super) anchors: BTreeSet<String>,
}

/// A link in the text, or the definition of a link.
pub(super) struct Link {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) target: String,
}

/// Reads a page. Code has no links and no headings.
pub(super) fn page(text: &str) -> Page {
    let mut page = Page { links: Vec::new(), anchors: BTreeSet::new() };
    let mut used: BTreeMap<String, usize> = BTreeMap::new();
    let mut fence: Option<&str> = None;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        match fence {
            Some(end) => {
                if trimmed.starts_with(end) {
                    fence = None;
                }
                continue;
            }
            None => fence = ["```", "~~~"].into_iter().find(|mark| trimmed.starts_with(mark)),
        }
        if fence.is_some() {
            continue;
        }
        let prose = without_code(line);
        page.links.extend(links(&prose).into_iter().map(|target| Link { line: index + 1, target }));
        page.anchors.extend(explicit_anchors(&prose));
        if let Some(heading) = heading(line) {
            let anchor = anchor(heading);
            let count = used.entry(anchor.clone()).or_default();
            page.anchors.insert(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
            *count += 1;
        }
    }
    page
}

fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    ((1..=6).contains(&level) && text.starts_with(' ')).then(|| text.trim())
}

/// Returns the anchor of a heading: small letters, digits, `_` and `-`, with `-` for a space.
fn anchor(heading: &str) -> String {
    // Only the text of a link counts.
    let mut text = String::new();
    let mut rest = heading;
    while let Some((before, after)) = rest.split_once("](") {
        text += before;
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    text += rest;
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect::<String>().to_lowercase()
}

/// Replaces code between backticks.
fn without_code(line: &str) -> String {
    line.split('`').enumerate().map(|(index, part)| if index % 2 == 0 { part } else { "code" }).collect()
}

fn links(line: &str) -> Vec<String> {
    let mut links: Vec<String> = Vec::new();
    for (_, after) in line.match_indices("](").map(|(at, mark)| line.split_at(at + mark.len())) {
        let target = after.split([')', ' ']).next().unwrap_or_default();
        links.push(target.to_owned());
    }
    let definition = line.trim_start().strip_prefix('[').and_then(|line| line.split_once("]: "));
    if let Some((_, target)) = definition {
        links.push(target.split_whitespace().next().unwrap_or_default().to_owned());
    }
    links
}

/// Returns the names of HTML anchors.
fn explicit_anchors(line: &str) -> Vec<String> {
    let starts = ["id=\"", "name=\""].into_iter().flat_map(|mark| line.match_indices(mark));
    let names = starts.filter_map(|(at, mark)| line[at + mark.len()..].split('"').next());
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_have_the_anchors_of_github() {
        let page = page("# `near` — which, and why?\n## Same\n## Same\n### See [x](y.md) too\n<a id=\"own\"></a>\n");
        let expected = ["near--which-and-why", "own", "same", "same-1", "see-x-too"];
        // The opening bracket of a link is no part of the anchor.
        assert_eq!(page.anchors.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn code_has_no_links() {
        let page = page("`[a](b)` [c](d \"title\")\n```\n[e](f)\n# g\n```\n[h]: i\n");
        let links: Vec<_> = page.links.iter().map(|link| (link.line, link.target.as_str())).collect();
        assert_eq!(links, [(1, "d"), (6, "i")]);
        assert!(page.anchors.is_empty());
    }
}
