//! The versions that tests/cluster/versions.toml pins.

use anyhow::{Context, Result};
use serde::Deserialize;

/// The versions of the programs that the bed builds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Versions {
    pub(crate) kubernetes: String,
    pub(crate) etcd: String,
    pub(crate) containerd: String,
    /// The oldest Go that builds the programs.
    pub(crate) go: String,
}

impl Versions {
    /// Returns the versions that were compiled into this program.
    ///
    /// # Errors
    /// If the file is malformed.
    pub(crate) fn pinned() -> Result<Self> {
        toml::from_str(include_str!("../../../tests/cluster/versions.toml")).context("tests/cluster/versions.toml")
    }
}
