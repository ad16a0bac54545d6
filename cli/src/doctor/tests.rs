//! The reference is made of the same data.

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
        for complaint in (check.complaints)() {
            let super::finding::Complaint { id, means, action, source } = complaint;
            write!(text, "\n### `{id}`\n\n{means}\n\n*What to do:* {action}\n\n*Source:* {source}\n").unwrap();
        }
    }
    text
}

#[test]
fn the_reference_says_what_the_doctor_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/doctor.md");
    let text = fs::read_to_string(&path).unwrap();
    let mark = text.find(MARK).unwrap();
    let end = mark + text[mark..].find('\n').unwrap() + 1;
    let expected = format!("{}{}", &text[..end], generated());
    if std::env::var_os("SNAPSHOTS").is_some_and(|what| what == "overwrite") {
        return fs::write(&path, expected).unwrap();
    }
    assert!(text == expected, "docs/reference/doctor.md is not up to date: it says how it is written");
}

#[test]
fn ids_are_unique_and_texts_are_sentences() {
    let mut seen = BTreeSet::new();
    for complaint in CHECKS.iter().flat_map(|check| (check.complaints)()) {
        assert!(seen.insert(complaint.id), "{} is there twice", complaint.id);
        for text in [complaint.means, complaint.action, complaint.source] {
            assert!(text.ends_with('.') && !text.contains("  "), "{}: {text}", complaint.id);
        }
    }
}
