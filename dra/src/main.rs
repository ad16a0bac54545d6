//! `nearfab-dra`: the driver as a program.

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

    /// How to reach the API server; without it, as a pod of the cluster does
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Where the driver sees the host's sys and dev
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,

    /// Where the container runtime sees them
    #[arg(long, value_name = "DIR", default_value = "/", value_parser = absolute)]
    runtime_root: PathBuf,

    /// The kubelet's folder, under its path on the host
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kubelet")]
    kubelet_dir: PathBuf,

    /// Where the container runtime looks for CDI files
    #[arg(long, value_name = "DIR", default_value = "/var/run/cdi")]
    cdi_dir: PathBuf,

    /// Where records of prepared claims are kept [default: plugins/nearfab.dev/claims in the kubelet's folder]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// The runtime reads this path in CDI files, and does not know this process's working folder.
fn absolute(path: &str) -> Result<PathBuf, &'static str> {
    let path = PathBuf::from(path);
    if path.is_absolute() { Ok(path) } else { Err("expected a path that begins with '/'") }
}

// One thread: the work is little, and each further thread costs memory on every node.
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
    let stop = stop_signal().context("cannot listen for signals")?;
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
        None => kube::Config::incluster().context("not in a pod of a cluster: give --kubeconfig")?,
    };
    Client::try_from(config).context("cannot set up the connection to the API server")
}

fn config(flags: Flags) -> anyhow::Result<Config> {
    // Its path is told to the kubelet, which does not know this process's working folder.
    let kubelet_dir = std::path::absolute(flags.kubelet_dir).context("--kubelet-dir")?;
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

/// Of the kernel that runs this process, whatever tree `--root` names: claims are held on this machine.
fn boot_id() -> anyhow::Result<String> {
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(PATH).with_context(|| format!("cannot read {PATH}"))?;
    Ok(text.trim().to_owned())
}

/// Ready at the first SIGTERM, as from the kubelet, or SIGINT, as from a terminal.
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
