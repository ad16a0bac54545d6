//! Checks and their findings.

use std::fmt;

use serde::Serialize;

use super::input::{Input, Skip};

/// The severity of a finding, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// Something does not work.
    Problem,
    /// Something does not work under conditions that nearfab cannot see.
    Warning,
    /// Nothing is broken.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Problem => "PROBLEM",
            Self::Warning => "WARNING",
            Self::Note => "NOTE",
        })
    }
}

/// A kind of finding: the texts that are the same on every host. `docs/reference/doctor.md` is generated from all kinds.
#[derive(Debug, Clone, Copy)]
pub(super) struct FindingKind {
    /// The name, which never changes: programs compare it.
    pub(super) id: &'static str,
    pub(super) means: &'static str,
    pub(super) action: &'static str,
    pub(super) source: &'static str,
}

/// A check, and the kinds of findings that it can report.
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) kinds: fn() -> Vec<FindingKind>,
    pub(super) run: fn(&Input<'_>) -> Result<Vec<Finding>, Skip>,
}

/// A finding on one host. `docs/reference/doctor.md` lists all kinds of findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The kind of the finding: a name that never changes, such as `efa-no-driver`.
    pub id: &'static str,
    /// The severity on this host.
    pub severity: Severity,
    /// The devices, files, variables or processes with the problem. Empty if the whole host has the problem.
    pub subjects: Vec<String>,
    /// The observation on this host.
    pub seen: String,
    /// The consequence.
    pub means: &'static str,
    /// The steps that fix the problem.
    pub action: &'static str,
    /// The source of this knowledge.
    pub source: &'static str,
}

impl FindingKind {
    pub(super) fn problem(&self, subjects: Vec<String>, seen: impl Into<String>) -> Finding {
        self.found(Severity::Problem, subjects, seen)
    }

    pub(super) fn warning(&self, subjects: Vec<String>, seen: impl Into<String>) -> Finding {
        self.found(Severity::Warning, subjects, seen)
    }

    pub(super) fn note(&self, subjects: Vec<String>, seen: impl Into<String>) -> Finding {
        self.found(Severity::Note, subjects, seen)
    }

    pub(super) fn found(&self, severity: Severity, subjects: Vec<String>, seen: impl Into<String>) -> Finding {
        let Self { id, means, action, source } = *self;
        Finding { id, severity, subjects, seen: seen.into(), means, action, source }
    }
}

impl Finding {
    /// Returns the finding with steps that fit this host better than the steps of its kind.
    pub(super) fn with_action(self, action: &'static str) -> Self {
        Self { action, ..self }
    }

    /// Returns severity, id and subjects in one line: `PROBLEM efa-no-driver: 0000:c9:00.0`.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.subjects[..] {
            [] => format!("{} {}", self.severity, self.id),
            subjects => format!("{} {}: {}", self.severity, self.id, subjects.join(", ")),
        }
    }
}
