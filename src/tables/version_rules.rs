//! Versions of driver, runtime and kernel that do not work together: the rules of `data/version_rules.toml`, compiled
//! in.

#[cfg(test)]
#[expect(dead_code, reason = "only the build script reads every field")]
mod file;

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::types::number;

include!(concat!(env!("OUT_DIR"), "/version_rules.rs"));

/// A version: the dotted numbers at the beginning of a text, such as `2.30.2.0`, `3.1.0` in `3.1.0g`, or `6.1.102` in a
/// kernel's release.
///
/// ```
/// use nearfab::version_rules::Version;
/// let version: Version = "2.30.2.0".parse()?;
/// assert!(version > "2.9".parse()? && version == "2.30.2".parse()?);
/// // A build between releases: its text does not show between which ones.
/// assert!("2.x.7693.0".parse::<Version>().is_err());
/// # Ok::<(), nearfab::version_rules::ParseVersionError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Version(Vec<u32>);

impl Version {
    #[cfg(feature = "live")]
    pub(crate) fn of(numbers: impl Into<Vec<u32>>) -> Self {
        Self(numbers.into())
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, ParseVersionError> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let numbers: Option<Vec<u32>> = text[..end].trim_end_matches('.').split('.').map(number).collect();
        match numbers {
            // A version such as `2.x.7693.0` begins with one number only, and one number does not determine its place
            // among other versions.
            Some(numbers) if numbers.len() > 1 => Ok(Self(numbers)),
            _ => Err(ParseVersionError(text.to_owned())),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.iter().map(u32::to_string).collect::<Vec<_>>().join("."))
    }
}

impl Ord for Version {
    /// Compares number by number. Missing numbers count as 0.
    fn cmp(&self, other: &Self) -> Ordering {
        let length = self.0.len().max(other.0.len());
        let padded =
            |version: &Self| version.0.iter().copied().chain(std::iter::repeat(0)).take(length).collect::<Vec<_>>();
        padded(self).cmp(&padded(other))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

/// The error of parsing a text that does not begin with a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseVersionError(String);

impl fmt::Display for ParseVersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} does not begin with a version such as 2.30.2", self.0)
    }
}

impl std::error::Error for ParseVersionError {}

/// A rule: versions that do not work together, and what to do.
#[derive(Debug)]
#[non_exhaustive]
pub struct Rule {
    /// The name of the rule, which never changes.
    pub id: &'static str,
    /// What fails with such versions.
    pub means: &'static str,
    /// What to do.
    pub action: &'static str,
    /// The source of the rule.
    pub source: &'static str,
    neuron_driver: Range,
    runtime: Range,
    kernel: Range,
    products: &'static [&'static str],
}

/// A range of versions: from one version on, and below another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Range {
    pub(crate) from: Option<&'static str>,
    pub(crate) below: Option<&'static str>,
}

/// The versions on a host. A rule about an unknown version does not apply.
#[derive(Debug, Clone, Default)]
pub struct Versions {
    /// The version of the Neuron driver.
    pub neuron_driver: Option<Version>,
    /// The version of the Neuron runtime (libnrt).
    pub runtime: Option<Version>,
    /// The version of the kernel.
    pub kernel: Option<Version>,
    /// The Neuron product, as the driver names it.
    pub product: Option<String>,
}

impl Rule {
    /// Returns true if the rule applies to these versions.
    ///
    /// ```
    /// use nearfab::version_rules::{Versions, rules};
    /// let versions = Versions {
    ///     neuron_driver: Some("2.29.0.0".parse()?),
    ///     runtime: Some("2.32.31".parse()?),
    ///     ..Versions::default()
    /// };
    /// let broken: Vec<_> = rules().iter().filter(|rule| rule.holds(&versions)).map(|rule| rule.id).collect();
    /// assert_eq!(broken, ["runtime-too-old-for-driver"]);
    /// # Ok::<(), nearfab::version_rules::ParseVersionError>(())
    /// ```
    #[must_use]
    pub fn holds(&self, versions: &Versions) -> bool {
        let product = versions.product.as_deref();
        self.neuron_driver.has(versions.neuron_driver.as_ref())
            && self.runtime.has(versions.runtime.as_ref())
            && self.kernel.has(versions.kernel.as_ref())
            && (self.products.is_empty() || product.is_some_and(|product| self.products.contains(&product)))
    }
}

impl Range {
    /// Returns true if a version is in the range. An unknown version is in the unlimited range only.
    pub(crate) fn has(&self, version: Option<&Version>) -> bool {
        // The build script has checked that the bounds are versions.
        let bound = |text: Option<&str>| text.and_then(|text| text.parse::<Version>().ok());
        let (from, below) = (bound(self.from), bound(self.below));
        if from.is_none() && below.is_none() {
            return true;
        }
        let Some(version) = version else { return false };
        from.is_none_or(|from| *version >= from) && below.is_none_or(|below| *version < below)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.below) {
            (None, None) => f.pad("of any version"),
            (Some(from), None) => f.pad(&format!("{from} or newer")),
            (None, Some(below)) => f.pad(&format!("before {below}")),
            (Some(from), Some(below)) => f.pad(&format!("{from} or newer, before {below}")),
        }
    }
}

