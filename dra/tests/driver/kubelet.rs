//! A kubelet that finds the registration socket, registers the driver and calls the driver. Method names are written
//! out here, as in the kubelet. The method names do not come from the driver's protocol files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nearfab_dra::proto::dra::{
    Claim, NodePrepareResourceResponse, NodePrepareResourcesRequest, NodePrepareResourcesResponse,
    NodeUnprepareResourcesRequest, NodeUnprepareResourcesResponse,
};
use nearfab_dra::proto::registration::{InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse};
use tonic::client::Grpc;
use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use crate::{names, until, within};

pub(crate) struct Kubelet {
    dir: PathBuf,
}

impl Kubelet {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(crate) fn registration_socket(&self) -> PathBuf {
        self.dir.join("plugins_registry/nearfab.dev@reg.sock")
    }

    pub(crate) fn plugin_socket(&self) -> PathBuf {
        self.dir.join("plugins/nearfab.dev/dra@plugin.sock")
    }

    /// Waits for the registration socket and registers the driver.
    pub(crate) async fn register(&self) -> PluginInfo {
        let registry = self.dir.join("plugins_registry");
        until("a registration socket", || registry.exists() && !names(&registry).is_empty()).await;
        let info: PluginInfo = self.call_registrar("GetInfo", InfoRequest {}).await;
        self.notify(true, "").await;
        info
    }

    pub(crate) async fn notify(&self, plugin_registered: bool, error: &str) {
        let status = RegistrationStatus { plugin_registered, error: error.to_owned() };
        let _: RegistrationStatusResponse = self.call_registrar("NotifyRegistrationStatus", status).await;
    }

    async fn call_registrar<Q, A>(&self, method: &str, request: Q) -> A
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        // The kubelet dials the bare path, and gRPC for Go sends that path as the authority.
        let socket = self.registration_socket();
        let authority = socket.display().to_string().replace('/', "%2F");
        call(&socket, &authority, &format!("/pluginregistration.Registration/{method}"), request).await
    }

    pub(crate) async fn prepare_all(&self, claims: Vec<Claim>) -> HashMap<String, NodePrepareResourceResponse> {
        let answer: NodePrepareResourcesResponse =
            self.call_driver("NodePrepareResources", NodePrepareResourcesRequest { claims }).await;
        answer.claims
    }

    pub(crate) async fn prepare(&self, claim: &Claim) -> NodePrepareResourceResponse {
        self.prepare_all(vec![claim.clone()]).await.remove(&claim.uid).expect("an entry for the claim")
    }

    /// Releases a claim and returns the error's text, which is empty after a success.
    pub(crate) async fn unprepare(&self, claim: &Claim) -> String {
        let request = NodeUnprepareResourcesRequest { claims: vec![claim.clone()] };
        let mut answer: NodeUnprepareResourcesResponse = self.call_driver("NodeUnprepareResources", request).await;
        answer.claims.remove(&claim.uid).expect("an entry for the claim").error
    }

    async fn call_driver<Q, A>(&self, method: &str, request: Q) -> A
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        call(
            &self.plugin_socket(),
            "localhost",
            &format!("/k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin/{method}"),
            request,
        )
        .await
    }
}

async fn call<Q, A>(socket: &Path, authority: &str, method: &str, request: Q) -> A
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    let mut client = Grpc::new(dial(socket, authority).await);
    let method: PathAndQuery = method.parse().unwrap();
    let answer = within(method.as_str(), async {
        client.ready().await.unwrap();
        client.unary(tonic::Request::new(request), method.clone(), ProstCodec::default()).await
    });
    answer.await.unwrap().into_inner()
}

/// Connects to a socket. Tries again while no process listens: a driver that was killed leaves its socket.
async fn dial(socket: &Path, authority: &str) -> Channel {
    let origin: Uri = format!("http://{authority}").parse().unwrap();
    let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display())).unwrap().origin(origin);
    within("a connection", async {
        loop {
            match endpoint.connect().await {
                Ok(channel) => return channel,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await
}
