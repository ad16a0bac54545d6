//! The identity of a ResourceClaim.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A ResourceClaim, as the kubelet and the API server identify it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The claim's namespace.
    pub namespace: String,
    /// The claim's name. A later claim may get the same name.
    pub name: String,
    /// The claim's UID. No other claim ever gets the same UID.
    pub uid: String,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} (UID {})", self.namespace, self.name, self.uid)
    }
}