/// Returns all rules, in the order of the file.
#[must_use]
pub fn rules() -> &'static [Rule] {
    RULES
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn broken(driver: &str, runtime: &str, kernel: &str, product: &str) -> Vec<&'static str> {
        let versions = Versions {
            neuron_driver: driver.parse().ok(),
            runtime: runtime.parse().ok(),
            kernel: kernel.parse().ok(),
            product: Some(product.to_owned()),
        };
        rules().iter().filter(|rule| rule.holds(&versions)).map(|rule| rule.id).collect()
    }

    #[test]
    fn no_rule_applies_to_the_versions_of_an_sdk_release() {
        for (driver, runtime) in [
            ("2.26.5.0", "2.30.50"),
            ("2.26.10.0", "2.31.24"),
            ("2.28.0.0", "2.32.31"),
            ("2.29.0.0", "2.33.10"),
            ("2.30.2.0", "2.34.10.0"),
            ("2.31.7.0", "2.35.30"),
        ] {
            assert_eq!(broken(driver, runtime, "6.1.102-111", "Trainium2"), [""; 0], "{driver} {runtime}");
        }
    }

    #[test]
    fn rules_apply_to_versions_that_do_not_work_together() {
        assert_eq!(broken("2.29.0.0", "2.32.31", "6.1.1", "Trainium2"), ["runtime-too-old-for-driver"]);
        assert_eq!(broken("2.26.5.0", "2.34.10", "6.1.1", "Trainium2"), ["driver-too-old-for-runtime"]);
        assert_eq!(broken("2.25.1.0", "2.30.50", "6.1.1", "Inferentia"), ["driver-without-inferentia1"]);
        assert_eq!(broken("2.28.0.0", "", "6.18.0-1", "Trainium2"), ["driver-does-not-build-on-kernel"]);
        assert_eq!(broken("2.24.7.0", "2.30.50", "6.1.1", "Inferentia"), [""; 0]);
        assert_eq!(
            broken("2.x.7693.0", "2.32.31", "7.0.0", "Trainium2"),
            [""; 0],
            "no rule applies to an unknown version"
        );
        assert_eq!(broken("", "2.32.31", "7.0.0", "Inferentia"), [""; 0]);
    }

    #[test]
    fn invalid_rules_are_refused() {
        let rule = "id = 'x'\nmeans = ''\naction = ''\nsource = ''";
        let read =
            |more: &str| file::read(&format!("[[rule]]\n{rule}\n{more}"), &["Trainium2"]).map(|rules| rules.len());
        assert_eq!(read("runtime.below = '2.33'"), Ok(1));
        for (more, words) in [
            ("", "names no version"),
            ("runtime.below = '2.x'", "\"2.x\""),
            ("kernel.from = '6'", "\"6\""),
            ("runtime.below = '2.3'\nproducts = ['Trainium9']", "\"Trainium9\""),
            ("runtime.above = '2.3'", "above"),
        ] {
            let error = read(more).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let twice = format!("[[rule]]\n{rule}\nkernel.from = '6.1'\n[[rule]]\n{rule}\nkernel.from = '6.1'");
        assert!(file::read(&twice, &[]).unwrap_or_default().is_empty());
    }

    proptest! {
        #[test]
        fn versions_are_ordered_by_numbers(a in proptest::collection::vec(0..99_u32, 2..5), b in proptest::collection::vec(0..99_u32, 2..5)) {
            let version = |numbers: &[u32]| numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(".").parse::<Version>().unwrap();
            let padded = |numbers: &[u32]| { let mut n = numbers.to_vec(); n.resize(5, 0); n };
            prop_assert_eq!(version(&a).cmp(&version(&b)), padded(&a).cmp(&padded(&b)));
        }

        #[test]
        fn version_is_the_dotted_numbers_at_the_beginning(text in "[0-9.]{0,9}[0-9a-z.-]{0,9}|\\PC*") {
            // The plain reading collects digits and full stops one by one.
            let beginning: String = text.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
            let mut parts: Vec<&str> = beginning.split('.').collect();
            while parts.last() == Some(&"") {
                parts.pop();
            }
            let numbers: Option<Vec<u32>> = parts.iter().map(|part| part.parse().ok()).collect();
            let plain = numbers.filter(|numbers| numbers.len() > 1);
            prop_assert_eq!(text.parse::<Version>().ok().map(|version| version.0), plain);
        }
    }
}
