//! Requests to the API server, each with a deadline.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Result};

/// How long the driver waits for the API server. The kubelet abandons a call after 45 s. With a shorter limit, the
/// reason of a failure reaches the pod's events.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Returns the deadline for the requests of a call that begins now.
pub(crate) fn deadline() -> Instant {
    Instant::now() + ANSWER_LIMIT
}

/// Waits for the answer to one request, at most [`ANSWER_LIMIT`]. `action` completes the error "cannot ...".
pub(crate) async fn request<T>(action: String, request: impl Future<Output = kube::Result<T>>) -> Result<T> {
    request_until(deadline(), action, request).await
}

/// Waits for the answer to one of several requests that share a [`deadline`].
pub(crate) async fn request_until<T>(
    deadline: Instant,
    action: String,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T> {
    match tokio::time::timeout_at(deadline, request).await {
        Ok(Ok(answer)) => Ok(answer),
        // The error contains only the API server's own message. The `Display` of the `kube::Error` would add the whole
        // status.
        Ok(Err(kube::Error::Api(status))) => Err(Error::Api { action, source: status }),
        Ok(Err(error)) => Err(Error::Api { action, source: Box::new(error) }),
        Err(_) => Err(Error::ApiTimeout { action, limit: ANSWER_LIMIT }),
    }
}
