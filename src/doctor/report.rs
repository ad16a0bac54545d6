//! The report of all checks.

use serde::Serialize;

use super::OF_READING;
use super::finding::{Check, Finding};
use super::input::{Input, Skip};
use crate::host::{NothingFound, Origin};

/// The findings on a host, and the outcome of every check. `docs/reference/schema/doctor.json` describes the JSON form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The instance type that the firmware reports.
    pub instance_type: Option<String>,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
    /// Every check. A missing finding means something only if its check was made.
    pub checks: Vec<CheckResult>,
    /// Why nothing could be examined; `None` if at least one check of the devices or of a process was made, or if the
    /// host shows PCI functions and none of them is a device for the doctor.
    #[serde(skip)]
    pub nothing_examined: Option<String>,
}

/// A check, and whether it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CheckResult {
    /// The name of the check, for people.
    pub name: &'static str,
    /// The ids of the findings that the check can report.
    pub finds: Vec<&'static str>,
    /// Whether the check was made.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Whether a check was made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "outcome")]
#[non_exhaustive]
pub enum Outcome {
    /// The check was made.
    #[serde(rename = "made")]
    Made,
    /// The host has no device or software of the kind.
    #[serde(rename = "not_here")]
    NotApplicable {
        /// The reason.
        reason: String,
    },
    /// The data for the check are missing.
    #[serde(rename = "not_known")]
    NotPossible {
        /// The reason.
        reason: String,
    },
}

impl Report {
    pub(super) fn of(input: &Input<'_>, checks: &[&'static Check]) -> Self {
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
        let checks: Vec<CheckResult> = results.collect();
        findings.sort_by_key(|finding| finding.severity);
        let instance_type = input.host.instance_type().map(str::to_owned);
        let nothing_examined = nothing_examined(input, &checks);
        Self { instance_type, findings, checks, nothing_examined }
    }
}

/// Returns why nothing could be examined.
fn nothing_examined(input: &Input<'_>, checks: &[CheckResult]) -> Option<String> {
    let is_of_reading = |check: &CheckResult| OF_READING.iter().any(|reading| reading.name == check.name);
    if checks.iter().any(|check| check.outcome == Outcome::Made && !is_of_reading(check)) {
        return None;
    }
    match (input.host.origin(), input.host.nothing_found()) {
        (Origin::Table { .. }, _) => input.machine().err().map(|skip| skip.reason().to_owned()),
        (_, Some(reason @ NothingFound::NoPci)) => Some(reason.to_string()),
        _ => None,
    }
}
