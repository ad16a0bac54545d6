//! Memory that devices use: how much may be locked, and huge pages.

use nearfab::system::Limit;

use super::case::{Case, Skip, name_of};
use super::finding::{Check, Complaint, Finding};

const LOW: Complaint = Complaint {
    id: "memlock-low",
    means: "Memory that a device reads and writes is locked. Beyond the limit, registering it and making queues fails with \
            'Cannot allocate memory' (-12), and libraries fail or abort without naming the limit.",
    action: "Set the limit to unlimited: in /etc/security/limits.d for logins (memlock), LimitMEMLOCK=infinity in the unit of a \
             service, and in that of containerd or docker for containers; Kubernetes and CDI have no field for it.",
    source: "awsome-distributed-ai issue 647; aws-cdi-sdk issue 48; aws-ofi-nccl issue 107.",
};
const NO_HUGE_PAGES: Complaint = Complaint {
    id: "huge-pages-none",
    means: "libfabric's efa provider takes ordinary pages for its buffers: slower, and everything works.",
    action: "Reserve pages of 2 MiB (vm.nr_hugepages), 110 MiB for each of two endpoints and core as AWS's installer does.",
    source: "AWS EFA installer, efa-config; libfabric, parameter use_huge_page of the efa provider.",
};
const USED_UP: Complaint = Complaint {
    id: "huge-pages-used-up",
    means: "A process whose buffers are in huge pages needs more of them when it forks: os.fork then fails with 'Cannot allocate \
            memory', as in workers of a data loader. New endpoints take ordinary pages.",
    action: "Set FI_EFA_USE_HUGE_PAGE=0 for processes that fork, or reserve more pages (vm.nr_hugepages).",
    source: "awsome-distributed-ai, EFA cheat sheet: FI_EFA_USE_HUGE_PAGE.",
};

pub(super) const LOCKED: Check = Check { name: "locked memory", complaints: || vec![LOW], run: locked };
pub(super) const HUGE_PAGES: Check =
    Check { name: "huge pages", complaints: || vec![NO_HUGE_PAGES, USED_UP], run: huge_pages };

/// The most that kernels give by default: 64 KiB, and 8 MiB since 5.16.
const DEFAULT: u64 = 8 << 20;
/// The pages that the efa provider uses.
const PAGE: u64 = 2 << 20;

fn locked(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    case.efa()?;
    let process = case.process()?;
    let limit =
        process.locked_memory.ok_or_else(|| Skip::NotKnown("the limits of the process are not known".into()))?;
    let Limit::Bytes(bytes) = limit else { return Ok(Vec::new()) };
    let seen = format!("{limit} may be locked");
    let subjects = name_of(process);
    Ok(vec![match process.may_exceed {
        Some(true) => LOW.note(subjects, format!("{seen}; CAP_IPC_LOCK lifts that here, and not for users without it")),
        _ if bytes > DEFAULT => LOW.warning(subjects, seen),
        _ => LOW.problem(subjects, format!("{seen}, no more than the kernel's default")),
    }])
}

fn huge_pages(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    case.efa()?;
    let pages = case.around()?.huge_pages.iter().find(|pages| pages.size == PAGE);
    let pages = pages.ok_or_else(|| Skip::NotKnown("sys/kernel/mm/hugepages shows no pages of 2 MiB".into()))?;
    let unused = case.variable("FI_EFA_USE_HUGE_PAGE") == Some("0");
    Ok(match (pages.total, pages.free) {
        _ if unused => Vec::new(),
        (0, _) => vec![NO_HUGE_PAGES.note(Vec::new(), "no page of 2 MiB is reserved")],
        (total, 0) => vec![USED_UP.warning(Vec::new(), format!("all {total} pages of 2 MiB are in use"))],
        _ => Vec::new(),
    })
}
