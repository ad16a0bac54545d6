//! The report of all checks, as text and as JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::check_input::{CheckInput, Skip};
use super::finding::{Check, Finding, Severity};

/// The width of the text, in columns.
const WIDTH: usize = 100;

/// The report. `docs/reference/schema/doctor.json` describes the JSON form of the report.
#[derive(Serialize)]
pub(super) struct Report {
    instance_type: Option<String>,
    pub(super) findings: Vec<Finding>,
    checks: Vec<CheckResult>,
}

/// A check, and whether it was made.
#[derive(Serialize)]
struct CheckResult {
    name: &'static str,
    /// The ids of the findings that the check can report.
    finds: Vec<&'static str>,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize, PartialEq)]
#[serde(tag = "outcome")]
enum Outcome {
    #[serde(rename = "made")]
    Made,
    #[serde(rename = "not_here")]
    NotApplicable { reason: String },
    #[serde(rename = "not_known")]
    NotPossible { reason: String },
}

impl Report {
    pub(super) fn of(input: &CheckInput<'_>, checks: &[&'static Check]) -> Self {
        let mut findings = Vec::new();
        let results = checks.iter().map(|check| {
            let outcome = match (check.run)(input) {
                Ok(found) => {
                    findings.extend(found);
                    Outcome::Made
                }
                Err(Skip::NotApplicable(reason)) => Outcome::NotApplicable { reason: reason.to_owned() },
                Err(Skip::NotPossible(reason)) => Outcome::NotPossible { reason },
            };
            let finds = (check.kinds)().iter().map(|kind| kind.id).collect();
            CheckResult { name: check.name, finds, outcome }
        });
        let checks = results.collect();
        findings.sort_by_key(|finding| finding.severity);
        let instance_type = input.host.instance_type().map(str::to_owned);
        Self { instance_type, findings, checks }
    }

    pub(super) fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", self.summary())?;
        for finding in &self.findings {
            let (title, paragraphs) = finding.paragraphs();
            writeln!(out)?;
            paragraph(out, "", "  ", &title)?;
            for (label, text) in paragraphs {
                paragraph(out, &format!("  {:8}", format!("{label}:")), "          ", text)?;
            }
        }
        writeln!(out)?;
        let made: Vec<&str> = self.named(|outcome| *outcome == Outcome::Made);
        if !made.is_empty() {
            paragraph(out, "Checked: ", "  ", &format!("{}.", made.join(", ")))?;
        }
        for (heading, reason_of) in [
            (
                "Not applicable",
                (|outcome| if let Outcome::NotApplicable { reason } = outcome { Some(reason) } else { None })
                    as fn(&Outcome) -> Option<&String>,
            ),
            ("Not checked", |outcome| if let Outcome::NotPossible { reason } = outcome { Some(reason) } else { None }),
        ] {
            let mut reasons: Vec<&String> = Vec::new();
            for reason in self.checks.iter().filter_map(|made| reason_of(&made.outcome)) {
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
            }
            for reason in reasons {
                let names = self.named(|outcome| reason_of(outcome) == Some(reason));
                paragraph(out, &format!("{heading} ({reason}): "), "  ", &format!("{}.", names.join(", ")))?;
            }
        }
        Ok(())
    }

    fn named(&self, which: impl Fn(&Outcome) -> bool) -> Vec<&'static str> {
        self.checks.iter().filter(|made| which(&made.outcome)).map(|made| made.name).collect()
    }

    /// `2 problems, 1 warning, 3 notes`.
    fn summary(&self) -> String {
        let count =
            |severity, one: &str| match self.findings.iter().filter(|finding| finding.severity == severity).count() {
                0 => None,
                1 => Some(format!("1 {one}")),
                many => Some(format!("{many} {one}s")),
            };
        let counts =
            [count(Severity::Problem, "problem"), count(Severity::Warning, "warning"), count(Severity::Note, "note")];
        let counts: Vec<String> = counts.into_iter().flatten().collect();
        match &counts[..] {
            [] if self.named(|outcome| *outcome == Outcome::Made).is_empty() => "no check could be made".to_owned(),
            [] => "no problem found".to_owned(),
            counts => counts.join(", "),
        }
    }
}

/// Writes a text after a label, in lines of at most `WIDTH` characters. The lines after the first are indented.
fn paragraph(out: &mut dyn Write, label: &str, indent: &str, text: &str) -> io::Result<()> {
    let mut line = label.to_owned();
    let mut fresh = true;
    for word in text.split_whitespace() {
        if !fresh && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(out, "{}", line.trim_end())?;
            line = indent.to_owned();
            fresh = true;
        }
        if !fresh {
            line.push(' ');
        }
        line.push_str(word);
        fresh = false;
    }
    writeln!(out, "{}", line.trim_end())
}
