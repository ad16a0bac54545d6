//! How the kubelet learns of the driver: it watches a folder for sockets and asks each new one who it is.
//!
//! # The name of the socket
//! The kubelet dials this socket by its bare path, and its gRPC library sends that path, percent-encoded, as the
//! HTTP/2 `:authority`. A `%` is not legal in a host name, so the HTTP stack under tonic resets the stream and
//! the driver would never be registered. It is legal before an `@`, where user information stands: a file name
//! with an `@` in it makes the same bytes a valid authority. What follows the `@` must be a plain host name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tonic::{Request, Response, Status};
use tracing::info;

use crate::DRIVER;
use crate::proto::registration::registration_server::Registration;
use crate::proto::registration::{InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse};

/// What the kubelet calls a driver of dynamic resource allocation.
const PLUGIN_TYPE: &str = "DRAPlugin";

/// The kubelet compares this text; it is not the name of the gRPC service.
const SUPPORTED_VERSION: &str = "v1.DRAPlugin";

/// The socket that makes the driver known, in the folder that the kubelet watches.
pub fn registration_socket(kubelet_dir: &Path) -> PathBuf {
    kubelet_dir.join("plugins_registry").join(format!("{DRIVER}@reg.sock"))
}

/// The driver's own folder below the kubelet's.
pub fn plugin_dir(kubelet_dir: &Path) -> PathBuf {
    kubelet_dir.join("plugins").join(DRIVER)
}

/// The socket on which claims are prepared. Kubelets before 1.37 may dial it by its bare path too.
pub fn plugin_socket(kubelet_dir: &Path) -> PathBuf {
    plugin_dir(kubelet_dir).join("dra@plugin.sock")
}

/// Answers the kubelet's question who is behind the socket.
#[derive(Debug)]
pub struct Registrar {
    endpoint: PathBuf,
    registered: Arc<Notify>,
    refused: mpsc::Sender<String>,
}

impl Registrar {
    /// Names `endpoint` as the socket of the driver, tells `registered` when the kubelet has taken it, and sends on the
    /// kubelet's reason should it refuse.
    pub fn new(endpoint: PathBuf, registered: Arc<Notify>, refused: mpsc::Sender<String>) -> Self {
        Self { endpoint, registered, refused }
    }
}

#[tonic::async_trait]
impl Registration for Registrar {
    async fn get_info(&self, _: Request<InfoRequest>) -> Result<Response<PluginInfo>, Status> {
        Ok(Response::new(PluginInfo {
            r#type: PLUGIN_TYPE.to_owned(),
            name: DRIVER.to_owned(),
            endpoint: self.endpoint.display().to_string(),
            supported_versions: vec![SUPPORTED_VERSION.to_owned()],
        }))
    }

    async fn notify_registration_status(
        &self,
        status: Request<RegistrationStatus>,
    ) -> Result<Response<RegistrationStatusResponse>, Status> {
        let status = status.into_inner();
        if status.plugin_registered {
            info!("registered with the kubelet");
            self.registered.notify_one();
        } else {
            // Nobody listens only when the driver is stopping already.
            let _ = self.refused.try_send(status.error);
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}
