//! What is pinned in tests/cluster/versions.toml.

use anyhow::{Context, Result};
use serde::Deserialize;

/// The versions of everything that the bed builds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Versions {
    pub(crate) kubernetes: String,
    pub(crate) etcd: String,
    pub(crate) containerd: String,
    /// The oldest Go that builds them.
    pub(crate) go: String,
}

impl Versions {
    /// As of when this program was built.
    ///
    /// # Errors
    /// When the file is malformed.
    pub(crate) fn pinned() -> Result<Self> {
        toml::from_str(include_str!("../../../tests/cluster/versions.toml")).context("tests/cluster/versions.toml")
    }
}
