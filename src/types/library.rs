//! The vendor libraries that nearfab knows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A vendor library that devices need, or that does harm if a process loads two copies of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Library {
    /// The verbs library, which opens RDMA devices.
    Libibverbs,
    /// The EFA provider of verbs.
    Libefa,
    /// The fabric library, through which MPI, NCCL and NIXL use EFA.
    Libfabric,
    /// The Neuron runtime.
    Libnrt,
    /// The collectives library of the Neuron runtime.
    Libnccom,
    /// NVIDIA's collectives library.
    Libnccl,
    /// A network plugin of NCCL, such as aws-ofi-nccl's `libnccl-net-ofi.so`.
    #[serde(rename = "libnccl-net")]
    LibncclNet,
    /// A library that a newer nearfab recorded and this version does not know.
    #[serde(other)]
    Unknown,
}

impl Library {
    /// Every library that nearfab knows.
    pub const ALL: &'static [Self] = &[
        Self::Libibverbs,
        Self::Libefa,
        Self::Libfabric,
        Self::Libnrt,
        Self::Libnccom,
        Self::Libnccl,
        Self::LibncclNet,
    ];

    /// Returns the name of the library's file up to `.so`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Libibverbs => "libibverbs",
            Self::Libefa => "libefa",
            Self::Libfabric => "libfabric",
            Self::Libnrt => "libnrt",
            Self::Libnccom => "libnccom",
            Self::Libnccl => "libnccl",
            Self::LibncclNet => "libnccl-net",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the library of a file name: `libfabric.so.1.25.0`, or `libfabric-1a2b3c4d.so.1.25.0`, the name of the
    /// copy in a Python wheel.
    pub(crate) fn of_file(file: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|library| {
            let Some(rest) = file.strip_prefix(library.name()) else { return false };
            let Some((tag, version)) = rest.split_once(".so") else { return false };
            // The tag of a plugin is the name of its maker: libnccl-net-ofi.so.
            let is_plugin = *library == Self::LibncclNet && tag.starts_with('-');
            (is_tag(tag) || is_plugin) && (version.is_empty() || version.starts_with('.'))
        })
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Returns true if a text is empty, or is the tag that a Python wheel adds to a library's name. The tag is a part of
/// the hash of the file.
fn is_tag(tag: &str) -> bool {
    let Some(hash) = tag.strip_prefix('-') else { return tag.is_empty() };
    hash.len() >= 6 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}
