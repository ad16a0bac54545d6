//! Sets of CPUs, in the form that the kernel writes.

use std::fmt;
use std::str::FromStr;

/// A set of CPU numbers, written in the kernel's form: `0-47,96-143`.
///
/// Equal sets are equal values: the set is stored as sorted ranges that neither touch nor overlap.
///
/// ```
/// use nearfab::CpuList;
/// let cpus: CpuList = "96-143,0-46,47".parse()?;
/// assert_eq!(cpus.to_string(), "0-47,96-143");
/// assert_eq!(cpus.len(), 96);
/// assert!(cpus.contains(100) && !cpus.contains(48));
/// # Ok::<(), nearfab::ParseCpuListError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CpuList {
    ranges: Vec<(u32, u32)>,
}

impl CpuList {
    /// Returns true if the set has no CPU.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Returns the number of CPUs in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.iter().map(|&(first, last)| (last - first) as usize + 1).sum()
    }

    /// Returns true if `cpu` is in the set.
    #[must_use]
    pub fn contains(&self, cpu: u32) -> bool {
        self.ranges.iter().any(|&(first, last)| (first..=last).contains(&cpu))
    }

    /// Returns the CPU numbers in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges.iter().flat_map(|&(first, last)| first..=last)
    }

    fn merged(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(previous) if first <= previous.1.saturating_add(1) => previous.1 = previous.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Self { ranges: merged }
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, &(first, last)) in self.ranges.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuList({self})")
    }
}

/// Collects CPU numbers in any order.
impl FromIterator<u32> for CpuList {
    fn from_iter<T: IntoIterator<Item = u32>>(cpus: T) -> Self {
        Self::merged(cpus.into_iter().map(|cpu| (cpu, cpu)).collect())
    }
}

impl FromStr for CpuList {
    type Err = ParseCpuListError;

    fn from_str(text: &str) -> Result<Self, ParseCpuListError> {
        let error = || ParseCpuListError(text.to_owned());
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first).ok_or_else(error)?, number(last).ok_or_else(error)?);
            if first > last {
                return Err(error());
            }
            ranges.push((first, last));
        }
        Ok(Self::merged(ranges))
    }
}

impl TryFrom<String> for CpuList {
    type Error = ParseCpuListError;

    fn try_from(text: String) -> Result<Self, ParseCpuListError> {
        text.parse()
    }
}

impl From<CpuList> for String {
    fn from(cpus: CpuList) -> Self {
        cpus.to_string()
    }
}

/// The error of parsing a text that is not a CPU list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseCpuListError(String);

impl fmt::Display for ParseCpuListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a CPU list; expected one such as 0-47,96-143", self.0)
    }
}

impl std::error::Error for ParseCpuListError {}

/// Parses a CPU number of at most six digits. No machine has longer CPU numbers, and iterating over ranges of longer
/// numbers would take hours.
fn number(text: &str) -> Option<u32> {
    let digits = (1..=6).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}
