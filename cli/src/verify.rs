//! `nearfab verify`: nearfab's assumptions about hardware, checked against a host.

use std::io::{self, Write};
use std::path::Path;

use nearfab::Host;
use nearfab::verify::{AssumptionVerdict, Difference, FactVerdict, Gap, Verdict, Verification, verify};
use serde_json::Value;

use crate::failure::Failure;
use crate::head;
use crate::output::{Answer, Output, answer};
use crate::record;
use crate::source::Input;
use crate::table::Table;

const SCHEMA: &str = "verify";

pub(crate) const HELP: &str = "\
A refuted assumption is an error of nearfab, not of the machine: the exit status is 0. See docs/reference/verify.md for the \
differences that a sound host may have.";

pub(crate) fn write(input: &Input, report: Option<&Path>, output: Output, out: &mut dyn Write) -> Result<(), Failure> {
    let verification = verify(&input.host, input.probe.as_ref());
    match output {
        Output::Json => answer(SCHEMA, &verification, out)?,
        _ => text(&input.host, &verification, output == Output::Wide, out)?,
    }
    if let Some(file) = report {
        write_report(input, file)?;
        if output != Output::Json {
            writeln!(
                out,
                "\nWrote the host and these verdicts to {}. Please send it to {REPOSITORY}/issues.",
                file.display()
            )?;
        }
    }
    Ok(())
}

const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// Writes a redacted record with the verdicts; `--host` reads the record.
fn write_report(input: &Input, file: &Path) -> Result<(), Failure> {
    let record = input.record()?.redacted();
    let mut report: Value = serde_json::from_str(&record::json(&record)?).map_err(io::Error::from)?;
    let verification = verify(&record.host, input.probe.as_ref());
    report["verification"] = serde_json::to_value(Answer::new(SCHEMA, &verification)).map_err(io::Error::from)?;
    record::write_new(file, &format!("{report:#}"))?;
    Ok(())
}

fn text(host: &Host, verification: &Verification, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    head::write(host, out)?;
    writeln!(out)?;
    let mut rows = Vec::new();
    let mut assumptions: Vec<&AssumptionVerdict> = verification.assumptions.iter().collect();
    assumptions.sort_by_key(|assumption| match assumption.verdict {
        Verdict::Refuted { .. } => 0,
        Verdict::Confirmed { .. } => 1,
        _ => 2,
    });
    for assumption in assumptions {
        rows.push([assumption.verdict.to_string(), assumption.id.to_owned(), why(&assumption.verdict)]);
        if wide {
            rows.push(below(assumption.statement));
            rows.push(below(format!("How to check: {}", assumption.settled_by)));
        }
        if let Verdict::Refuted { differences, .. } = &assumption.verdict {
            rows.extend(differences.iter().map(below));
        }
    }
    table(["VERDICT", "ASSUMPTION", "WHY"], &rows).write(out)?;
    let [confirmed, refuted, untestable] = verification.counts();
    writeln!(out, "\n{confirmed} confirmed, {refuted} refuted, {untestable} untestable.")?;
    if verification.facts.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nFacts of the table {}:\n", host.instance_type().unwrap_or_default())?;
    table(["FACT", "GRADE", "RESULT"], &facts(&verification.facts)).write(out)
}

type Row = [String; 3];

fn table<'a>(headings: [&str; 3], rows: &'a [Row]) -> Table<'a, Row> {
    let mut table = Table::of(rows);
    for (column, heading) in headings.into_iter().enumerate() {
        table.add(heading, |row| row[column].clone());
    }
    table
}

/// Returns a row with text in the last column only.
fn below(text: impl ToString) -> Row {
    [String::new(), String::new(), text.to_string()]
}

fn why(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Confirmed { agreed, gaps } => agreement(*agreed, gaps),
        Verdict::Refuted { differences, shared_with } => disagreement(differences, shared_with),
        Verdict::Untestable { reason } => reason.to_string(),
        other => other.to_string(),
    }
}

fn facts(facts: &[FactVerdict]) -> Vec<Row> {
    let mut rows = Vec::new();
    for fact in facts {
        let result = if fact.differences.is_empty() {
            agreement(fact.agreed, &fact.gaps)
        } else {
            disagreement(&fact.differences, &[])
        };
        rows.push([fact.fact.to_owned(), fact.grade.to_string(), result]);
        // The differences of a fact that depends on assumptions are listed with the assumptions.
        let unlisted = fact.differences.iter().filter(|_| fact.assumptions.is_empty());
        rows.extend(unlisted.map(below));
    }
    rows
}

fn agreement(agreed: usize, gaps: &[Gap]) -> String {
    let gaps: Vec<String> = gaps.iter().map(Gap::to_string).collect();
    let mut parts = Vec::new();
    if agreed > 0 || gaps.is_empty() {
        parts.push(format!("{agreed} {}", if agreed == 1 { "agrees" } else { "agree" }));
    }
    if !gaps.is_empty() {
        parts.push(format!("not shown: {}", gaps.join("; ")));
    }
    parts.join("; ")
}

fn disagreement(differences: &[Difference], shared_with: &[&str]) -> String {
    let count = differences.len();
    let mut text = format!("{count} {}", if count == 1 { "differs" } else { "differ" });
    if !shared_with.is_empty() {
        text += &format!("; the cause may be {} instead", shared_with.join(", "));
    }
    text
}
