//! Collects the results of comparisons: values that agree, that differ, and that a host does not show.

use std::fmt::{self, Display};

use serde::Serialize;

use super::{Reason, Verdict};

/// A value that differs from the expected value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Difference {
    /// The source of the value on the host: a path, or a device node and the driver's command.
    pub path: String,
    /// The expected value.
    pub expected: String,
    /// The value on the host.
    pub found: String,
}

/// A value that a host does not show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Gap {
    /// The value that is not shown.
    pub what: String,
    /// The way to learn the value.
    pub needs: Need,
}

/// The way to learn a value that a host does not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Need {
    /// Another host, or this host with more devices attached, drivers loaded or files readable.
    OtherHost,
    /// A probe of the Neuron driver.
    Probe,
    /// A person with a measurement, or with the vendor's runtime.
    Hand,
}

impl Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.path, self.expected, self.found)
    }
}

impl Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.needs {
            Need::OtherHost => write!(f, "{}", self.what),
            Need::Probe => write!(f, "{} (needs --probe)", self.what),
            Need::Hand => write!(f, "{} (by hand)", self.what),
        }
    }
}

/// Writes the gaps as one sentence.
pub(super) fn sentence(f: &mut fmt::Formatter<'_>, gaps: &[Gap]) -> fmt::Result {
    write!(f, "not shown: ")?;
    for (i, gap) in gaps.iter().enumerate() {
        write!(f, "{}{gap}", if i == 0 { "" } else { "; " })?;
    }
    Ok(())
}

#[derive(Debug, Clone, Default)]
pub(super) struct Findings {
    pub(super) agreed: usize,
    pub(super) differences: Vec<Difference>,
    pub(super) gaps: Vec<Gap>,
}

impl Findings {
    /// Compares a value at a path with the expected value.
    pub(super) fn compare<T: PartialEq + Display>(&mut self, path: &str, expected: &T, found: &T) {
        if expected == found { self.agree() } else { self.differ(path, expected, found) }
    }

    pub(super) fn agree(&mut self) {
        self.agreed += 1;
    }

    /// Adds a difference, unless the same difference was added before.
    pub(super) fn differ(&mut self, path: impl Into<String>, expected: impl Display, found: impl Display) {
        let (path, expected, found) = (path.into(), expected.to_string(), found.to_string());
        let difference = Difference { path, expected, found };
        if !self.differences.contains(&difference) {
            self.differences.push(difference);
        }
    }

    /// Adds a value that is not shown, unless the same value was added before.
    pub(super) fn miss(&mut self, needs: Need, what: impl Into<String>) {
        let gap = Gap { what: what.into(), needs };
        if !self.gaps.contains(&gap) {
            self.gaps.push(gap);
        }
    }

    /// Adds `count` values that are not shown. Adds nothing if `count` is 0.
    pub(super) fn miss_some(&mut self, count: usize, of: usize, what: &str) {
        if count > 0 {
            self.miss(Need::OtherHost, format!("{count} of {of} {what}"));
        }
    }

    pub(super) fn contradict(&self) -> bool {
        !self.differences.is_empty()
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.agreed += other.agreed;
        self.differences.extend_from_slice(&other.differences);
        other.gaps.iter().for_each(|gap| self.miss(gap.needs, gap.what.clone()));
    }

    pub(super) fn verdict(self, shared_with: Vec<&'static str>) -> Verdict {
        let Self { agreed, differences, gaps } = self;
        if !differences.is_empty() {
            Verdict::Refuted { differences, shared_with }
        } else if agreed > 0 {
            Verdict::Confirmed { agreed, gaps }
        } else {
            Verdict::Untestable { reason: Reason::NotShown { gaps } }
        }
    }
}
