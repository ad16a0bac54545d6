//! Errors of the driver, worded for the person who reads the pod's events.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::claim::Claim;

/// An error of the driver.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation on a file or folder of the driver failed.
    #[error("cannot {action} {}", path.display())]
    File {
        /// The operation, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error that the kernel returned.
        source: io::Error,
    },

    /// The path of a socket does not fit into the kernel's address structure.
    #[error(
        "socket path {} is too long: it has {} bytes, and the kernel takes at most {limit}; use a shorter --kubelet-dir",
        path.display(), path.as_os_str().len()
    )]
    SocketPath {
        /// The path.
        path: PathBuf,
        /// The length of the longest path that fits, in bytes.
        limit: usize,
    },

    /// A server of the driver stopped before the driver was stopped.
    #[error("the server on {} stopped unexpectedly", path.display())]
    Server {
        /// The server's socket.
        path: PathBuf,
        /// The server's error, if the server returned one.
        source: Option<tonic::transport::Error>,
    },

    /// The kubelet refused to register the driver.
    #[error("the kubelet refused to register the driver: {reason}")]
    RegistrationRefused {
        /// The kubelet's message.
        reason: String,
    },

    /// The API server answered a request with an error.
    #[error("cannot {action}")]
    Api {
        /// The request, with the object's name.
        action: String,
        /// The API server's message, or the error of the connection.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The API server did not answer in time.
    #[error("cannot {action}: no answer from the API server within {} s", limit.as_secs())]
    ApiTimeout {
        /// The request, with the object's name.
        action: String,
        /// How long the driver waited.
        limit: Duration,
    },

    /// The devices of the host could not be discovered.
    #[error("cannot discover the devices under {}", root.display())]
    Discovery {
        /// The root of the host's tree.
        root: PathBuf,
        /// The error of the discovery.
        source: nearfab::Error,
    },

    /// The host has more devices than one ResourceSlice can hold.
    #[error("cannot publish {count} devices: one ResourceSlice holds at most {limit}")]
    TooManyDevices {
        /// The number of devices on this host.
        count: usize,
        /// The limit that Kubernetes sets.
        limit: usize,
    },

    /// The kubelet sent a claim's UID that is not a UID and cannot be part of a file's name.
    #[error("invalid claim UID {uid:?}: expected 1 to 64 letters, digits and '-'")]
    BadUid {
        /// The text that the kubelet sent.
        uid: String,
    },

    /// The claim was deleted, and a new claim has its name.
    #[error("claim {claim} was replaced: the API server has UID {found} under this name")]
    ClaimReplaced {
        /// The claim that the kubelet named.
        claim: Claim,
        /// The UID of the new claim.
        found: String,
    },

    /// The claim has no device of this driver.
    #[error("claim {claim} is not allocated: its status names no device of driver {}", crate::DRIVER)]
    NotAllocated {
        /// The claim.
        claim: Claim,
    },

    /// The claim was allocated from the pool of another node.
    #[error("cannot prepare {device}: it was allocated from pool {pool}, and this node's pool is {node_pool}")]
    OtherPool {
        /// The device.
        device: String,
        /// The pool named in the allocation.
        pool: String,
        /// The pool of this node.
        node_pool: String,
    },

    /// The allocated device is missing, or has no usable node.
    #[error("{device} cannot be used on this node: {reason}")]
    Unusable {
        /// The device.
        device: String,
        /// Why the device cannot be used.
        reason: String,
    },

    /// Another claim holds the device.
    #[error(
        "{device} is held by claim {holder}, which is prepared on this node; \
         the device is free when the last pod of that claim on this node has ended"
    )]
    Held {
        /// The device.
        device: String,
        /// The claim that holds the device: its name, or only its UID if the name could not be read.
        holder: String,
    },

    /// The devices that another claim holds could not be read.
    #[error(
        "{} does not say which devices its claim holds: {reason}; \
         run the driver version that wrote the file, or remove the file once the claim's pods have ended",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why the file could not be read.
        reason: String,
    },

    /// The task that prepared or released a claim panicked or was cancelled.
    #[error("preparing or releasing a claim was interrupted")]
    Interrupted {
        /// The error of the task.
        source: tokio::task::JoinError,
    },
}

/// The result of a function of this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Returns an error and its causes on one line, as plain text for logs and for the kubelet.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        // Some libraries' errors have a text that already ends with the text of the cause.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
