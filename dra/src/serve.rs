//! The two Unix sockets: one on which the kubelet learns of the driver, one on which it calls it.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tracing::{info, warn};

use crate::durable::{create_dir, failed};
use crate::error::{Error, Result};
use crate::plugin::Plugin;
use crate::proto::dra::dra_plugin_server::DraPluginServer;
use crate::proto::registration::registration_server::RegistrationServer;
use crate::registration::{Registrar, plugin_socket, registration_socket};

/// `sun_path` of a Unix socket's address, less its final zero byte.
const LONGEST_SOCKET_PATH: usize = 107;

/// How long calls in flight may take once the driver is to stop: below a pod's default grace period of 30 s.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// Serves the kubelet until `shutdown` is ready, then lets the calls in flight finish. Tells `registered` when the
/// kubelet knows the driver.
///
/// The kubelet calls as soon as it sees the registration socket, so that one comes last. It goes last too: when
/// it disappears, the kubelet drops its connection and with it any call that still runs.
///
/// Only one at a time may serve a `kubelet_dir`: see [`Instance`](crate::instance::Instance).
///
/// # Errors
/// When a socket cannot be made, a server stops by itself, or the kubelet refuses the driver.
pub async fn serve(
    kubelet_dir: &Path,
    plugin: Plugin,
    registered: Arc<Notify>,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let (endpoint, incoming) = Socket::bind(plugin_socket(kubelet_dir))?;
    let (drain, draining) = oneshot::channel::<()>();
    let draining = async {
        // Ready also when the sender is dropped, which is how it is used.
        let _ = draining.await;
    };
    let calls = Server::builder().add_service(DraPluginServer::new(plugin));
    let mut calls = pin!(calls.serve_with_incoming_shutdown(incoming, draining));

    let (registry, incoming) = Socket::bind(registration_socket(kubelet_dir))?;
    let (refuse, mut refused) = mpsc::channel(1);
    let registrar = RegistrationServer::new(Registrar::new(endpoint.path.clone(), registered, refuse));
    let registration = Server::builder().add_service(registrar).serve_with_incoming(incoming);
    info!(socket = %registry.path.display(), "waiting for the kubelet");

    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        Some(reason) = refused.recv() => Err(Error::Refused { reason }),
        result = &mut calls => return Err(Error::Server { path: endpoint.path.clone(), source: result.err() }),
        result = registration => return Err(Error::Server { path: registry.path.clone(), source: result.err() }),
    };

    info!("stopping: calls in flight may finish");
    drop(drain);
    if tokio::time::timeout(DRAIN_LIMIT, calls).await.is_err() {
        warn!("calls in flight were cut off; the kubelet will repeat them");
    }
    outcome
}

/// A socket's file, which is removed with this.
struct Socket {
    path: PathBuf,
    /// Device and inode: what is at the path later need not be ours.
    made: (u64, u64),
}

impl Socket {
    fn bind(path: PathBuf) -> Result<(Self, UnixListenerStream)> {
        if path.as_os_str().len() > LONGEST_SOCKET_PATH {
            return Err(Error::SocketPath { path, limit: LONGEST_SOCKET_PATH });
        }
        if let Some(dir) = path.parent() {
            create_dir(dir)?;
        }
        // Left behind by a driver that was killed; nobody listens on it any more.
        remove_stale(&path)?;
        let listener = UnixListener::bind(&path).map_err(failed("listen on", &path))?;
        let made = identity(&path).map_err(failed("look at", &path))?;
        let socket = Self { path, made };
        // Only the kubelet, which is root, has business here.
        let restricted = fs::set_permissions(&socket.path, Permissions::from_mode(0o600));
        restricted.map_err(failed("restrict", &socket.path))?;
        Ok((socket, UnixListenerStream::new(listener)))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let removed = match identity(&self.path) {
            Ok(present) if present == self.made => fs::remove_file(&self.path),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                warn!(socket = %self.path.display(), %error, "cannot remove the socket");
            }
            _ => {}
        }
    }
}

fn remove_stale(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}
