//! Checks and their findings.

use std::fmt;

use serde::Serialize;

use super::check_input::{CheckInput, Skip};

/// The severity of a finding, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
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
    pub(super) run: fn(&CheckInput<'_>) -> Result<Vec<Finding>, Skip>,
}

/// A finding on one host.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    id: &'static str,
    pub(super) severity: Severity,
    /// The devices, files, variables or processes with the problem. Empty if the whole host has the problem.
    subjects: Vec<String>,
    seen: String,
    means: &'static str,
    action: &'static str,
    source: &'static str,
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
    /// Returns the title and the labelled paragraphs of the text form.
    pub(super) fn paragraphs(&self) -> (String, [(&'static str, &str); 4]) {
        let title = match &self.subjects[..] {
            [] => format!("{} {}", self.severity, self.id),
            subjects => format!("{} {}: {}", self.severity, self.id, subjects.join(", ")),
        };
        (title, [("seen", &self.seen), ("means", self.means), ("do", self.action), ("source", self.source)])
    }
}
