//! Registration with the kubelet: the kubelet watches a folder for sockets and asks the driver behind each new socket
//! for its name.
//!
//! # The name of the socket
//! The kubelet dials the socket by its bare path. The kubelet's gRPC library sends that path, percent-encoded, as the
//! HTTP/2 `:authority`. A `%` is not legal in a host name. With a `%` in the host name, the HTTP stack under tonic
//! would reset the stream, and the kubelet would never register the driver. A `%` is legal in the user information of
//! an authority. The user information ends with an `@`. So the name of the socket contains an `@`, and a plain host
//! name follows the `@`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Notify, mpsc};
use tonic::{Request, Response, Status};
use tracing::info;

use crate::DRIVER;
use crate::proto::registration::registration_server::Registration;
use crate::proto::registration::{InfoRequest, PluginInfo, RegistrationStatus, RegistrationStatusResponse};

/// The kubelet's plugin type for DRA drivers.
const PLUGIN_TYPE: &str = "DRAPlugin";

/// The version text that the kubelet compares. This text is not the name of the gRPC service.
const SUPPORTED_VERSION: &str = "v1.DRAPlugin";

/// Returns the path of the socket on which the driver registers, in the folder that the kubelet watches.
pub fn registration_socket(kubelet_dir: &Path) -> PathBuf {
    kubelet_dir.join("plugins_registry").join(format!("{DRIVER}@reg.sock"))
}

/// Returns the driver's own folder below the kubelet's folder.
pub fn plugin_dir(kubelet_dir: &Path) -> PathBuf {
    kubelet_dir.join("plugins").join(DRIVER)
}

/// Returns the path of the socket on which the kubelet prepares claims. The name of this socket contains an `@` too,
/// since kubelets before 1.37 may dial the socket by its bare path.
pub fn plugin_socket(kubelet_dir: &Path) -> PathBuf {
    plugin_dir(kubelet_dir).join("dra@plugin.sock")
}

/// The gRPC service that sends the driver's name and socket to the kubelet.
#[derive(Debug)]
pub struct Registrar {
    endpoint: PathBuf,
    registered: Arc<Notify>,
    refused: mpsc::Sender<String>,
}

impl Registrar {
    /// Returns a service that gives the kubelet `endpoint` as the driver's socket. The service notifies `registered`
    /// when the kubelet has registered the driver. If the kubelet refuses to register the driver, the service sends the
    /// kubelet's reason to `refused`.
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
            // The receiver is gone only if the driver is already stopping.
            let _ = self.refused.try_send(status.error);
        }
        Ok(Response::new(RegistrationStatusResponse {}))
    }
}
