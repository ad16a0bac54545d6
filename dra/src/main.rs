//! `nearfab-dra`: the program that runs the driver.

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use nearfab_dra::Config;
use nearfab_dra::error::with_causes;
use nearfab_dra::registration::plugin_dir;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

/// Hands Neuron devices and their near EFA interfaces to Kubernetes pods.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// Name of this node in Kubernetes
    #[arg(long)]
    node_name: String,

    /// Kubeconfig file for the API server [default: the service account of the driver's pod]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Folder in which the driver sees the host's sys and dev
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// Folder in which the container runtime sees the host's sys and dev
    #[arg(long, value_name = "DIR", default_value = "/", value_parser = absolute)]
    runtime_root: PathBuf,

    /// The kubelet's folder, by its path on the host
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kubelet")]
    kubelet_dir: PathBuf,

    /// Folder in which the container runtime looks for CDI files
    #[arg(long, value_name = "DIR", default_value = "/var/run/cdi")]
    cdi_dir: PathBuf,

    /// Folder of the checkpoints of prepared claims [default: plugins/nearfab.dev/claims in the kubelet's folder]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// Refuses a relative path. The container runtime reads this path in CDI files and does not know the driver's working
/// folder.
fn absolute(path: &str) -> Result<PathBuf, &'static str> {
    let path = PathBuf::from(path);
    if path.is_absolute() { Ok(path) } else { Err("expected an absolute path, such as /host") }
}

// One thread is enough for the driver's work, and each further thread costs memory on every node.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let flags = Flags::parse();
    tracing_subscriber::fmt().with_ansi(false).with_writer(std::io::stderr).init();
    match run(flags).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> anyhow::Result<()> {
    let client = client(flags.kubeconfig.as_deref()).await?;
    let config = config(flags)?;
    let stop = stop_signal().context("cannot handle SIGTERM and SIGINT")?;
    info!(version = env!("CARGO_PKG_VERSION"), ?config, "starting");
    nearfab_dra::run(config, client, stop).await?;
    info!("stopped");
    Ok(())
}

async fn client(kubeconfig: Option<&Path>) -> anyhow::Result<Client> {
    let config = match kubeconfig {
        Some(path) => {
            let read = Kubeconfig::read_from(path).with_context(|| format!("cannot read {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("cannot use {}", path.display()))?
        }
        None => kube::Config::incluster()
            .context("cannot use the service account of a pod: run the driver in a pod, or give --kubeconfig")?,
    };
    Client::try_from(config).context("cannot set up the connection to the API server")
}

fn config(flags: Flags) -> anyhow::Result<Config> {
    // The driver sends this path to the kubelet. The kubelet does not know the driver's working folder.
    let kubelet_dir = std::path::absolute(flags.kubelet_dir).context("cannot use --kubelet-dir")?;
    Ok(Config {
        node_name: flags.node_name,
        root: flags.root,
        runtime_root: flags.runtime_root,
        cdi_dir: flags.cdi_dir,
        state_dir: flags.state_dir.unwrap_or_else(|| plugin_dir(&kubelet_dir).join("claims")),
        kubelet_dir,
        boot_id: boot_id()?,
    })
}

/// Returns the boot ID of the kernel that runs this process. The tree at `--root` does not matter, because this
/// machine's processes use the claims.
fn boot_id() -> anyhow::Result<String> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(PATH).with_context(|| format!("cannot read {PATH}"))?;
    Ok(text.trim().to_owned())
}

/// Returns a future that is ready at the first SIGTERM or SIGINT. The kubelet sends SIGTERM, and a terminal sends
/// SIGINT.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
