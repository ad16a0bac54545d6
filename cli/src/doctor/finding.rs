//! What a check is, and what it finds.

use std::fmt;

use serde::Serialize;

use super::case::{Case, Skip};

/// How bad a finding is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    /// Something does not work.
    Problem,
    /// Something does not work in circumstances that nearfab cannot see.
    Warning,
    /// Good to know.
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

/// A kind of finding: what never changes of it. `docs/reference/doctor.md` is made of these.
#[derive(Debug, Clone, Copy)]
pub(super) struct Complaint {
    /// Its name, which does not change.
    pub(super) id: &'static str,
    pub(super) means: &'static str,
    pub(super) action: &'static str,
    pub(super) source: &'static str,
}

/// Something that is looked at, and what may be found there.
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) complaints: fn() -> Vec<Complaint>,
    pub(super) run: fn(&Case<'_>) -> Result<Vec<Finding>, Skip>,
}

/// Something that was found.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    id: &'static str,
    pub(super) severity: Severity,
    /// The devices, files, variables or processes that it is about; none for the host as a whole.
    subjects: Vec<String>,
    seen: String,
    means: &'static str,
    action: &'static str,
    source: &'static str,
}

impl Complaint {
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
    /// Title and labelled paragraphs, for people.
    pub(super) fn paragraphs(&self) -> (String, [(&'static str, &str); 4]) {
        let title = match &self.subjects[..] {
            [] => format!("{} {}", self.severity, self.id),
            subjects => format!("{} {}: {}", self.severity, self.id, subjects.join(", ")),
        };
        (title, [("seen", &self.seen), ("means", self.means), ("do", self.action), ("source", self.source)])
    }
}
