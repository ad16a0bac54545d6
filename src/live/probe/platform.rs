//! Refuses to probe members of UltraServers and pods: closing a device node on one member affects the other members.

use crate::error::{Error, Result};
use crate::scan::root::HostRoot;
use crate::tables::instances::Platform;

/// The families whose machines are never members. The driver's code for these families knows no UltraServer, and
/// ignores [`FORCED`].
const FAMILIES_WITHOUT_MEMBERS: [&str; 4] = ["inf1", "inf2", "trn1", "trn1n"];

/// The parameter that makes the driver treat any trn2 machine as a member of an UltraServer. Only root can read the
/// parameter.
const FORCED: &str = "sys/module/neuron/parameters/force_userver";

/// The driver's class attributes. All drivers from 2.30 on have [`SINCE_230`]. Such a driver has [`OF_MEMBERS`] only if
/// it treats the machine as a member of an UltraServer or pod. Older drivers have [`OF_MEMBERS`] on every machine.
/// Source: Neuron driver 2.24.7 and 2.30.2.
const CLASS: &str = "sys/class/neuron_device";
const SINCE_230: &str = "hbm_7200_capable";
const OF_MEMBERS: &str = "ultraserver_mode";

/// Fails if probing affects other machines, or may do so.
pub(super) fn check(root: &HostRoot, product: Option<&str>) -> Result<()> {
    match refusal(product, is_forced(root)) {
        None => Ok(()),
        Some(Refusal { reason, allow_if }) => Err(Error::ProbeRefused {
            reason: format!(
                "{reason}, and on a member closing a device node changes what the other members see. {allow_if}, \
                 allow it (--probe=even-on-pods, ProbeOptions::even_on_pods)"
            ),
        }),
    }
}

/// Returns whether the driver was configured to treat this machine as a member of an UltraServer; `None` if this user
/// cannot find out.
fn is_forced(root: &HostRoot) -> Option<bool> {
    let parameter = root.read(FORCED);
    let attributes = root.list(CLASS).unwrap_or_default();
    let has = |attribute: &str| attributes.iter().any(|name| name == attribute);
    match parameter {
        Ok(Some(value)) if value != "0" => Some(true),
        // The driver read the parameter when it was loaded. Root may have changed the parameter since.
        _ if has(SINCE_230) => Some(has(OF_MEMBERS)),
        Ok(_) => Some(false), // 0, or a driver without the parameter.
        Err(_) => None,
    }
}

/// Why a machine must not be probed, and when it may be probed nevertheless.
struct Refusal {
    reason: String,
    allow_if: &'static str,
}

