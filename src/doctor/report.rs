//! The report of all checks.

use serde::Serialize;

use super::finding::{Check, Finding};
use super::input::{Input, Skip};

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
        let checks = results.collect();
        findings.sort_by_key(|finding| finding.severity);
        let instance_type = input.host.instance_type().map(str::to_owned);
        Self { instance_type, findings, checks }
    }
}
