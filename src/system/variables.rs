//! Environment variables of libfabric's efa provider.

use std::collections::BTreeMap;

use crate::tables::version_rules::Version;

/// Whose mere presence makes it abort.
const FORBIDDEN: [&str; 3] = ["FI_EFA_MTU_SIZE", "FI_EFA_TX_IOV_LIMIT", "FI_EFA_RX_IOV_LIMIT"];

/// Whether a child that this kernel forks leaves registered memory alone, with the variables that are set in the parent.
///
/// Kernels from 5.13 on copy such memory for the child. Older ones do so only for whom verbs was told to see to it; otherwise the
/// parent's next write moves a page away from the device, and libfabric's efa provider ends a parent that forks (abort). Source:
/// libfabric, `prov/efa/src/efa_fork_support.c`; libfabric issue 5857.
///
/// ```
/// use nearfab::system::is_fork_safe;
///
/// assert!(is_fork_safe(&"6.1.102-111.182.amzn2023.x86_64".parse()?, |_| false));
/// assert!(!is_fork_safe(&"5.10.230-223.885.amzn2.x86_64".parse()?, |_| false));
/// assert!(is_fork_safe(&"5.10.230-223.885.amzn2.x86_64".parse()?, |name| name == "FI_EFA_FORK_SAFE"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn is_fork_safe(kernel: &Version, is_set: impl Fn(&str) -> bool) -> bool {
    let copies = COPIES_FOR_CHILDREN.parse::<Version>().is_ok_and(|from| *kernel >= from);
    copies || FORK_SAFE.into_iter().any(is_set)
}

/// The first kernel that does.
const COPIES_FOR_CHILDREN: &str = "5.13";
const FORK_SAFE: [&str; 3] = ["FI_EFA_FORK_SAFE", "RDMAV_FORK_SAFE", "IBV_FORK_SAFE"];

/// The variables with which the efa provider ends the process (abort) at the first `fi_getinfo`, whatever provider is asked
/// for, each with what is wrong with its value. Source: `prov/efa/src/efa_env.c` and `efa_fork_support.c` of libfabric.
///
/// ```
/// use nearfab::system::aborting;
///
/// let environment = [("FI_EFA_IFACE", ""), ("FI_PROVIDER", "efa")].map(|(name, value)| (name.to_owned(), value.to_owned()));
/// let found = aborting(&environment.into());
/// assert_eq!(found, [("FI_EFA_IFACE".to_owned(), "its value is \"\"".to_owned())]);
/// ```
#[must_use]
pub fn aborting(environment: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let get = |name: &'static str| environment.get(name).map(|value| (name, value.as_str()));
    let mut bad: Vec<(&str, &str)> = FORBIDDEN.into_iter().filter_map(get).collect();
    bad.extend(get("FI_EFA_IFACE").filter(|(_, value)| value.is_empty()));
    let number = |value: &str| value.parse::<i64>().ok();
    bad.extend(get("FI_EFA_TX_MIN_CREDITS").filter(|(_, value)| number(value).is_some_and(|credits| credits <= 0)));
    let seen = |(name, value): (&str, &str)| (name.to_owned(), format!("its value is {value:?}"));
    let mut found: Vec<(String, String)> = bad.into_iter().map(seen).collect();
    // Verbs takes any value for yes.
    let fork_safe = get("FI_EFA_FORK_SAFE").is_some_and(|(_, value)| is_on(value))
        || get("RDMAV_FORK_SAFE").or_else(|| get("IBV_FORK_SAFE")).is_some();
    found.extend(get("FI_EFA_USE_HUGE_PAGE").filter(|(_, value)| fork_safe && is_on(value)).map(|(name, value)| {
        let seen = format!("its value is {value:?}, and fork safety is asked for, with which huge pages cannot be");
        (name.to_owned(), seen)
    }));
    found
}

/// What libfabric reads as yes.
fn is_on(value: &str) -> bool {
    ["1", "on", "true", "yes"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pairs: &[(&str, &str)]) -> Vec<String> {
        let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        aborting(&environment).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn what_aborts_is_told_from_what_does_not() {
        for (pairs, expected) in [
            (&[("FI_EFA_MTU_SIZE", "4096")][..], &["FI_EFA_MTU_SIZE"][..]),
            (
                &[("FI_EFA_TX_IOV_LIMIT", "1"), ("FI_EFA_RX_IOV_LIMIT", "")],
                &["FI_EFA_TX_IOV_LIMIT", "FI_EFA_RX_IOV_LIMIT"],
            ),
            (&[("FI_EFA_IFACE", "rdmap16s27")], &[]),
            (&[("FI_EFA_TX_MIN_CREDITS", "0")], &["FI_EFA_TX_MIN_CREDITS"]),
            (&[("FI_EFA_TX_MIN_CREDITS", "32")], &[]),
            (&[("FI_EFA_USE_HUGE_PAGE", "1")], &[]),
            (&[("FI_EFA_USE_HUGE_PAGE", "1"), ("RDMAV_FORK_SAFE", "0")], &["FI_EFA_USE_HUGE_PAGE"]),
            (&[("FI_EFA_USE_HUGE_PAGE", "0"), ("FI_EFA_FORK_SAFE", "1")], &[]),
            (&[("FI_EFA_USE_HUGE_PAGE", "on"), ("FI_EFA_FORK_SAFE", "0")], &[]),
        ] {
            assert_eq!(names(pairs), expected, "{pairs:?}");
        }
    }
}
