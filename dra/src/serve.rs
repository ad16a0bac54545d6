//! Serves the driver's two Unix sockets. The kubelet registers the driver on the first socket and prepares claims on
//! the second socket.

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

/// The length of `sun_path` in a Unix socket's address, without its final zero byte.
const LONGEST_SOCKET_PATH: usize = 107;

/// How long running calls may take after the driver received a signal to stop. This time is less than a pod's default
/// grace period of 30 s.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// Serves the kubelet until `shutdown` is ready, then lets the running calls finish. Notifies `registered` when the
/// kubelet has registered the driver.
///
/// The registration socket is created last, since the kubelet calls the driver as soon as it sees that socket. The
/// registration socket is also removed last: when the registration socket disappears, the kubelet drops its connection
/// and any call that still runs.
///
/// Only one driver at a time may serve a `kubelet_dir`: see [`InstanceLock`](crate::instance::InstanceLock).
///
/// # Errors
/// When a socket cannot be created, a server stops unexpectedly, or the kubelet refuses to register the driver.
pub async fn serve(
    kubelet_dir: &Path,
    plugin: Plugin,
    registered: Arc<Notify>,
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let (endpoint, incoming) = Socket::bind(plugin_socket(kubelet_dir))?;
    let (drain, draining) = oneshot::channel::<()>();
    let draining = async {
        // Dropping the sender makes `draining` ready. The sender never sends a value.
        let _ = draining.await;
    };
    let calls = Server::builder().add_service(DraPluginServer::new(plugin));
    let mut calls = pin!(calls.serve_with_incoming_shutdown(incoming, draining));

    let (registry, incoming) = Socket::bind(registration_socket(kubelet_dir))?;
    let (refuse, mut refused) = mpsc::channel(1);
    let registrar = RegistrationServer::new(Registrar::new(endpoint.path.clone(), registered, refuse));
    let registration = Server::builder().add_service(registrar).serve_with_incoming(incoming);
    info!(socket = %registry.path.display(), "waiting for the kubelet to register the driver");

    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        Some(reason) = refused.recv() => Err(Error::RegistrationRefused { reason }),
        result = &mut calls => return Err(Error::Server { path: endpoint.path.clone(), source: result.err() }),
        result = registration => return Err(Error::Server { path: registry.path.clone(), source: result.err() }),
    };

    info!(limit = ?DRAIN_LIMIT, "stopping: running calls may finish");
    drop(drain);
    if tokio::time::timeout(DRAIN_LIMIT, calls).await.is_err() {
        warn!("running calls were cut off: they took too long; the kubelet will repeat them");
    }
    outcome
}

/// A socket's file. Dropping a `Socket` removes the file.
struct Socket {
    path: PathBuf,
    /// The device and inode of the file. A later file at the same path may belong to another driver.
    created: (u64, u64),
}

impl Socket {
    fn bind(path: PathBuf) -> Result<(Self, UnixListenerStream)> {
        if path.as_os_str().len() > LONGEST_SOCKET_PATH {
            return Err(Error::SocketPath { path, limit: LONGEST_SOCKET_PATH });
        }
        if let Some(dir) = path.parent() {
            create_dir(dir)?;
        }
        // A driver that was killed leaves its socket. No process listens on this socket any more.
        remove_stale(&path)?;
        let listener = UnixListener::bind(&path).map_err(failed("listen on", &path))?;
        let created = identity(&path).map_err(failed("stat", &path))?;
        let socket = Self { path, created };
        // Only the kubelet, which runs as root, may connect.
        let restricted = fs::set_permissions(&socket.path, Permissions::from_mode(0o600));
        restricted.map_err(failed("restrict access to", &socket.path))?;
        Ok((socket, UnixListenerStream::new(listener)))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let removed = match identity(&self.path) {
            Ok(present) if present == self.created => fs::remove_file(&self.path),
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

/// Returns the device and inode of a file.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}
