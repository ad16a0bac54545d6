//! Environment variables that vendor libraries read: the table of `data/variables.toml`, compiled in.

#[cfg(test)]
#[expect(dead_code, reason = "only the build script reads every field")]
pub(crate) mod file;

use serde::Serialize;

use crate::tables::version_rules::Range;

include!(concat!(env!("OUT_DIR"), "/variables.rs"));

/// An environment variable that selects devices or settings of a library, with the library and the versions that read
/// the variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Variable {
    /// The name of the variable.
    pub name: &'static str,
    /// The library that reads the variable.
    pub read_by: &'static str,
    #[serde(flatten)]
    versions: Range,
    /// Why a plan sets the variable.
    pub why: &'static str,
    /// The source of these facts.
    pub source: &'static str,
    is_default: bool,
    #[serde(skip)]
    pub(crate) value: Value,
    #[serde(skip)]
    pub(crate) accelerators: Option<Accelerators>,
    #[serde(skip)]
    pub(crate) efa: bool,
    #[serde(skip)]
    pub(crate) products: &'static [&'static str],
    #[serde(skip)]
    pub(crate) kernel: Range,
}

/// The value that a plan gives a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    /// The same text for every rank.
    Text(&'static str),
    /// The devices or cores of a rank.
    Selection(Selection),
}

/// The devices, cores or configuration that a variable selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selection {
    Cores,
    Lnc,
    Gpus,
    Interfaces,
}

/// The accelerators of the hosts that a variable is set on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accelerators {
    Neuron,
    Gpu,
}

impl Variable {
    /// Returns the first version of the library that reads the variable. `None` if every known version reads it.
    #[must_use]
    pub const fn from(&self) -> Option<&'static str> {
        self.versions.from
    }

    /// Returns the first version that no longer reads the variable, if such a version exists.
    #[must_use]
    pub const fn below(&self) -> Option<&'static str> {
        self.versions.below
    }

    /// Returns the library and its versions as a text: `libfabric 1.20 or newer`.
    #[must_use]
    pub fn readers(&self) -> String {
        format!("{} {}", self.read_by, self.versions)
    }

    /// Returns true if a value that the user has already set is kept. The value of such a variable is the same for
    /// every rank and does not define the meaning of another variable.
    #[must_use]
    pub const fn is_default(&self) -> bool {
        self.is_default
    }
}

#[cfg(test)]
mod tests {
    use super::file;

    #[test]
    fn invalid_entries_are_refused() {
        let variable = "[[variable]]\nname = 'X'\nread_by = ''\nwhy = ''\nsource = ''\n";
        let read =
            |more: &str| file::read(&format!("{variable}{more}"), &["Trainium2"]).map(|variables| variables.len());
        assert_eq!(read("value = '1'\nkernel.below = '5.15'"), Ok(1));
        for (more, words) in [
            ("", "needs either value or is"),
            ("value = '1'\nis = 'cores'", "needs either value or is"),
            ("is = 'memory'", "memory"),
            ("value = '1'\nfrom = '2.x'", "\"2.x\""),
            ("value = '1'\nkernel.below = '5'", "\"5\""),
            ("value = '1'\nproducts = ['Trainium9']", "\"Trainium9\""),
            ("value = '1'\nunless = 2", "unless"),
        ] {
            let error = read(more).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let twice = |one: &str, other: &str| {
            let text = format!("{variable}value = '1'\n{one}\n{variable}value = '2'\n{other}");
            file::read(&text, &[]).map(|variables| variables.len())
        };
        assert_eq!(twice("accelerators = 'gpu'", "accelerators = 'neuron'"), Ok(2));
        assert!(twice("accelerators = 'gpu'", "").unwrap_err().contains("applies twice to one host"));
    }
}
