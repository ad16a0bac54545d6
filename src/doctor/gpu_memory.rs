//! The check whether the efa driver reaches the memory of GPUs (GPUDirect RDMA).

use super::finding::{Check, Finding, FindingKind};
use super::input::{Input, Skip};
use crate::tables::version_rules::Version;

const NOT_REACHED: FindingKind = FindingKind {
    id: "gpu-memory-not-reached",
    means: "The efa driver reaches no GPU memory on a type with GPUDirect RDMA: neither through a peer-memory module nor \
            through dma-buf. NCCL copies through host memory, which costs bandwidth. A program that needs to register GPU memory \
            fails.",
    action: "Load efa_nv_peermem, which AWS's EFA installer brings. Or use dma-buf: NVIDIA's open kernel modules, Linux 5.12 or \
             newer with AWS's efa driver 1.16 or newer (5.16 with the kernel's efa driver), and for NCCL on EFA generations 1 to 3 \
             aws-ofi-nccl 1.19.2 or newer.",
    source: "NVIDIA GPU Operator, GPUDirect RDMA: dma-buf requires the open kernel modules and Linux 5.12; AWS EFA driver, release \
             notes 1.16.0; Linux commit 66f4817b5712; aws-ofi-nccl pull request 1245.",
};

pub(super) const CHECK: Check = Check { name: "GPU memory", kinds: || vec![NOT_REACHED], run };

/// The first kernel that registers dma-buf memory with RDMA devices.
const DMA_BUF: &str = "5.12";
const PEER_MODULES: [&str; 2] = ["efa_nv_peermem", "nvidia_peermem"];

fn run(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let efa = input.efa()?;
    let host = input.host;
    if host.gpus().is_empty() || !host.instance_type().is_some_and(has_gpudirect) {
        return Err(Skip::NotApplicable("no GPU with GPUDirect RDMA"));
    }
    let system = input.system()?;
    let reached = efa.iter().any(|efa| efa.p2p.as_deref().is_some_and(|names| names.contains("NVIDIA")));
    if reached || PEER_MODULES.iter().any(|name| system.module(name).is_some()) {
        return Ok(Vec::new());
    }
    let release = system.kernel.as_deref().unwrap_or_default();
    let (Ok(kernel), Ok(first)) = (release.parse::<Version>(), DMA_BUF.parse::<Version>()) else {
        return Err(Skip::NotPossible("the release of the kernel is unknown".into()));
    };
    let dma_buf = if kernel < first {
        format!("kernel {release} is older than {DMA_BUF}, the first with dma-buf for RDMA")
    } else if system.nvidia_open == Some(false) {
        "dma-buf requires NVIDIA's open kernel modules, and the closed ones are loaded".to_owned()
    } else {
        return Ok(Vec::new());
    };
    let p2p = match efa.iter().find_map(|efa| efa.p2p.as_deref()) {
        Some("") => "p2p is empty",
        Some(_) => "p2p does not name NVIDIA",
        None => "the efa driver has no attribute p2p",
    };
    let seen = format!("{p2p}; neither {} is loaded; {dma_buf}", PEER_MODULES.join(" nor "));
    Ok(vec![NOT_REACHED.warning(Vec::new(), seen)])
}

/// Returns true if an instance type has GPUDirect RDMA over EFA.
fn has_gpudirect(instance_type: &str) -> bool {
    let family = instance_type.split(['.', '-']).next().unwrap_or_default();
    matches!(family, "p4d" | "p4de" | "p5" | "p5e" | "p5en" | "p6" | "p6e")
}
