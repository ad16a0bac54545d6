//! A Kubernetes DRA driver that hands Neuron devices and their near EFA interfaces to pods.
//!
//! The driver runs on each node beside the kubelet. The driver has three tasks:
//!
//! - Publish the node's devices with their locations ([`model`], [`slices`]).
//! - Register with the kubelet ([`registration`], [`serve`]).
//! - Put the devices of allocated claims into containers, as device nodes ([`plugin`], [`prepare`]).
//!
//! Prepared claims outlive the driver: they are on disk, in checkpoints for the driver ([`checkpoint`]) and in files
//! for the container runtime ([`cdi`]). Only one driver at a time works on these files ([`instance`]). The driver opens
//! no device and needs no vendor library.

#![forbid(unsafe_code)]

mod api;
pub mod cdi;
pub mod checkpoint;
pub mod claim;
pub mod device;
mod durable;
pub mod error;
pub mod instance;
pub mod model;
pub mod plugin;
pub mod prepare;
pub mod proto;
pub mod registration;
pub mod serve;
pub mod slices;

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use kube::Client;
use tokio::sync::Notify;
use tracing::warn;

use crate::cdi::CdiDir;
use crate::checkpoint::Checkpoints;
use crate::device::Inventory;
use crate::error::Result;
use crate::instance::InstanceLock;
use crate::model::options::{Options, ServerVersion};
use crate::model::{Model, pool_name};
use crate::plugin::Plugin;
use crate::prepare::Preparer;
use crate::registration::plugin_dir;
use crate::slices::Publisher;

/// The driver's name in claims, in device classes and in the kubelet's registry. Kubernetes also uses this name as the
/// domain of attributes that name no domain.
pub const DRIVER: &str = "nearfab.dev";

/// The names and folders that the driver works with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name in Kubernetes.
    pub node_name: String,
    /// The folder in which the driver sees the host's `sys` and `dev`.
    pub root: PathBuf,
    /// The folder in which the container runtime sees the host's `sys` and `dev`.
    pub runtime_root: PathBuf,
    /// The kubelet's folder, by its path on the host.
    pub kubelet_dir: PathBuf,
    /// The folder in which the container runtime looks for CDI files.
    pub cdi_dir: PathBuf,
    /// The folder of the checkpoints of prepared claims.
    pub state_dir: PathBuf,
    /// The kernel's ID of the present boot.
    pub boot_id: String,
}

/// Runs the driver until `shutdown` is ready. Waits while another driver runs on this node, so that an update can start
/// the new driver before the old driver ends.
///
/// # Errors
/// When the driver cannot start, or cannot continue. An API server that does not answer is no error: the driver tries
/// to publish again.
pub async fn run(config: Config, client: Client, shutdown: impl Future<Output = ()>) -> Result<()> {
    let mut shutdown = pin!(shutdown);
    let plugin_dir = plugin_dir(&config.kubelet_dir);
    let instance_lock = tokio::select! {
        lock = InstanceLock::acquire(&plugin_dir) => lock?,
        () = &mut shutdown => return Ok(()),
    };
    let inventory = Inventory::discover(&config.root)?;
    // Whole devices are the same for each version of the server.
    let model = Model::new(&inventory.host, &config.node_name, Options::default(), ServerVersion::OVERLAPPING);
    for problem in &model.problems {
        warn!("{problem}");
    }
    let slice = slices::only_slice(&model)?;

    let checkpoints = Checkpoints::open(&config.state_dir, config.boot_id)?;
    let cdi = CdiDir::open(&config.cdi_dir, &config.runtime_root)?;
    let preparer = Arc::new(Preparer::new(pool_name(&config.node_name), config.root, checkpoints, cdi, instance_lock));
    preparer.recover(preparer.lock().await, &inventory)?;

    // `preparer` keeps the instance lock until this function returns. The sockets are removed before this function
    // returns.
    let plugin = Plugin::new(client.clone(), pool_name(&config.node_name), Arc::clone(&preparer));
    let publisher = Publisher::new(client, config.node_name, slice);
    let registered = Arc::new(Notify::new());
    let publishing = async {
        // The scheduler must not see the devices before the registration: a pod with a device of an unregistered driver
        // fails, and the kubelet tries again only much later.
        registered.notified().await;
        publisher.run().await
    };
    tokio::select! {
        served = serve::serve(&config.kubelet_dir, plugin, Arc::clone(&registered), shutdown) => served,
        never = publishing => match never {},
    }
}
