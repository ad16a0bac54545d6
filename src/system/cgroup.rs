//! Reads the limit of huge pages that control groups set.

use serde::{Deserialize, Serialize};

use super::Limit;
use crate::error::Problems;
use crate::scan::root::HostRoot;
use crate::types::number;

const V2: &str = "sys/fs/cgroup";
const V1: &str = "sys/fs/cgroup/hugetlb";
/// cgroup v1 writes the highest number of whole pages for no limit.
const NO_LIMIT: u64 = 1 << 62;

/// The limit of huge pages of 2 MiB of a control group. A process that touches a page above the limit is ended by SIGBUS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HugePageLimit {
    /// The limit in bytes.
    pub limit: Limit,
    /// How often the kernel refused a page because of the limit. `None` if the kernel does not show it.
    pub refusals: Option<u64>,
}

/// Returns the limit of the control group that is mounted at `/sys/fs/cgroup`: in a container, the group of the
/// container. The root group of a host has no limit.
pub(super) fn of_mount(root: &HostRoot, problems: &mut Problems) -> Option<HugePageLimit> {
    lowest([v2(root, problems, V2), v1(root, problems, V1)])
}

/// Returns the lowest limit of the control groups of a process, from the text of its file `cgroup`: lines such as
/// `0::/kubepods/pod1` (v2) and `4:hugetlb:/kubepods/pod1` (v1).
pub(super) fn of_process(root: &HostRoot, problems: &mut Problems, cgroup: &str) -> Option<HugePageLimit> {
    let mut limits = vec![of_mount(root, problems)];
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        for group in groups(path) {
            if controllers.is_empty() {
                limits.push(v2(root, problems, &format!("{V2}{group}")));
            } else if controllers.split(',').any(|name| name == "hugetlb") {
                limits.push(v1(root, problems, &format!("{V1}{group}")));
            }
        }
    }
    lowest(limits)
}

/// Returns the path of a group and of the groups above it, without the root group. A path outside of the mounted groups
/// (`/../other`) gives none.
fn groups(path: &str) -> Vec<&str> {
    if path.split('/').any(|part| part == "..") {
        return Vec::new();
    }
    let mut groups = Vec::new();
    let mut group = path.trim_end_matches('/');
    while let Some((above, _)) = group.rsplit_once('/') {
        groups.push(group);
        group = above;
    }
    groups
}

fn lowest(limits: impl IntoIterator<Item = Option<HugePageLimit>>) -> Option<HugePageLimit> {
    limits.into_iter().flatten().min_by_key(|limit| limit.limit)
}

fn v2(root: &HostRoot, problems: &mut Problems, group: &str) -> Option<HugePageLimit> {
    let limit =
        problems.take(root.parse(&format!("{group}/hugetlb.2MB.max"), "a number of bytes or max", limit)).flatten()?;
    let events = problems.take(root.read(&format!("{group}/hugetlb.2MB.events"))).flatten();
    let refusals =
        events.as_deref().and_then(|events| events.lines().find_map(|line| number(line.strip_prefix("max ")?.trim())));
    Some(HugePageLimit { limit, refusals })
}

fn v1(root: &HostRoot, problems: &mut Problems, group: &str) -> Option<HugePageLimit> {
    let file = format!("{group}/hugetlb.2MB.limit_in_bytes");
    let limit = problems.take(root.parse(&file, "a number of bytes", limit)).flatten()?;
    let refusals = problems.take(root.parse(&format!("{group}/hugetlb.2MB.failcnt"), "a number", number)).flatten();
    Some(HugePageLimit { limit, refusals })
}

fn limit(text: &str) -> Option<Limit> {
    match text {
        "max" => Some(Limit::Unlimited),
        _ => number(text).map(|bytes: u64| if bytes >= NO_LIMIT { Limit::Unlimited } else { Limit::Bytes(bytes) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_the_path_and_the_paths_above() {
        assert_eq!(groups("/a/b"), ["/a/b", "/a"]);
        assert_eq!(groups("/"), [""; 0]);
        assert_eq!(groups("/../a"), [""; 0]);
    }

    #[test]
    fn limits_of_both_versions_are_read() {
        assert_eq!(limit("max"), Some(Limit::Unlimited));
        assert_eq!(limit("0"), Some(Limit::Bytes(0)));
        assert_eq!(limit("9223372036852678656"), Some(Limit::Unlimited));
        assert_eq!(limit("-1"), None);
    }
}
