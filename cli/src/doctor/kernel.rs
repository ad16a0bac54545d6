//! Settings of the kernel: who sees RDMA devices, forked children, memory of other processes.

use nearfab::system::{RdmaNamespaces, is_fork_safe};

use super::case::{Case, Skip};
use super::finding::{Check, Complaint, Finding};

const EXCLUSIVE: Complaint = Complaint {
    id: "rdma-namespaces-exclusive",
    means: "Each RDMA device is in one network namespace. A container with a network of its own that is given a node still sees \
            no device, and libfabric uses TCP.",
    action: "rdma system set netns shared (while no other network namespace exists), or option netns_mode=1 of ib_core; or have \
             the RDMA device moved into the container's network namespace.",
    source: "Linux kernel, ib_core netns_mode; rdma-system(8).",
};
const FORK_UNSAFE: Complaint = Complaint {
    id: "fork-unsafe",
    means: "Kernels before 5.13 do not copy registered memory for a forked child: workers of a data loader, or anything else that \
            forks, corrupt memory or end with an abort of the efa provider.",
    action: "Set FI_EFA_FORK_SAFE=1 (or RDMAV_FORK_SAFE=1) for processes that fork, or boot a kernel from 5.13 on.",
    source: "libfabric, parameter fork_safe of the efa provider; libfabric issue 5857; aws-ofi-nccl issue 69.",
};
const PTRACE_SCOPE: Complaint = Complaint {
    id: "ptrace-protected",
    means: "Yama keeps processes from reading each other's memory, so libfabric's transfers through shared memory on one host \
            copy twice.",
    action: "sysctl kernel.yama.ptrace_scope=0, as AWS's EFA guide says, where processes of one user may trust each other.",
    source: "AWS, EFA guide: disable ptrace protection.",
};

pub(super) const NAMESPACES: Check =
    Check { name: "RDMA network namespaces", complaints: || vec![EXCLUSIVE], run: namespaces };
pub(super) const FORK: Check = Check { name: "fork safety", complaints: || vec![FORK_UNSAFE], run: fork };
pub(super) const PTRACE: Check = Check { name: "ptrace protection", complaints: || vec![PTRACE_SCOPE], run: ptrace };

fn namespaces(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    case.efa()?;
    let mode = case.around()?.rdma_namespaces.ok_or(Skip::NotHere("no RDMA in this kernel"))?;
    let seen = "netns_mode of ib_core is N";
    Ok(if mode == RdmaNamespaces::Exclusive { vec![EXCLUSIVE.warning(Vec::new(), seen)] } else { Vec::new() })
}

fn fork(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    case.efa()?;
    let release = case.around()?.kernel.as_deref();
    let release = release.ok_or_else(|| Skip::NotKnown("the kernel's release is not known".into()))?;
    let Ok(kernel) = release.parse() else {
        return Err(Skip::NotKnown("the kernel's release is no version".into()));
    };
    if is_fork_safe(&kernel, |name| case.variable(name).map(str::to_owned)) {
        return Ok(Vec::new());
    }
    let asked = if case.environment().is_ok() { ", and no variable asks for fork safety" } else { "" };
    Ok(vec![FORK_UNSAFE.warning(Vec::new(), format!("kernel {release}{asked}"))])
}

fn ptrace(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    case.efa()?;
    let scope = case.around()?.ptrace_scope.ok_or(Skip::NotHere("no Yama in this kernel"))?;
    let unused = case.variable("FI_EFA_ENABLE_SHM_TRANSFER") == Some("0");
    if scope == 0 || unused {
        return Ok(Vec::new());
    }
    Ok(vec![PTRACE_SCOPE.note(Vec::new(), format!("kernel.yama.ptrace_scope is {scope}"))])
}
