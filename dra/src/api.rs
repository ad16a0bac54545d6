//! Asking the API server.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Result};

/// The kubelet gives up on a call after 45 s; whoever reads the pod's events should see why before that.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Until when what begins now must have its answers.
pub(crate) fn deadline() -> Instant {
    Instant::now() + ANSWER_LIMIT
}

/// Waits for the answer to a request, but not for ever. `action` completes "cannot ...".
pub(crate) async fn ask<T>(action: String, request: impl Future<Output = kube::Result<T>>) -> Result<T> {
    ask_until(deadline(), action, request).await
}

/// The same for one of several requests that have a [`deadline`] together.
pub(crate) async fn ask_until<T>(
    deadline: Instant,
    action: String,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T> {
    match tokio::time::timeout_at(deadline, request).await {
        Ok(Ok(answer)) => Ok(answer),
        // The server's own words alone; kube would print the whole status around them.
        Ok(Err(kube::Error::Api(status))) => Err(Error::Api { action, source: status }),
        Ok(Err(error)) => Err(Error::Api { action, source: Box::new(error) }),
        Err(_) => Err(Error::ApiSilent { action, limit: ANSWER_LIMIT }),
    }
}
