//! What older API servers get.

use nearfab_dra::model::Model;
use nearfab_dra::model::options::ServerVersion;

use crate::hosts::{Mode, NODE, host};

#[test]
fn versions_are_compared_as_kubernetes_compares_them() {
    let version = |text: &str| text.parse::<ServerVersion>().unwrap();
    let ascending = ["v1.34.4", "v1.36.1", "v1.36.3-rc.0", "v1.36.3", "v1.36.10", "v1.37.0-beta.0", "v1.37.2"];
    for pair in ascending.windows(2) {
        assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
    }
    assert_eq!(version("v1.36.3-eks-3025e55"), version("1.36.3"));
    for bad in ["", "v1", "v1.36", "v1.36.x", "v1.36.3.4", "1.36+", "vv1.36.3"] {
        let error = bad.parse::<ServerVersion>().unwrap_err().to_string();
        assert!(error.contains(&format!("{bad:?}")), "{error}");
    }
}

#[test]
fn an_older_server_gets_nothing_that_overlaps_or_is_shared() {
    let host = host("trn2.48xlarge");
    for old in ["v1.34.4", "v1.36.1", "v1.36.3-rc.0"] {
        let old = old.parse().unwrap();
        for mode in Mode::ALL {
            let model = Model::new(&host, NODE, mode.options(), old);
            let is_same = !matches!(mode, Mode::Shared | Mode::Partitions | Mode::PartitionsShared);
            let expected = if is_same { mode.model(&host) } else { Mode::Flat.model(&host) };
            assert_eq!(model.pools, expected.pools, "{mode:?}");
            let problem = model.problems.iter().find(|problem| problem.contains("1.36.3 or later"));
            assert_eq!(problem.is_none(), is_same, "{mode:?}: {:?}", model.problems);
        }
    }
}
