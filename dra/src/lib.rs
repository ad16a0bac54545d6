//! A Kubernetes DRA driver that hands Neuron devices and their near EFA interfaces to pods.
//!
//! The driver runs on each node beside the kubelet and does three things:
//! it publishes the node's devices with their places ([`slices`], [`device`]), it makes itself known to the kubelet
//! ([`registration`], [`serve`]), and it turns the claims that the scheduler has allocated into device nodes in
//! containers ([`plugin`], [`prepare`]). What it handed out is on disk ([`record`]), in files for the container runtime
//! ([`cdi`]), and outlives the driver; one driver at a time works on it ([`instance`]). It opens no device and needs no
//! vendor library.

#![forbid(unsafe_code)]

mod api;
pub mod cdi;
pub mod claim;
pub mod device;
mod durable;
pub mod error;
pub mod instance;
pub mod plugin;
pub mod prepare;
pub mod proto;
pub mod record;
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
use crate::device::Inventory;
use crate::error::Result;
use crate::instance::Instance;
use crate::plugin::Plugin;
use crate::prepare::Preparer;
use crate::record::Records;
use crate::registration::plugin_dir;
use crate::slices::Publisher;

/// The driver's name: in claims and classes, in the kubelet's registry, and the domain of attributes without one.
pub const DRIVER: &str = "nearfab.dev";

/// Where the driver works.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name in Kubernetes, which is the name of its pool too.
    pub node_name: String,
    /// Below this are the `sys` and `dev` that the driver sees.
    pub root: PathBuf,
    /// Below this are they for the container runtime.
    pub runtime_root: PathBuf,
    /// The kubelet's folder, by its path on the host.
    pub kubelet_dir: PathBuf,
    /// Where the container runtime looks for CDI files.
    pub cdi_dir: PathBuf,
    /// Where the records of prepared claims are kept.
    pub state_dir: PathBuf,
    /// The kernel's name for the present boot.
    pub boot_id: String,
}

/// Runs the driver until `shutdown` is ready. While another driver runs on this node it only waits, so that an update
/// hands over.
///
/// # Errors
/// When the driver cannot start, or cannot go on. A silent API server is no reason: publishing waits for it.
pub async fn run(config: Config, client: Client, shutdown: impl Future<Output = ()>) -> Result<()> {
    let mut shutdown = pin!(shutdown);
    let plugin_dir = plugin_dir(&config.kubelet_dir);
    let instance = tokio::select! {
        instance = Instance::only(&plugin_dir) => instance?,
        () = &mut shutdown => return Ok(()),
    };
    let inventory = Inventory::discover(&config.root)?;
    for problem in &inventory.problems {
        warn!("{problem}");
    }
    let spec = slices::slice_spec(&config.node_name, &inventory)?;

    let records = Records::open(&config.state_dir, config.boot_id)?;
    let cdi = CdiDir::open(&config.cdi_dir, &config.runtime_root)?;
    let preparer = Arc::new(Preparer::new(config.node_name.clone(), config.root, records, cdi, instance));
    preparer.recover(preparer.turn().await, &inventory)?;

    // A clone, so that the lock is held until the sockets are gone.
    let plugin = Plugin::new(client.clone(), config.node_name.clone(), Arc::clone(&preparer));
    let publisher = Publisher::new(client, config.node_name, spec);
    let registered = Arc::new(Notify::new());
    let publishing = async {
        // Not before: a pod that is given a device of a driver that its kubelet does not know fails, and is tried again
        // only much later.
        registered.notified().await;
        publisher.run().await
    };
    tokio::select! {
        served = serve::serve(&config.kubelet_dir, plugin, Arc::clone(&registered), shutdown) => served,
        never = publishing => match never {},
    }
}
