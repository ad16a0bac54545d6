//! The logical NeuronCore configuration (LNC): how many physical cores form one logical core of the Neuron runtime.
//!
//! The driver does not know the configuration. The configuration is set for a process, for a node, or not at all.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Problems;
use crate::scan::root::HostRoot;
use crate::types::number;

/// The environment variables that set the configuration. Both variables mean the same. The first variable that is set
/// counts.
const VARIABLES: [&str; 2] = ["NEURON_LOGICAL_NC_CONFIG", "NEURON_RT_VIRTUAL_CORE_SIZE"];
/// The file that sets the configuration of a node. In AWS's EKS guide, nodes write `NEURON_LOGICAL_NC_CONFIG=1` into
/// this file at start.
const NODE_FILE: &str = "opt/aws/neuron/logical_nc_config";

/// How many physical cores form one logical core, and the evidence for this number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Lnc {
    /// The number of physical cores of a logical core, 1 or 2.
    pub size: u32,
    /// The evidence for the size.
    pub evidence: LncEvidence,
}

/// The evidence for the logical core configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LncEvidence {
    /// An environment variable of this process, on the live machine.
    Environment {
        /// The name of the variable.
        variable: String,
    },
    /// The file that sets the configuration of the node.
    NodeFile,
    /// The product: its logical cores have one size only.
    Product,
    /// An assumption: the configuration is not set, and the runtime has this default for the product. A process can be
    /// started with another configuration.
    Assumed,
    /// Evidence that a newer nearfab recorded and this version does not know.
    #[serde(other)]
    Other,
}

impl fmt::Display for LncEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment { variable } => f.pad(&format!("environment {variable}")),
            Self::NodeFile => f.pad(&format!("node file /{NODE_FILE}")),
            Self::Product => f.pad("product"),
            Self::Assumed => f.pad("assumed"),
            Self::Other => f.pad("evidence of a newer nearfab"),
        }
    }
}

impl Lnc {
    /// Returns the default configuration of devices with this number of physical cores. Trainium2 and Trainium3 have
    /// eight cores, and the default is 2. Products with up to four cores have only the configuration 1.
    pub(crate) fn default_of(cores: u32) -> Self {
        match cores {
            8 => Self { size: 2, evidence: LncEvidence::Assumed },
            1..=4 => Self { size: 1, evidence: LncEvidence::Product },
            _ => Self { size: 1, evidence: LncEvidence::Assumed },
        }
    }

    /// Reads the configuration of a host whose devices have this number of cores. `environment` is the environment of
    /// this process if the host is the live machine, and empty for any other host.
    pub(crate) fn read(
        root: &HostRoot,
        problems: &mut Problems,
        environment: impl Fn(&str) -> Option<String>,
        cores: u32,
    ) -> Self {
        let default = Self::default_of(cores);
        if default.evidence == LncEvidence::Product {
            return default;
        }
        for variable in VARIABLES {
            let Some(text) = environment(variable) else { continue };
            match size(&text) {
                Some(size) => {
                    return Self { size, evidence: LncEvidence::Environment { variable: variable.to_owned() } };
                }
                None => problems.note(format!("the environment variable {variable} is {text:?}: expected 1 or 2")),
            }
        }
        let set = root.parse(NODE_FILE, "a line NEURON_LOGICAL_NC_CONFIG=1 or =2", of_file);
        match problems.take(set).flatten() {
            Some(size) => Self { size, evidence: LncEvidence::NodeFile },
            None => default,
        }
    }
}

/// Returns the size that the node's file sets. Programs append to the file, so the last line counts.
fn of_file(text: &str) -> Option<u32> {
    let value = |line: &str| line.trim().strip_prefix(VARIABLES[0])?.trim_start().strip_prefix('=').and_then(size);
    text.lines().rev().find_map(value)
}

/// Parses a size of 1 or 2.
fn size(text: &str) -> Option<u32> {
    number(text.trim()).filter(|size| (1..=2).contains(size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_in(environment: &[(&str, &str)], file: Option<&str>, cores: u32) -> (Lnc, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        if let Some(text) = file {
            let path = dir.path().join(NODE_FILE);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let root = HostRoot::open(dir.path()).unwrap();
        let mut problems = Problems::default();
        let variable = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let lnc = Lnc::read(&root, &mut problems, variable, cores);
        (lnc, problems.into_sentences())
    }

    #[test]
    fn environment_outranks_the_file_and_the_file_outranks_the_default() {
        let file = Some("NEURON_LOGICAL_NC_CONFIG=1");
        let (lnc, _) = read_in(&[("NEURON_LOGICAL_NC_CONFIG", "2")], file, 8);
        let variable = "NEURON_LOGICAL_NC_CONFIG".to_owned();
        assert_eq!(lnc, Lnc { size: 2, evidence: LncEvidence::Environment { variable } });
        let (lnc, _) = read_in(&[("NEURON_RT_VIRTUAL_CORE_SIZE", "1")], None, 8);
        assert_eq!(lnc.evidence.to_string(), "environment NEURON_RT_VIRTUAL_CORE_SIZE");
        let (lnc, _) = read_in(&[], file, 8);
        assert_eq!(lnc, Lnc { size: 1, evidence: LncEvidence::NodeFile });
        let (lnc, problems) = read_in(&[], None, 8);
        assert_eq!(lnc, Lnc { size: 2, evidence: LncEvidence::Assumed });
        assert_eq!(problems, [""; 0]);
    }

    #[test]
    fn product_without_a_choice_ignores_environment_and_file() {
        let (lnc, problems) = read_in(&[("NEURON_LOGICAL_NC_CONFIG", "2")], Some("garbage"), 2);
        assert_eq!((lnc.size, lnc.evidence, problems.len()), (1, LncEvidence::Product, 0));
    }

    #[test]
    fn invalid_value_is_a_problem_and_the_next_source_counts() {
        let (lnc, problems) = read_in(&[("NEURON_LOGICAL_NC_CONFIG", "4")], Some("NEURON_LOGICAL_NC_CONFIG=1\n"), 8);
        assert_eq!(lnc.evidence, LncEvidence::NodeFile);
        assert!(problems[0].contains("NEURON_LOGICAL_NC_CONFIG is \"4\""), "{problems:?}");
        let (lnc, problems) = read_in(&[], Some("lnc: 1"), 8);
        assert_eq!(lnc.evidence, LncEvidence::Assumed);
        assert!(problems[0].contains("logical_nc_config: expected"), "{problems:?}");
    }

    #[test]
    fn last_line_of_the_file_counts() {
        assert_eq!(of_file("# LNC\nNEURON_LOGICAL_NC_CONFIG=2\nNEURON_LOGICAL_NC_CONFIG=1"), Some(1));
    }

    proptest! {
        #[test]
        fn last_valid_line_of_the_file_counts(text in "(( ?NEURON_LOGICAL_NC_CONFIG ?= ?[0-3+]{0,2}|\\PC{0,9})\n){0,5}|\\PC*") {
            let mut plain = None;
            for line in text.lines() {
                let (name, value) = line.split_once('=').unwrap_or_default();
                if name.trim() == "NEURON_LOGICAL_NC_CONFIG" {
                    plain = match value.trim().trim_start_matches('0') {
                        "1" => Some(1),
                        "2" => Some(2),
                        _ => plain,
                    };
                }
            }
            prop_assert_eq!(of_file(&text), plain);
        }
    }
}
