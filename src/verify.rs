//! Checks nearfab's assumptions about hardware against a host: confirmed, refuted or untestable.

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

/// The result of checking all assumptions, and the table of the instance type, against a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// The instance type that the host's firmware reports.
    pub instance_type: Option<String>,
    /// The origin of the host.
    pub origin: Origin,
    /// True if the Neuron driver was probed.
    pub probed: bool,
    /// The verdicts, one for each of [`assumptions`], in the same order.
    pub assumptions: Vec<AssumptionVerdict>,
    /// The verdicts, one for each kind of fact in the table of the host's type, captured and published facts included.
    /// The list is empty if the type has no table, or if the host was made from the table.
    pub facts: Vec<FactVerdict>,
}

/// The verdict of a host on one assumption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AssumptionVerdict {
    /// The id of the assumption.
    pub id: &'static str,
    /// The assumption as a sentence.
    pub statement: &'static str,
    /// The values to read on a live host to settle the assumption.
    pub settled_by: &'static str,
    /// Whether the assumption holds on this host.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Whether an assumption holds on a host. A verdict is about this host alone: an assumption may also cover other hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// Every value that the host shows agrees.
    Confirmed {
        /// The number of values that agree.
        agreed: usize,
        /// The values that the host does not show. These values could disagree.
        gaps: Vec<Gap>,
    },
    /// At least one value disagrees.
    Refuted {
        /// The values that disagree.
        differences: Vec<Difference>,
        /// The other assumptions that the same facts depend on. At least one of the assumptions, this assumption
        /// included, is wrong.
        shared_with: Vec<&'static str>,
    },
    /// The host shows no value of the assumption.
    Untestable {
        /// The reason.
        reason: Reason,
    },
}

/// The reason why a host cannot test an assumption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The host was made from the table that the assumption is about.
    SameTable,
    /// The assumption is about other instance types.
    OtherTypes {
        /// The instance types.
        instance_types: &'static [&'static str],
    },
    /// Only a person can test the assumption, by the steps of `settled_by`.
    ByHand,
    /// The host does not show the values, or shows them only to a probe.
    NotShown {
        /// The values that the host does not show.
        gaps: Vec<Gap>,
    },
}

/// The verdict of a host on one kind of fact in the table of its instance type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FactVerdict {
    /// The kind of fact, see [`Source::fact`].
    pub fact: &'static str,
    /// How reliable the fact was before this comparison.
    pub grade: Grade,
    /// The ids of the assumptions that the fact depends on.
    pub assumptions: &'static [&'static str],
    /// The number of values that agree.
    pub agreed: usize,
    /// The values that disagree.
    pub differences: Vec<Difference>,
    /// The values that the host does not show.
    pub gaps: Vec<Gap>,
}

impl Verification {
    /// Returns how many assumptions are confirmed, refuted and untestable, in this order.
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
            Self::SameTable => write!(f, "the host was made from the table that the assumption is about"),
            Self::OtherTypes { instance_types } => write!(f, "about {}", instance_types.join(", ")),
            Self::ByHand => write!(f, "only a person can test it"),
            Self::NotShown { gaps } => findings::sentence(f, gaps),
        }
    }
}

/// Checks [`assumptions`], and the table of the host's instance type, against a host.
///
/// The result depends only on the host, and on the answers of the probe if the caller passes a probe. This function
/// reads no file and opens no device. An assumption is refuted if a fact that depends on the assumption disagrees with
/// the host. An assumption is confirmed if at least one value agrees and no value disagrees. Differences that occur on
/// sound hosts do not count: interfaces that are not attached, drivers that are not loaded, firmware without NUMA
/// nodes, CPUs that were left out at launch, links in another order.
///
/// ```
/// use nearfab::verify::{Reason, Verdict, verify};
/// use nearfab::Host;
///
/// // On the instance itself this is Host::discover()?. A host made from a table tests no assumption.
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
