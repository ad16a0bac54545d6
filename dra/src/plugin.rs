//! The gRPC service that the kubelet calls to prepare and release claims.
//!
//! An error of one claim is returned only for that claim: an error of the call would fail all claims of the call. The
//! kubelet repeats its calls, even after a success. The kubelet sends only the name and UID of a claim.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::resource::v1::{DeviceRequestAllocationResult, ResourceClaim};
use kube::{Api, Client};
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use tracing::warn;

use crate::cdi::device_id;
use crate::checkpoint::{Checkpoint, PreparedDevice, check_uid};
use crate::claim::Claim;
use crate::error::{Error, Result, with_causes};
use crate::prepare::Preparer;
use crate::proto::dra::dra_plugin_server::DraPlugin;
use crate::proto::dra::{
    self, Device, NodePrepareResourceResponse, NodePrepareResourcesRequest, NodePrepareResourcesResponse,
    NodeUnprepareResourceResponse, NodeUnprepareResourcesRequest, NodeUnprepareResourcesResponse,
};
use crate::{DRIVER, api};

/// The service that the kubelet calls.
pub struct Plugin {
    client: Client,
    pool: String,
    preparer: Arc<Preparer>,
}

impl Plugin {
    /// Returns a service that reads claims with `client` and prepares them with `preparer`, from the devices in `pool`.
    pub fn new(client: Client, pool: String, preparer: Arc<Preparer>) -> Self {
        Self { client, pool, preparer }
    }

    async fn prepare(&self, claim: Claim, deadline: Instant) -> Result<Vec<Device>> {
        check_uid(&claim.uid)?;
        let allocated = self.allocation(&claim, deadline).await?;
        let preparer = Arc::clone(&self.preparer);
        let guard = preparer.lock().await;
        let checkpoint = run_blocking(move || preparer.prepare(guard, claim, &allocated)).await?;
        Ok(self.answer(&checkpoint))
    }

    async fn unprepare(&self, claim: Claim) -> Result<()> {
        let preparer = Arc::clone(&self.preparer);
        let guard = preparer.lock().await;
        run_blocking(move || preparer.unprepare(guard, &claim)).await
    }

    /// Reads this driver's part of the claim's allocation from the API server: the kubelet sends only the claim's name.
    async fn allocation(&self, claim: &Claim, deadline: Instant) -> Result<Vec<DeviceRequestAllocationResult>> {
        let claims: Api<ResourceClaim> = Api::namespaced(self.client.clone(), &claim.namespace);
        let found = api::request_until(deadline, format!("get claim {claim}"), claims.get(&claim.name)).await?;
        let found_uid = found.metadata.uid.unwrap_or_default();
        if found_uid != claim.uid {
            return Err(Error::ClaimReplaced { claim: claim.clone(), found: found_uid });
        }
        let results = found.status.and_then(|s| s.allocation).and_then(|a| a.devices).and_then(|d| d.results);
        let own: Vec<_> = results.unwrap_or_default().into_iter().filter(|r| r.driver == DRIVER).collect();
        if own.is_empty() { Err(Error::NotAllocated { claim: claim.clone() }) } else { Ok(own) }
    }

    fn answer(&self, checkpoint: &Checkpoint) -> Vec<Device> {
        let device = |prepared: &PreparedDevice| Device {
            request_names: vec![prepared.request.clone()],
            pool_name: self.pool.clone(),
            device_name: prepared.device.clone(),
            cdi_device_ids: vec![device_id(&checkpoint.claim.uid, prepared)],
            share_id: prepared.share_id.clone(),
        };
        checkpoint.devices.iter().map(device).collect()
    }
}

#[tonic::async_trait]
impl DraPlugin for Plugin {
    async fn node_prepare_resources(
        &self,
        request: Request<NodePrepareResourcesRequest>,
    ) -> Result<Response<NodePrepareResourcesResponse>, Status> {
        // All claims share one deadline, since the kubelet waits for one answer.
        let deadline = api::deadline();
        let mut claims = HashMap::new();
        for claim in request.into_inner().claims {
            let claim = Claim::from(claim);
            let outcome = self.prepare(claim.clone(), deadline).await;
            let error = outcome.as_ref().err().map(|error| report("prepare", &claim, error)).unwrap_or_default();
            let devices = outcome.unwrap_or_default();
            claims.insert(claim.uid, NodePrepareResourceResponse { devices, error });
        }
        Ok(Response::new(NodePrepareResourcesResponse { claims }))
    }

    async fn node_unprepare_resources(
        &self,
        request: Request<NodeUnprepareResourcesRequest>,
    ) -> Result<Response<NodeUnprepareResourcesResponse>, Status> {
        let mut claims = HashMap::new();
        for claim in request.into_inner().claims {
            let claim = Claim::from(claim);
            let outcome = self.unprepare(claim.clone()).await;
            let error = outcome.err().map(|error| report("unprepare", &claim, &error)).unwrap_or_default();
            claims.insert(claim.uid, NodeUnprepareResourceResponse { error });
        }
        Ok(Response::new(NodeUnprepareResourcesResponse { claims }))
    }
}

impl From<dra::Claim> for Claim {
    fn from(claim: dra::Claim) -> Self {
        Self { namespace: claim.namespace, name: claim.name, uid: claim.uid }
    }
}

/// Logs the error of a claim and returns its text for the kubelet. The kubelet shows the text in the pod's events.
fn report(action: &str, claim: &Claim, error: &Error) -> String {
    let text = with_causes(error);
    warn!(%claim, error = text, "cannot {action} the claim");
    text
}

/// Runs `work` on another thread, since `work` waits for the disk and one thread answers all calls of the kubelet.
/// `work` runs to its end even if the kubelet abandons the call.
async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|source| Error::Interrupted { source })?
}
