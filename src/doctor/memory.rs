//! Checks of memory for devices: the limit of locked memory, and huge pages.

use crate::system::Limit;

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

pub(super) const LOCKED: Check = Check { name: "locked memory", kinds: || vec![LOW], run: locked };
pub(super) const HUGE_PAGES: Check =
    Check { name: "huge pages", kinds: || vec![NO_HUGE_PAGES, USED_UP], run: huge_pages };

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
    let seen = format!("the process may lock {limit}");
    let subjects = name_of(process);
    Ok(vec![match process.may_exceed {
        Some(true) => LOW.note(
            subjects,
            format!("{seen}; its capability CAP_IPC_LOCK lifts the limit, which other users may not have"),
        ),
        _ if bytes > DEFAULT => LOW.warning(subjects, seen),
        _ => LOW.problem(subjects, format!("{seen}, not more than the default of the kernel")),
    }])
}

fn huge_pages(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    input.efa()?;
    let pages = input.system()?.huge_pages.iter().find(|pages| pages.size == PAGE);
    let pages = pages.ok_or_else(|| Skip::NotPossible("sys/kernel/mm/hugepages shows no pages of 2 MiB".into()))?;
    let is_unused = input.variable("FI_EFA_USE_HUGE_PAGE") == Some("0");
    Ok(match (pages.total, pages.free) {
        _ if is_unused => Vec::new(),
        (0, _) => vec![NO_HUGE_PAGES.note(Vec::new(), "no page of 2 MiB is reserved")],
        (total, 0) => vec![USED_UP.warning(Vec::new(), format!("all {total} pages of 2 MiB are in use"))],
        _ => Vec::new(),
    })
}
