//! Checks of memory for devices: the limit of locked memory, and huge pages.

use crate::system::{HugePageLimit, Launcher, Limit, Process};

use super::finding::{Check, Finding, FindingKind};
use super::input::{Input, Skip, name_of};

const LOW: FindingKind = FindingKind {
    id: "memlock-low",
    means: "The kernel locks memory that a device reads and writes. Above the limit, registering memory and creating queues \
            fail with 'Cannot allocate memory' (-12). Libraries fail or abort and do not mention the limit.",
    action: "Set the limit to unlimited: memlock in /etc/security/limits.d for logins, LimitMEMLOCK=infinity in the systemd \
             unit of a service. For containers, set it in the unit of containerd or docker: Kubernetes and CDI have no field \
             for it.",
    source: "awsome-distributed-ai issue 647; aws-cdi-sdk issue 48; aws-ofi-nccl issue 107.",
};
const NO_HUGE_PAGES: FindingKind = FindingKind {
    id: "huge-pages-none",
    means: "libfabric's efa provider uses ordinary pages for its buffers. Programs work, but slower.",
    action: "Reserve pages of 2 MiB (vm.nr_hugepages). AWS's installer reserves 110 MiB for each of two endpoints for each \
             CPU core.",
    source: "AWS EFA installer, efa-config; libfabric, parameter use_huge_page of the efa provider.",
};
const USED_UP: FindingKind = FindingKind {
    id: "huge-pages-used-up",
    means: "A process with buffers in huge pages needs more huge pages when it forks, as a data loader with workers does: \
            os.fork fails with 'Cannot allocate memory'. New endpoints use ordinary pages.",
    action: "Set FI_EFA_USE_HUGE_PAGE=0 for processes that fork, or reserve more pages (vm.nr_hugepages).",
    source: "awsome-distributed-ai, EFA cheat sheet: FI_EFA_USE_HUGE_PAGE.",
};

const REFUSED: FindingKind = FindingKind {
    id: "huge-pages-refused",
    means: "The machine has free huge pages, and the control group may not use one. libfabric's efa provider maps huge pages, and \
            the kernel ends the process with SIGBUS when it first touches one.",
    action: "Ask for hugepages-2Mi in the limits of the pod, or set FI_EFA_USE_HUGE_PAGE=0.",
    source: "Linux kernel, hugetlb controller of control groups; Kubernetes, hugepages-2Mi.",
};

pub(super) const LOCKED: Check = Check { name: "locked memory", kinds: || vec![LOW], run: locked };
pub(super) const HUGE_PAGES: Check =
    Check { name: "huge pages", kinds: || vec![NO_HUGE_PAGES, USED_UP, REFUSED], run: huge_pages };

/// The highest default limit of locked memory. The default is 64 KiB, and 8 MiB since Linux 5.16.
const DEFAULT: u64 = 8 << 20;
/// The size of the huge pages that the efa provider uses.
const PAGE: u64 = 2 << 20;

fn locked(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    input.efa()?;
    let process = input.process()?;
    let limit =
        process.locked_memory.ok_or_else(|| Skip::NotPossible("the limits of the process are unknown".into()))?;
    let Limit::Bytes(bytes) = limit else { return Ok(Vec::new()) };
    let mut seen = format!("the process may lock {limit}");
    if let Some((parent, limit)) = parent_with_more(process, limit) {
        seen += &format!("; its parent {parent} may lock {limit}");
    }
    let subjects = name_of(process);
    let found = match process.may_exceed {
        Some(true) => LOW.note(
            subjects,
            format!("{seen}; its capability CAP_IPC_LOCK lifts the limit, which other users may not have"),
        ),
        _ if bytes > DEFAULT => LOW.warning(subjects, seen),
        _ => LOW.problem(subjects, format!("{seen}; the limit is not more than the default of the kernel")),
    };
    Ok(vec![match &process.launcher {
        Some(Launcher::Slurm) => found.with_action(FOR_SLURM),
        Some(Launcher::Container) => found.with_action(FOR_CONTAINERS),
        Some(Launcher::Service(unit)) => {
            let seen = format!("{}; the process belongs to the systemd service {unit}", found.seen);
            Finding { seen, ..found }.with_action(FOR_SERVICES)
        }
        _ => found,
    }])
}

const FOR_SLURM: &str = "Slurm gives a job the limits of the shell that submitted it. Set PropagateResourceLimitsExcept=MEMLOCK in \
                         slurm.conf, or raise the limit of logins on the submitting node. If the limit of slurmd is low too, set \
                         LimitMEMLOCK=infinity in the systemd unit of slurmd.";
const FOR_CONTAINERS: &str = "Set LimitMEMLOCK=infinity in the systemd unit of containerd or docker, and restart the runtime and the \
                              container: Kubernetes and CDI have no field for the limit.";
const FOR_SERVICES: &str = "Set LimitMEMLOCK=infinity in the systemd unit of the service (systemctl edit), run systemctl daemon-reload, \
                            and restart the service.";

/// Returns the name and the limit of the parent, if the parent may lock more memory.
fn parent_with_more(process: &Process, limit: Limit) -> Option<(&str, Limit)> {
    let parent = process.parent.as_ref()?;
    let of_parent = parent.locked_memory.filter(|of_parent| *of_parent > limit)?;
    Some((parent.name.as_deref()?, of_parent))
}

fn huge_pages(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    input.efa()?;
    let pages = input.system()?.huge_pages.iter().find(|pages| pages.size == PAGE);
    let pages = pages.ok_or_else(|| Skip::NotPossible("sys/kernel/mm/hugepages shows no pages of 2 MiB".into()))?;
    let is_unused = input.variable("FI_EFA_USE_HUGE_PAGE") == Some("0");
    let process = input.process().ok();
    let limits = [process.and_then(|process| process.huge_page_limit), input.system()?.huge_page_limit];
    let limit = limits.into_iter().flatten().min_by_key(|limit| limit.limit);
    if let Some(HugePageLimit { limit: Limit::Bytes(bytes), refusals, .. }) = limit
        && bytes < PAGE
        && pages.free > 0
        && !is_unused
    {
        let refusals = refusals.filter(|refusals| *refusals > 0);
        let refusals = refusals.map(|refusals| format!("; the kernel counted {refusals} refusals")).unwrap_or_default();
        let seen = format!(
            "the node has {} free pages of 2 MiB, and the control group may use {bytes} bytes of them{refusals}{}",
            pages.free,
            input.container_note()
        );
        return Ok(vec![REFUSED.warning(process.map(name_of).unwrap_or_default(), seen)]);
    }
    Ok(match (pages.total, pages.free) {
        _ if is_unused => Vec::new(),
        (0, _) => vec![NO_HUGE_PAGES.note(Vec::new(), "no page of 2 MiB is reserved")],
        (total, 0) => vec![USED_UP.warning(Vec::new(), format!("all {total} pages of 2 MiB are in use"))],
        _ => Vec::new(),
    })
}
