//! The lines below a view that say what in it nobody is known to have seen.

use std::io::{self, Write};

use nearfab::Host;
use nearfab::instances::{Grade, Source};

use crate::table::wrapped;

/// The facts that nearness rests on.
pub(crate) const NEARNESS: [&str; 6] = ["efa", "gpu", "neuron", "numa", "pairing", "path"];

/// The facts of the table that the host rests on, of these kinds; of every kind where none is named.
pub(crate) fn sources(host: &Host, facts: &[&str]) -> Vec<&'static Source> {
    let mut sources = host.table_sources();
    sources.retain(|source| facts.is_empty() || facts.contains(&source.fact));
    sources
}

/// `Inferred: path (trn2-switch-ports)`, one line a grade, where there is such a fact.
pub(crate) fn write(host: &Host, facts: &[&str], out: &mut dyn Write) -> io::Result<()> {
    let doubtful: Vec<_> = sources(host, facts).into_iter().filter(|source| !source.assumptions.is_empty()).collect();
    if doubtful.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    for (grade, label) in [
        (Grade::Captured, "Captured in part"),
        (Grade::Published, "Published, in doubt"),
        (Grade::Inferred, "Inferred, not seen"),
        (Grade::Invented, "Invented"),
    ] {
        let of_grade = doubtful.iter().filter(|source| source.grade == grade);
        let named: Vec<String> =
            of_grade.map(|source| format!("{} ({})", source.fact, source.assumptions.join(", "))).collect();
        if !named.is_empty() {
            wrapped(&format!("{label}: {}", named.join(", ")), "", 120, out)?;
        }
    }
    if let Some(name) = host.instance_type() {
        writeln!(out, "What these claim, and why: nearfab instances {name}")?;
    }
    Ok(())
}

/// Where the facts of these kinds come from, as far as they come from a table.
pub(crate) fn why_of(host: &Host, facts: &[&str], out: &mut dyn Write) -> io::Result<()> {
    let sources = sources(host, facts);
    let Some(name) = host.instance_type().filter(|_| !sources.is_empty()) else { return Ok(()) };
    writeln!(out, "\nWhy, by the table {name}:")?;
    why(sources, out)
}

/// Each fact with its grade, assumptions and source.
pub(crate) fn why<'a>(sources: impl IntoIterator<Item = &'a Source>, out: &mut dyn Write) -> io::Result<()> {
    for source in sources {
        let claims = source.assumptions.join(", ");
        let claims = if claims.is_empty() { claims } else { format!(" (claims: {claims})") };
        writeln!(out, "  {}: {}{claims}", source.fact, source.grade)?;
        wrapped(source.text, "      ", 120, out)?;
    }
    Ok(())
}
