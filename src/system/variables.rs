//! Environment variables of libfabric's efa provider and of libibverbs.

use std::collections::BTreeMap;

use crate::tables::version_rules::Version;

/// The variables that make the efa provider abort if they are set, to any value.
const FORBIDDEN: [&str; 3] = ["FI_EFA_MTU_SIZE", "FI_EFA_TX_IOV_LIMIT", "FI_EFA_RX_IOV_LIMIT"];

/// Returns whether a process with registered memory can fork on this kernel. `variable` returns the value of an
/// environment variable of the process.
///
/// Kernels from 5.13 on copy registered memory for the child. On older kernels the process must request fork safety by
/// a variable:
/// - `RDMAV_FORK_SAFE` or `IBV_FORK_SAFE`, which libibverbs reads: set to any value;
/// - `FI_EFA_FORK_SAFE`, which libfabric reads: set to `1`, `on`, `true` or `yes`, in any case.
///
/// Otherwise the parent's next write to a page moves the page away from the device, and libfabric's efa provider aborts
/// a parent that forks. Source: libfabric, `prov/efa/src/efa_fork_support.c`; libfabric issue 5857.
///
/// ```
/// use nearfab::system::is_fork_safe;
///
/// let (old, new) = ("5.10.230-223.885.amzn2.x86_64".parse()?, "6.1.102-111.182.amzn2023.x86_64".parse()?);
/// assert!(is_fork_safe(&new, |_| None));
/// assert!(!is_fork_safe(&old, |_| None));
/// let set_to = |value: &'static str| move |name: &str| (name == "FI_EFA_FORK_SAFE").then(|| value.to_owned());
/// assert!(is_fork_safe(&old, set_to("1")));
/// assert!(!is_fork_safe(&old, set_to("0")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn is_fork_safe(kernel: &Version, variable: impl Fn(&str) -> Option<String>) -> bool {
    let copies = COPIES_FOR_CHILDREN.parse::<Version>().is_ok_and(|from| *kernel >= from);
    copies || asks_for_fork_safety(variable)
}

/// The first kernel that copies registered memory for a child.
const COPIES_FOR_CHILDREN: &str = "5.13";

/// Returns whether the environment requests fork safety. Only this function reads these variables. libfabric parses the
/// value of `FI_EFA_FORK_SAFE`; libibverbs accepts any value of `RDMAV_FORK_SAFE` and `IBV_FORK_SAFE`, even `0`.
pub(crate) fn asks_for_fork_safety(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("FI_EFA_FORK_SAFE").is_some_and(|value| is_on(&value))
        || ["RDMAV_FORK_SAFE", "IBV_FORK_SAFE"].into_iter().any(|name| variable(name).is_some())
}

/// Returns the variables that make the efa provider abort the process at the first `fi_getinfo`, for any requested
/// provider. Each variable comes with a description of its invalid value. Source: `prov/efa/src/efa_env.c` and
/// `efa_fork_support.c` of libfabric.
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
    let fork_safe = asks_for_fork_safety(|name| environment.get(name).cloned());
    found.extend(get("FI_EFA_USE_HUGE_PAGE").filter(|(_, value)| fork_safe && is_on(value)).map(|(name, value)| {
        let seen =
            format!("its value is {value:?}, and another variable asks for fork safety, which excludes huge pages");
        (name.to_owned(), seen)
    }));
    found
}

/// Returns whether libfabric reads a value as true.
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
    fn variables_that_abort_the_process_are_found() {
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

    #[test]
    fn fork_safety_follows_the_value_for_libfabric_and_the_presence_for_libibverbs() {
        let old_kernel = "5.10.230".parse().unwrap();
        for (variable, value, expected) in [
            ("FI_EFA_FORK_SAFE", "1", true),
            ("FI_EFA_FORK_SAFE", "Yes", true),
            ("FI_EFA_FORK_SAFE", "0", false),
            ("FI_EFA_FORK_SAFE", "off", false),
            ("FI_EFA_FORK_SAFE", "", false),
            ("RDMAV_FORK_SAFE", "0", true),
            ("IBV_FORK_SAFE", "", true),
            ("FORK_SAFE", "1", false),
        ] {
            let is_safe = is_fork_safe(&old_kernel, |name| (name == variable).then(|| value.to_owned()));
            assert_eq!(is_safe, expected, "{variable}={value:?}");
            // With huge pages the efa provider aborts exactly if fork safety is on.
            let aborts = !names(&[(variable, value), ("FI_EFA_USE_HUGE_PAGE", "1")]).is_empty();
            assert_eq!(aborts, expected, "{variable}={value:?}");
        }
    }
}
