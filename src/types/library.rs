//! The vendor libraries that nearfab knows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A library of which a second copy in one process does harm, or without which devices cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Library {
    /// Verbs: opens RDMA devices.
    Libibverbs,
    /// The EFA part of verbs.
    Libefa,
    /// The fabric library of MPI, NCCL and NIXL over EFA.
    Libfabric,
    /// The Neuron runtime.
    Libnrt,
    /// Collectives of the Neuron runtime.
    Libnccom,
    /// Something that this version does not know, by a newer version's record.
    #[serde(other)]
    Unknown,
}

impl Library {
    /// Those that are looked for.
    pub const ALL: [Self; 5] = [Self::Libibverbs, Self::Libefa, Self::Libfabric, Self::Libnrt, Self::Libnccom];

    /// Its name up to `.so`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Libibverbs => "libibverbs",
            Self::Libefa => "libefa",
            Self::Libfabric => "libfabric",
            Self::Libnrt => "libnrt",
            Self::Libnccom => "libnccom",
            Self::Unknown => "unknown",
        }
    }

    /// Which library a file is, by its name: `libfabric.so.1.25.0`, or under the name that a wheel gives its own copy,
    /// `libfabric-1a2b3c4d.so.1.25.0`.
    pub(crate) fn of_file(file: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|library| {
            let Some(rest) = file.strip_prefix(library.name()) else { return false };
            let Some((tag, version)) = rest.split_once(".so") else { return false };
            is_tag(tag) && (version.is_empty() || version.starts_with('.'))
        })
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a wheel puts between the name and `.so`: a part of the content's hash.
fn is_tag(tag: &str) -> bool {
    let Some(hash) = tag.strip_prefix('-') else { return tag.is_empty() };
    hash.len() >= 6 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}
