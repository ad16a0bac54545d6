//! The logical NeuronCore configuration (LNC): how many physical cores the runtime makes one logical core of.
//!
//! The driver knows nothing of it: it is set for a process, for a node, or not at all.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Problems;
use crate::scan::root::HostRoot;
use crate::types::number;

/// The variables that set it, equal in meaning, in the order in which they are asked.
const VARIABLES: [&str; 2] = ["NEURON_LOGICAL_NC_CONFIG", "NEURON_RT_VIRTUAL_CORE_SIZE"];
/// AWS's EKS guide has nodes write `NEURON_LOGICAL_NC_CONFIG=1` into it when they start.
const NODE_FILE: &str = "opt/aws/neuron/logical_nc_config";

/// How many physical cores make one logical core, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lnc {
    /// 1 or 2.
    pub size: u32,
    /// How that is known.
    pub evidence: LncEvidence,
}

/// How the logical core configuration is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
#[non_exhaustive]
pub enum LncEvidence {
    /// An environment variable of this process, on the live machine.
    Environment {
        /// Its name.
        variable: String,
    },
    /// The file that sets it for the node.
    NodeFile,
    /// The product has logical cores of one size only.
    Product,
    /// Nobody set it: the runtime's default for the product. A process may still be started with another.
    Assumed,
    /// Something that this version does not know, by a newer version's record.
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
    /// What holds for devices with so many physical cores where nobody set it: Trainium2 and Trainium3, the products
    /// with eight, default to 2; those with up to four have 1 and no choice.
    pub(crate) fn default_of(cores: u32) -> Self {
        match cores {
            8 => Self { size: 2, evidence: LncEvidence::Assumed },
            1..=4 => Self { size: 1, evidence: LncEvidence::Product },
            _ => Self { size: 1, evidence: LncEvidence::Assumed },
        }
    }

    /// The configuration of a host whose devices have so many cores. `environment` is that of this process where the host
    /// is the machine that it runs on, and empty for any other.
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
                None => problems.note(format!("the environment has {variable}={text:?}, which is neither 1 nor 2")),
            }
        }
        let set = root.parse(NODE_FILE, "a line NEURON_LOGICAL_NC_CONFIG=1 or =2", of_file);
        match problems.take(set).flatten() {
            Some(size) => Self { size, evidence: LncEvidence::NodeFile },
            None => default,
        }
    }
}

/// The file is made by appending, so its last line is the latest.
fn of_file(text: &str) -> Option<u32> {
    let value = |line: &str| line.trim().strip_prefix(VARIABLES[0])?.trim_start().strip_prefix('=').and_then(size);
    text.lines().rev().find_map(value)
}

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
    fn environment_stands_above_the_file_and_that_above_the_default() {
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
    fn product_without_a_choice_is_asked_nothing() {
        let (lnc, problems) = read_in(&[("NEURON_LOGICAL_NC_CONFIG", "2")], Some("garbage"), 2);
        assert_eq!((lnc.size, lnc.evidence, problems.len()), (1, LncEvidence::Product, 0));
    }

    #[test]
    fn nonsense_is_named_and_the_next_source_is_asked() {
        let (lnc, problems) = read_in(&[("NEURON_LOGICAL_NC_CONFIG", "4")], Some("NEURON_LOGICAL_NC_CONFIG=1\n"), 8);
        assert_eq!(lnc.evidence, LncEvidence::NodeFile);
        assert!(problems[0].contains("NEURON_LOGICAL_NC_CONFIG=\"4\""), "{problems:?}");
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
        fn no_file_panics(text in "\\PC*") {
            let _ = of_file(&text);
        }
    }
}
