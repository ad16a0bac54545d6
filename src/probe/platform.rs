//! Machines that are one with others: on those even closing a node is felt.

use crate::error::{Error, Result};
use crate::root::HostRoot;

/// Products that the driver (2.30) takes for a part of an UltraServer, or of a pod behind switches.
const JOINED: [&str; 14] = [
    "trn2eu.48xlarge",
    "trn2p.48xlarge",
    "trn2u-ac.24xlarge",
    "trn2u.48xlarge",
    "trn3p.48xlarge",
    "trn2en.24xlarge",
    "trn2es.48xlarge",
    "trn3-dev0.48xlarge",
    "trn3-dev1.48xlarge",
    "trn3.48xlarge",
    "trn3e.24xlarge",
    "trn3s-es.48xlarge",
    "trn3sn-es.48xlarge",
    "trn3sn.48xlarge",
];

/// Families that such products are in, and the products in them that stand alone.
const FAMILIES: [&str; 2] = ["trn2", "trn3"];
const ALONE: [&str; 6] =
    ["trn2.3xlarge", "trn2.48xlarge", "trn3pd98.3xlarge", "trn3s-es.3xlarge", "trn3sn-es.3xlarge", "trn3sn.3xlarge"];

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
                 probed all the same (ProbeOptions::even_on_pods)"
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
    if JOINED.contains(&product) {
        Some(format!("{product} is a part of an UltraServer or pod"))
    } else if forced {
        Some(format!("the driver is told to take this {product} for a part of an UltraServer (force_userver)"))
    } else if FAMILIES.iter().any(|family| product.starts_with(family)) && !ALONE.contains(&product) {
        Some(format!("{product} is new to nearfab and may be a part of an UltraServer or pod"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_that_stand_alone_are_probed() {
        for product in ALONE.iter().chain(&["trn1.32xlarge", "trn1n.32xlarge", "inf2.48xlarge", "inf1.24xlarge"]) {
            assert_eq!(reason(Some(product), false), None);
        }
    }

    #[test]
    fn parts_of_others_are_not() {
        for product in JOINED {
            assert!(reason(Some(product), false).unwrap().starts_with(&format!("{product} is a part")));
            assert!(!ALONE.contains(&product));
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
