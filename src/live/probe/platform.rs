//! Machines that are one with others: on those even closing a node is felt.

use crate::error::{Error, Result};
use crate::scan::root::HostRoot;
use crate::tables::instances::Platform;

/// The families in which there are machines that are joined to others.
const FAMILIES: [&str; 2] = ["trn2", "trn3"];

/// Makes the driver treat any machine as a part of an UltraServer. Only root may read it.
const FORCED: &str = "sys/module/neuron/parameters/force_userver";

/// Refuses where probing is felt by others, or may be.
pub(super) fn check(root: &HostRoot, product: Option<&str>) -> Result<()> {
    let forced = root.read(FORCED).ok().flatten().is_some_and(|value| value != "0");
    match reason(product, forced) {
        None => Ok(()),
        Some(reason) => Err(Error::ProbeRefused {
            reason: format!(
                "{reason}, where closing a device node changes what other processes see; where that does no harm, have it \
                 probed all the same (--probe=even-on-pods, ProbeOptions::even_on_pods)"
            ),
        }),
    }
}

fn reason(product: Option<&str>, forced: bool) -> Option<String> {
    let Some(product) = product else {
        return Some(
            "the firmware does not say what this machine is, so it may be a part of an UltraServer or pod".into(),
        );
    };
    match Platform::named(product) {
        Some(Platform::UltraServer | Platform::Pds | Platform::Max) => {
            Some(format!("{product} is a part of an UltraServer or pod"))
        }
        _ if forced => {
            Some(format!("the driver is told to take this {product} for a part of an UltraServer (force_userver)"))
        }
        None if FAMILIES.iter().any(|family| product.starts_with(family)) => {
            Some(format!("{product} is new to nearfab and may be a part of an UltraServer or pod"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_that_stand_alone_are_probed() {
        let alone = ["trn2.3xlarge", "trn2.48xlarge", "trn3pd98.3xlarge", "trn3sn.3xlarge"];
        for product in alone.iter().chain(&["trn1.32xlarge", "trn1n.32xlarge", "inf2.48xlarge", "inf1.24xlarge"]) {
            assert_eq!(reason(Some(product), false), None);
        }
    }

    #[test]
    fn parts_of_others_are_not() {
        for product in ["trn2u.48xlarge", "trn2u-ac.24xlarge", "trn3p.48xlarge", "trn3.48xlarge", "trn2en.24xlarge"] {
            assert!(reason(Some(product), false).unwrap().starts_with(&format!("{product} is a part")));
        }
        for (product, forced, words) in [
            (Some("trn3z.48xlarge"), false, "trn3z.48xlarge is new to nearfab"),
            (Some("trn2.48xlarge"), true, "force_userver"),
            (None, false, "does not say"),
        ] {
            assert!(reason(product, forced).unwrap().contains(words));
        }
    }
}