/// Returns why a machine must not be probed. `forced` is the answer of [`is_forced`].
fn refusal(product: Option<&str>, forced: Option<bool>) -> Option<Refusal> {
    let is_without_members =
        |product: &str| product.split('.').next().is_some_and(|family| FAMILIES_WITHOUT_MEMBERS.contains(&family));
    let reason = match (product, product.and_then(Platform::named)) {
        (None, _) => {
            "the firmware does not name this machine's instance type, so it may be a member of an UltraServer or pod"
                .into()
        }
        (Some(product), Some(Platform::UltraServer | Platform::Pds | Platform::Max)) => {
            format!("{product} is a member of an UltraServer or pod")
        }
        (Some(product), None) if is_without_members(product) => return None,
        (Some(product), None) => format!("{product} is new to nearfab and may be a member of an UltraServer or pod"),
        (Some(product), Some(Platform::Single | Platform::Standard)) => match forced {
            Some(false) => return None,
            Some(true) => {
                format!(
                    "the Neuron driver is configured to treat this {product} as a member of an UltraServer \
                     (force_userver)"
                )
            }
            None => {
                let reason = format!(
                    "this {product} may be configured as a member of an UltraServer, which only root can read \
                     (/{FORCED})"
                );
                return Some(Refusal { reason, allow_if: "Run as root; or, if root reads 0 in that file" });
            }
        },
    };
    Some(Refusal { reason, allow_if: "If that does no harm" })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Makes a machine whose driver has these class attributes, and whose parameter has this value. If `parameter` is
    /// `None`, a folder takes the parameter's place, so that not even root can read it.
    fn machine(class: &[&str], parameter: Option<&str>) -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        let path = tree.path().join(FORCED);
        match parameter {
            Some(value) => {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, value).unwrap();
            }
            None => fs::create_dir_all(path).unwrap(),
        }
        fs::create_dir_all(tree.path().join(CLASS)).unwrap();
        for attribute in class {
            fs::write(tree.path().join(CLASS).join(attribute), "0\n").unwrap();
        }
        tree
    }

    fn check_on(machine: &tempfile::TempDir, product: &str) -> Option<String> {
        let root = HostRoot::open(machine.path()).unwrap();
        check(&root, Some(product)).err().map(|error| error.to_string())
    }

    #[test]
    fn machines_outside_ultraservers_are_probed() {
        let standard = ["trn2.3xlarge", "trn2.48xlarge", "trn3pd98.3xlarge", "trn3sn.3xlarge"];
        for product in standard.iter().chain(&["trn1.32xlarge", "trn1n.32xlarge", "inf2.48xlarge", "inf1.24xlarge"]) {
            assert!(refusal(Some(product), Some(false)).is_none());
        }
    }

    #[test]
    fn members_and_unknown_types_are_refused() {
        for product in ["trn2u.48xlarge", "trn2u-ac.24xlarge", "trn3p.48xlarge", "trn3.48xlarge", "trn2en.24xlarge"] {
            assert!(refusal(Some(product), Some(false)).unwrap().reason.starts_with(&format!("{product} is a member")));
        }
        for (product, forced, words) in [
            (Some("trn3z.48xlarge"), Some(false), "trn3z.48xlarge is new to nearfab"),
            (Some("trn4.48xlarge"), Some(false), "trn4.48xlarge is new to nearfab"),
            (Some("trn2.48xlarge"), Some(true), "force_userver"),
            (None, Some(false), "does not name"),
        ] {
            assert!(refusal(product, forced).unwrap().reason.contains(words));
        }
    }

    /// Drivers up to 2.26 have `ultraserver_mode` on every machine.
    const OLD: &[&str] = &[OF_MEMBERS];

    #[test]
    fn users_who_cannot_read_the_parameter_are_refused_where_it_matters() {
        let machine = machine(OLD, None);
        for product in ["trn2.48xlarge", "trn2.3xlarge", "trn3pd98.3xlarge"] {
            let refusal = check_on(&machine, product).unwrap();
            assert!(refusal.contains("only root can read (/sys/module/neuron/parameters/force_userver)"), "{refusal}");
            assert!(refusal.contains("Run as root"), "{refusal}");
            assert!(refusal.contains("--probe=even-on-pods"), "{refusal}");
        }
        for product in ["trn1.2xlarge", "trn1n.32xlarge", "inf2.48xlarge", "inf1.xlarge"] {
            assert_eq!(check_on(&machine, product), None);
        }
    }

    #[test]
    fn drivers_from_230_on_show_every_user_whether_the_machine_is_a_member() {
        assert_eq!(check_on(&machine(&[SINCE_230], None), "trn2.48xlarge"), None);
        let refusal = check_on(&machine(&[SINCE_230, OF_MEMBERS], None), "trn2.48xlarge").unwrap();
        assert!(refusal.contains("is configured to treat this trn2.48xlarge as a member"), "{refusal}");
    }

    #[test]
    fn the_parameter_decides_where_it_can_be_read() {
        assert_eq!(check_on(&machine(OLD, Some("0\n")), "trn2.48xlarge"), None);
        for class in [OLD, &[SINCE_230]] {
            let refusal = check_on(&machine(class, Some("1\n")), "trn2.48xlarge").unwrap();
            assert!(refusal.contains("force_userver"), "{refusal}");
        }
        // The parameter was set when the driver was loaded, and was set back.
        assert!(check_on(&machine(&[SINCE_230, OF_MEMBERS], Some("0\n")), "trn2.48xlarge").is_some());
    }
}
