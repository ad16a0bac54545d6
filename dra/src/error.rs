//! What can go wrong, in words for the person who reads the pod's events.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::claim::Claim;

/// Why the driver could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder that belongs to the driver could not be used.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The path of a socket does not fit into the kernel's address structure.
    #[error(
        "{} is too long for a socket: {} bytes of at most {limit}; use a shorter --kubelet-dir",
        path.display(), path.as_os_str().len()
    )]
    SocketPath {
        /// The path.
        path: PathBuf,
        /// The longest path that fits.
        limit: usize,
    },

    /// One of the driver's two servers stopped by itself.
    #[error("the server on {} ended", path.display())]
    Server {
        /// Its socket.
        path: PathBuf,
        /// Why, as far as the server knows.
        source: Option<tonic::transport::Error>,
    },

    /// The kubelet would not have the driver.
    #[error("the kubelet refused the driver: {reason}")]
    Refused {
        /// The kubelet's own words.
        reason: String,
    },

    /// The API server answered a request with an error.
    #[error("cannot {action}")]
    Api {
        /// What was tried, with the object's name.
        action: String,
        /// What the API server said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The API server did not answer.
    #[error("cannot {action}: no answer from the API server within {} s", limit.as_secs())]
    ApiSilent {
        /// What was tried, with the object's name.
        action: String,
        /// How long the driver waited.
        limit: Duration,
    },

    /// The host could not be looked at.
    #[error("cannot discover the devices under {}", root.display())]
    Discovery {
        /// The root of the tree that was looked at.
        root: PathBuf,
        /// Why.
        source: nearfab::Error,
    },

    /// More devices than one slice can hold.
    #[error("{count} devices do not fit into one ResourceSlice, which holds {limit}")]
    TooManyDevices {
        /// Devices on this host.
        count: usize,
        /// Kubernetes' limit.
        limit: usize,
    },

    /// A claim's UID cannot be part of a file's name.
    #[error("{uid:?} is no UID: expected letters, digits and '-'")]
    BadUid {
        /// What the kubelet sent.
        uid: String,
    },

    /// The claim of that name is another one now.
    #[error("claim {claim} was replaced: the API server has UID {found} under this name")]
    ClaimReplaced {
        /// The claim that was asked for.
        claim: Claim,
        /// The UID found instead.
        found: String,
    },

    /// The claim has no device of this driver.
    #[error("claim {claim} is not allocated: its status names no device of driver {}", crate::DRIVER)]
    NotAllocated {
        /// The claim.
        claim: Claim,
    },

    /// The claim was allocated from the pool of another node.
    #[error("{device} was allocated from pool {pool}, this node's pool is {ours}")]
    OtherPool {
        /// The device.
        device: String,
        /// The pool named in the allocation.
        pool: String,
        /// The pool of this node.
        ours: String,
    },

    /// The allocated device is not there, or cannot be used now.
    #[error("{device} cannot be used on this node: {reason}")]
    Unusable {
        /// The device.
        device: String,
        /// What is missing.
        reason: String,
    },

    /// Another claim holds the device.
    #[error("{device} is held by claim {holder}, prepared on this node and not released yet")]
    Held {
        /// The device.
        device: String,
        /// The claim that has it, as far as it is known.
        holder: String,
    },

    /// Which devices another claim holds could not be told.
    #[error(
        "{} does not say which devices its claim holds: {reason}; \
         run the driver that wrote it, or remove it when the claim's pods are gone",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// Work on a claim did not come to its end.
    #[error("preparing or releasing a claim was interrupted")]
    Interrupted {
        /// Why.
        source: tokio::task::JoinError,
    },
}

/// The result of what can fail in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error and its causes on one line, for logs and for the kubelet, which carry plain text.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some libraries print their cause themselves.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
