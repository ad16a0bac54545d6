//! The lines below a view that name the facts of the instance table that depend on assumptions.

use std::io::{self, Write};

use nearfab::Host;
use nearfab::instances::{Grade, Source};

use crate::table::wrapped;

/// The facts that distances depend on.
pub(crate) const NEARNESS: [&str; 6] = ["efa", "gpu", "neuron", "numa", "pairing", "path"];

/// Returns the sources of the named facts that the host takes from an instance table; of all such facts if no fact is
/// named.
pub(crate) fn sources(host: &Host, facts: &[&str]) -> Vec<&'static Source> {
    let mut sources = host.table_sources();
    sources.retain(|source| facts.is_empty() || facts.contains(&source.fact));
    sources
}

/// Writes the facts that depend on assumptions, one line for each grade:
/// `Inferred, not seen on a host: path (ec2-switch-numbering)`.
pub(crate) fn write(host: &Host, facts: &[&str], out: &mut dyn Write) -> io::Result<()> {
    let assumed: Vec<_> = sources(host, facts).into_iter().filter(|source| !source.assumptions.is_empty()).collect();
    if assumed.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    for (grade, label) in [
        (Grade::Captured, "Captured in part"),
        (Grade::Published, "Published, in doubt"),
        (Grade::Inferred, "Inferred, not seen on a host"),
        (Grade::Invented, "Invented"),
    ] {
        let of_grade = assumed.iter().filter(|source| source.grade == grade);
        let names: Vec<String> =
            of_grade.map(|source| format!("{} ({})", source.fact, source.assumptions.join(", "))).collect();
        if !names.is_empty() {
            wrapped(&format!("{label}: {}", names.join(", ")), "", 120, out)?;
        }
    }
    if let Some(name) = host.instance_type() {
        writeln!(out, "The assumptions in parentheses, with their sources: nearfab instances {name}")?;
    }
    Ok(())
}

/// Writes the sources of the named facts, if the host takes them from an instance table.
pub(crate) fn write_sources_of(host: &Host, facts: &[&str], out: &mut dyn Write) -> io::Result<()> {
    let sources = sources(host, facts);
    let Some(name) = host.instance_type().filter(|_| !sources.is_empty()) else { return Ok(()) };
    writeln!(out, "\nFrom the table {name}:")?;
    write_sources(sources, out)
}

/// Writes each fact with its grade, its assumptions and its source.
pub(crate) fn write_sources<'a>(sources: impl IntoIterator<Item = &'a Source>, out: &mut dyn Write) -> io::Result<()> {
    for source in sources {
        let assumptions = source.assumptions.join(", ");
        let assumptions = if assumptions.is_empty() { assumptions } else { format!(" (assumptions: {assumptions})") };
        writeln!(out, "  {}: {}{assumptions}", source.fact, source.grade)?;
        wrapped(source.text, "      ", 120, out)?;
    }
    Ok(())
}
