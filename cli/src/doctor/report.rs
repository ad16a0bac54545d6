//! The doctor's report as text.

use std::io::{self, Write};

use nearfab::doctor::{Outcome, Report, Severity};

/// The width of the text, in columns.
const WIDTH: usize = 100;

/// Writes the summary, the findings, and which checks were made.
pub(super) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    paragraph(out, "", "  ", &summary(report))?;
    for finding in &report.findings {
        writeln!(out)?;
        paragraph(out, "", "  ", &finding.title())?;
        let paragraphs =
            [("seen", &finding.seen[..]), ("means", finding.means), ("do", finding.action), ("source", finding.source)];
        for (label, text) in paragraphs {
            paragraph(out, &format!("  {:8}", format!("{label}:")), "          ", text)?;
        }
    }
    writeln!(out)?;
    let made = named(report, |outcome| *outcome == Outcome::Made);
    if !made.is_empty() {
        paragraph(out, "Checked: ", "  ", &format!("{}.", made.join(", ")))?;
    }
    for (heading, reason_of) in
        [("Not applicable", not_applicable as fn(&Outcome) -> Option<&String>), ("Not possible", not_possible)]
    {
        for reason in reasons(report, reason_of) {
            let names = named(report, |outcome| reason_of(outcome) == Some(reason));
            paragraph(out, &format!("{heading} ({reason}): "), "  ", &format!("{}.", names.join(", ")))?;
        }
    }
    Ok(())
}

fn not_applicable(outcome: &Outcome) -> Option<&String> {
    if let Outcome::NotApplicable { reason } = outcome { Some(reason) } else { None }
}

fn not_possible(outcome: &Outcome) -> Option<&String> {
    if let Outcome::NotPossible { reason } = outcome { Some(reason) } else { None }
}

/// Returns the different reasons of the checks, in the order of the checks.
fn reasons(report: &Report, reason_of: fn(&Outcome) -> Option<&String>) -> Vec<&String> {
    let mut reasons: Vec<&String> = Vec::new();
    for reason in report.checks.iter().filter_map(|check| reason_of(&check.outcome)) {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    reasons
}

fn named(report: &Report, which: impl Fn(&Outcome) -> bool) -> Vec<&'static str> {
    report.checks.iter().filter(|check| which(&check.outcome)).map(|check| check.name).collect()
}

/// `2 problems, 1 warning, 3 notes: 20 checks made, 4 not applicable`.
fn summary(report: &Report) -> String {
    let count =
        |severity, one: &str| match report.findings.iter().filter(|finding| finding.severity == severity).count() {
            0 => None,
            1 => Some(format!("1 {one}")),
            many => Some(format!("{many} {one}s")),
        };
    let counts =
        [count(Severity::Problem, "problem"), count(Severity::Warning, "warning"), count(Severity::Note, "note")];
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    let found = match &counts[..] {
        [] if report.nothing_examined.is_some() => "nothing could be examined".to_owned(),
        [] => "no known problem found".to_owned(),
        counts => counts.join(", "),
    };
    format!("{found}: {}", outcomes(report))
}

/// `31 checks made, 4 not applicable, 2 not possible (an instance table has no drivers and no settings)`.
fn outcomes(report: &Report) -> String {
    let count = |which: fn(&Outcome) -> bool| report.checks.iter().filter(|check| which(&check.outcome)).count();
    let made = match count(|outcome| *outcome == Outcome::Made) {
        1 => "1 check made".to_owned(),
        many => format!("{many} checks made"),
    };
    let mut parts = vec![made];
    let inapplicable = count(|outcome| not_applicable(outcome).is_some());
    if inapplicable > 0 {
        parts.push(format!("{inapplicable} not applicable"));
    }
    let impossible = count(|outcome| not_possible(outcome).is_some());
    if impossible > 0 {
        let reasons = reasons(report, not_possible);
        let reasons: Vec<&str> = reasons.iter().map(|reason| reason.as_str()).collect();
        parts.push(format!("{impossible} not possible ({})", reasons.join("; ")));
    }
    parts.join(", ")
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
