//! The reference page of the doctor is generated from the texts of the findings.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::CHECKS;

const MARK: &str = "<!-- What follows is written by ";

fn generated() -> String {
    let mut text = String::new();
    for check in CHECKS {
        let name = check.name;
        let (first, rest) = name.split_at(1);
        write!(text, "\n## {}{rest}\n", first.to_uppercase()).unwrap();
        for kind in (check.kinds)() {
            let super::finding::FindingKind { id, means, action, source } = kind;
            write!(text, "\n### `{id}`\n\n{means}\n\n*What to do:* {action}\n\n*Source:* {source}\n").unwrap();
        }
    }
    text
}

#[test]
fn reference_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/doctor.md");
    let text = fs::read_to_string(&path).unwrap();
    let mark = text.find(MARK).unwrap();
    let end = mark + text[mark..].find('\n').unwrap() + 1;
    let expected = format!("{}{}", &text[..end], generated());
    if std::env::var_os("SNAPSHOTS").is_some_and(|what| what == "overwrite") {
        return fs::write(&path, expected).unwrap();
    }
    assert!(
        text == expected,
        "docs/reference/doctor.md is out of date: run SNAPSHOTS=overwrite cargo test --lib reference_page"
    );
}

#[test]
fn ids_are_unique_and_texts_are_sentences() {
    let mut seen = BTreeSet::new();
    for kind in CHECKS.iter().flat_map(|check| (check.kinds)()) {
        assert!(seen.insert(kind.id), "two kinds have the id {}", kind.id);
        for text in [kind.means, kind.action, kind.source] {
            assert!(text.ends_with('.') && !text.contains("  "), "{}: {text}", kind.id);
        }
    }
}
