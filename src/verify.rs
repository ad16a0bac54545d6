//! What is believed of hardware, held against a host: which assumptions it confirms, which it refutes, and which it cannot tell.

mod checks;
mod facts;
mod findings;

use std::fmt;

use findings::Findings;
pub use findings::{Difference, Gap, Need};
use serde::Serialize;

use crate::host::{Host, Origin};
use crate::tables::instances::{Assumption, Grade, InstanceTable, Source, assumptions};
use crate::types::probe::Probe;

/// A host, held against what is believed and what is known of its type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// What the host's firmware says it is.
    pub instance_type: Option<String>,
    /// Where the host comes from.
    pub origin: Origin,
    /// Whether its Neuron driver was asked as well.
    pub probed: bool,
    /// Every assumption of [`assumptions`], in their order.
    pub assumptions: Vec<AssumptionVerdict>,
    /// The kinds of facts in the table of the host's type, those that are captured or published too. None where the type
    /// has no table, or the host is that table.
    pub facts: Vec<FactVerdict>,
}

/// What a host says of an assumption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AssumptionVerdict {
    /// The assumption's id.
    pub id: &'static str,
    /// What is believed.
    pub statement: &'static str,
    /// What to read on a live host to know.
    pub settled_by: &'static str,
    /// Whether it holds here.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Whether an assumption holds on a host. It may be about other hosts too: that it holds on one proves it for none of those.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// All that the host shows of it agrees.
    Confirmed {
        /// How many values agree.
        agreed: usize,
        /// What the host does not show, and could have been otherwise.
        gaps: Vec<Gap>,
    },
    /// Something disagrees.
    Refuted {
        /// What does.
        differences: Vec<Difference>,
        /// Other assumptions that the same facts rest on: at least one of them is wrong, not each.
        shared_with: Vec<&'static str>,
    },
    /// The host shows nothing of it.
    Untestable {
        /// Why.
        reason: Reason,
    },
}

/// Why a host says nothing of an assumption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The host is no machine but the very table that is to be tested.
    SameTable,
    /// It is about other instance types.
    OtherTypes {
        /// Those.
        instance_types: &'static [&'static str],
    },
    /// No host shows it by itself.
    ByHand,
    /// The host does not show it, as it is or without a probe.
    NotShown {
        /// What it does not show.
        gaps: Vec<Gap>,
    },
}

/// What a host says of one kind of fact of its type's table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FactVerdict {
    /// The kind, see [`Source::fact`].
    pub fact: &'static str,
    /// How well it was known.
    pub grade: Grade,
    /// The assumptions that it rests on.
    pub assumptions: &'static [&'static str],
    /// How many values agree.
    pub agreed: usize,
    /// Which do not.
    pub differences: Vec<Difference>,
    /// What the host does not show.
    pub gaps: Vec<Gap>,
}

impl Verification {
    /// The number of assumptions that are confirmed, refuted and untestable.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for assumption in &self.assumptions {
            match assumption.verdict {
                Verdict::Confirmed { .. } => counts[0] += 1,
                Verdict::Refuted { .. } => counts[1] += 1,
                Verdict::Untestable { .. } => counts[2] += 1,
            }
        }
        counts
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Confirmed { .. } => "confirmed",
            Self::Refuted { .. } => "refuted",
            Self::Untestable { .. } => "untestable",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameTable => write!(f, "the host is the table itself, no machine"),
            Self::OtherTypes { instance_types } => write!(f, "about {}", instance_types.join(", ")),
            Self::ByHand => write!(f, "only by hand"),
            Self::NotShown { gaps } => findings::sentence(f, gaps),
        }
    }
}

/// Holds every assumption of [`assumptions`], and every fact of the table of the host's type, against what the host shows.
///
/// It is a function of what was seen and, if given, of what the driver said: it reads and asks nothing. An assumption is refuted
/// where a fact that rests on it is contradicted, and confirmed where at least one value agrees and none disagrees. What may
/// differ on sound hosts contradicts nothing: interfaces that are not attached, drivers that are not loaded, a firmware that
/// gives no NUMA node, CPUs that were left out at launch, links in another order.
///
/// ```
/// use nearfab::verify::{Reason, Verdict, verify};
/// use nearfab::Host;
///
/// // On the instance itself this is Host::discover()?. A table proves nothing of itself.
/// let host = Host::from_instance("trn2.48xlarge")?;
/// let assumption = &verify(&host, None).assumptions[0];
/// assert!(matches!(assumption.verdict, Verdict::Untestable { reason: Reason::SameTable | Reason::OtherTypes { .. } }));
/// # Ok::<(), nearfab::Error>(())
/// ```
#[must_use]
pub fn verify(host: &Host, probe: Option<&Probe>) -> Verification {
    let host = probe.map_or_else(|| host.clone(), |probe| host.with_probed_addresses(probe));
    let is_table = matches!(host.origin(), Origin::Table { .. });
    let table = host.table();
    let compared: Vec<(&Source, Findings)> =
        table.filter(|_| !is_table).map(|table| compare(&host, table)).unwrap_or_default();
    let assumptions = assumptions().iter().map(|assumption| AssumptionVerdict {
        id: assumption.id,
        statement: assumption.statement,
        settled_by: assumption.settled_by,
        verdict: verdict(assumption, &host, table, probe, &compared),
    });
    Verification {
        instance_type: host.instance_type().map(str::to_owned),
        origin: host.origin().clone(),
        probed: probe.is_some(),
        assumptions: assumptions.collect(),
        facts: compared.iter().map(|(source, findings)| fact_verdict(source, findings)).collect(),
    }
}

fn compare(host: &Host, table: &'static InstanceTable) -> Vec<(&'static Source, Findings)> {
    table.sources.iter().map(|source| (source, facts::compare(host, table, source.fact))).collect()
}

fn verdict(
    assumption: &Assumption,
    host: &Host,
    table: Option<&InstanceTable>,
    probe: Option<&Probe>,
    compared: &[(&Source, Findings)],
) -> Verdict {
    let untestable = |reason| Verdict::Untestable { reason };
    if assumption.by_hand {
        return untestable(Reason::ByHand);
    }
    let tested_by_table = assumption.check.is_none();
    if tested_by_table && !table.is_some_and(|table| assumption.instance_types.contains(&table.instance_type)) {
        return untestable(Reason::OtherTypes { instance_types: assumption.instance_types });
    }
    if matches!(host.origin(), Origin::Table { .. }) {
        return untestable(Reason::SameTable);
    }
    if let Some(check) = assumption.check {
        return checks::run(check, host, probe).verdict(Vec::new());
    }
    let mut findings = Findings::default();
    let mut shared_with = Vec::new();
    for (source, found) in compared.iter().filter(|(source, _)| source.assumptions.contains(&assumption.id)) {
        findings.add(found);
        if found.contradict() {
            shared_with.extend(source.assumptions.iter().copied().filter(|other| *other != assumption.id));
        }
    }
    shared_with.sort_unstable();
    shared_with.dedup();
    findings.verdict(shared_with)
}

fn fact_verdict(source: &'static Source, findings: &Findings) -> FactVerdict {
    let Source { fact, grade, assumptions, .. } = source;
    let Findings { agreed, differences, gaps } = findings.clone();
    FactVerdict { fact, grade: *grade, assumptions, agreed, differences, gaps }
}
