//! Checks of kernel settings: RDMA network namespaces, fork safety, ptrace protection.

use crate::system::{RdmaNamespaces, is_fork_safe};
use crate::tables::version_rules::Version;

use super::finding::{Check, Finding, FindingKind};
use super::input::{Input, Skip};

const EXCLUSIVE: FindingKind = FindingKind {
    id: "rdma-namespaces-exclusive",
    means: "Each RDMA device belongs to one network namespace. A container with its own network namespace sees no RDMA \
            device, even if it has the node. libfabric in the container uses TCP.",
    action: "Run rdma system set netns shared while no other network namespace exists, or set the option netns_mode=1 of \
             ib_core. Or move the RDMA device into the network namespace of the container.",
    source: "Linux kernel, ib_core netns_mode; rdma-system(8).",
};
const FORK_UNSAFE: FindingKind = FindingKind {
    id: "fork-unsafe",
    means: "Kernels before 5.13 do not copy registered memory for a forked child. A process that forks, such as a data \
            loader that starts workers, corrupts its memory, or the efa provider aborts it.",
    action: "Set FI_EFA_FORK_SAFE=1 (or RDMAV_FORK_SAFE=1) for processes that fork, or boot kernel 5.13 or newer.",
    source: "libfabric, parameter fork_safe of the efa provider; libfabric issue 5857; aws-ofi-nccl issue 69.",
};
const PTRACE_SCOPE: FindingKind = FindingKind {
    id: "ptrace-protected",
    means: "The kernel's module Yama forbids processes to read the memory of other processes. libfabric's transfers through \
            shared memory on one host copy the data twice.",
    action: "If processes of one user may trust each other, set sysctl kernel.yama.ptrace_scope=0, as AWS's EFA guide says.",
    source: "AWS, EFA guide: disable ptrace protection.",
};

pub(super) const NAMESPACES: Check =
    Check { name: "RDMA network namespaces", kinds: || vec![EXCLUSIVE], run: namespaces };
pub(super) const FORK: Check = Check { name: "fork safety", kinds: || vec![FORK_UNSAFE], run: fork };
pub(super) const PTRACE: Check = Check { name: "ptrace protection", kinds: || vec![PTRACE_SCOPE], run: ptrace };

/// The first kernel that has the parameter `netns_mode`.
const NETNS_MODE: &str = "5.3";

fn namespaces(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    input.efa()?;
    let system = input.system()?;
    let Some(mode) = system.rdma_namespaces else {
        let kernel = system.kernel.as_deref().and_then(|release| release.parse::<Version>().ok());
        let first = NETNS_MODE.parse::<Version>().ok();
        return Err(match (kernel, first) {
            (Some(kernel), Some(first)) if kernel < first => {
                Skip::NotApplicable("kernels before 5.3 show every RDMA device in all network namespaces")
            }
            _ => Skip::NotPossible("this kernel does not show the parameter netns_mode of ib_core".to_owned()),
        });
    };
    let seen = "netns_mode of ib_core is N";
    Ok(if mode == RdmaNamespaces::Exclusive { vec![EXCLUSIVE.warning(Vec::new(), seen)] } else { Vec::new() })
}

fn fork(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    input.efa()?;
    let release = input.system()?.kernel.as_deref();
    let release = release.ok_or_else(|| Skip::NotPossible("the release of the kernel is unknown".into()))?;
    let Ok(kernel) = release.parse() else {
        return Err(Skip::NotPossible("the release of the kernel is not a version number".into()));
    };
    if is_fork_safe(&kernel, |name| input.variable(name).map(str::to_owned)) {
        return Ok(Vec::new());
    }
    let variables = if input.environment().is_ok() { ", and no variable turns fork safety on" } else { "" };
    Ok(vec![FORK_UNSAFE.warning(Vec::new(), format!("kernel {release}{variables}"))])
}

fn ptrace(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    input.efa()?;
    let scope = input.system()?.ptrace_scope.ok_or(Skip::NotApplicable("no Yama in this kernel"))?;
    let is_unused = input.variable("FI_EFA_ENABLE_SHM_TRANSFER") == Some("0");
    if scope == 0 || is_unused {
        return Ok(Vec::new());
    }
    Ok(vec![PTRACE_SCOPE.note(Vec::new(), format!("kernel.yama.ptrace_scope is {scope}"))])
}
