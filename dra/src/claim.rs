//! Which claim.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which claim, as the kubelet and the API server know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The claim's namespace.
    pub namespace: String,
    /// Its name, which a later claim may bear again.
    pub name: String,
    /// Its UID, which none other ever has.
    pub uid: String,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} (UID {})", self.namespace, self.name, self.uid)
    }
}
