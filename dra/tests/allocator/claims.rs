//! The claims that people write, from `tests/claims/`: what each gets, and a near miss that is refused.

use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::resource::v1::ResourceClaimSpec;
use nearfab_dra::model::Model;
use nearfab_dra::model::options::ServerVersion;
use serde::Deserialize;

use crate::cluster::{all_classes, gpu_slices};
use crate::hosts::{Mode, NODE, host};
use crate::judge::{Judge, Outcome};
use crate::{claim, slices, with_each_allocator};

/// A file of `tests/claims/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// The purpose of the claim.
    #[expect(dead_code, reason = "for readers of the file")]
    about: String,
    /// Where the claim is documented, if it is not this project's.
    #[expect(dead_code, reason = "for readers of the file")]
    source: Option<String>,
    /// The instance type of the node.
    host: String,
    /// The flags of the driver.
    mode: String,
    /// The claims, in order, on a node without other claims.
    steps: Vec<Step>,
    /// Claims of the same kind, of which the last one is refused.
    miss: Vec<Step>,
}

/// One claim, or the end of one.
#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Step {
    /// The claim gets devices, in the order of the requests.
    Gets { claim: ResourceClaimSpec, gets: Vec<String> },
    /// The claim is refused, for this reason.
    Refused { claim: ResourceClaimSpec, refused: String },
    /// The claim should get devices and is refused because of a defect of Kubernetes, as `kubernetes#140729`.
    Defect { claim: ResourceClaimSpec, defect: String },
    /// The allocator returns an error with this text instead of a refusal: the pod is given up on all nodes.
    Error { claim: ResourceClaimSpec, error: String },
    /// The claim of the step with this number, from 0, ends.
    Free { free: usize },
}

fn cases() -> Vec<(PathBuf, Case)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/claims");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let case = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, case)
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn each_claim_gets_what_it_is_for_and_a_near_miss_is_refused() {
    let cases = cases();
    assert!(cases.len() >= 40, "{} claims", cases.len());
    with_each_allocator(|version, judge| {
        for (path, case) in &cases {
            let mode = Mode::ALL.into_iter().find(|mode| mode.name() == case.mode);
            let mode = mode.unwrap_or_else(|| panic!("{}: no mode {:?}", path.display(), case.mode));
            let overlaps = matches!(mode, Mode::Shared | Mode::Partitions | Mode::PartitionsShared);
            if overlaps && version < ServerVersion::OVERLAPPING {
                continue;
            }
            let host = host(&case.host);
            let model = Model::new(&host, NODE, mode.options(), version);
            let slices = [slices(&model), gpu_slices(&host)].concat();
            for (name, steps) in [("steps", &case.steps), ("miss", &case.miss)] {
                judge.reset();
                judge.classes(&all_classes());
                judge.slices(&slices);
                let what = format!("{}, {name}, Kubernetes {version}", path.display());
                run(judge, steps, &what);
            }
            let fits = |step: &Step| matches!(step, Step::Gets { .. } | Step::Defect { .. });
            assert!(case.steps.iter().any(fits), "{}", path.display());
            let misses = |step: &Step| matches!(step, Step::Refused { .. } | Step::Error { .. });
            assert!(case.miss.last().is_some_and(misses), "{}", path.display());
        }
    });
}

/// The model of an older server has no device of the kinds that overlap, so each claim for them waits.
#[test]
fn an_older_server_gives_out_no_overlapping_device() {
    with_each_allocator(|version, judge| {
        if version >= ServerVersion::OVERLAPPING {
            return;
        }
        let host = host("trn2.48xlarge");
        judge.reset();
        judge.classes(&all_classes());
        judge.slices(&slices(&Model::new(&host, NODE, Mode::PartitionsShared.options(), version)));
        for class in ["neuron-half", "neuron-core", "group2", "group4", "group8", "group16", "node"] {
            let claim = crate::claim_of("uid", &format!("{class}.nearfab.dev"), 1);
            assert_eq!(judge.allocate(&claim, NODE), Outcome::Refused, "{class}");
        }
    });
}

fn run(judge: &mut Judge, steps: &[Step], what: &str) {
    for (number, step) in steps.iter().enumerate() {
        let what = format!("{what}, step {number}");
        let mut allocate = |spec: &ResourceClaimSpec| judge.allocate(&claim(&uid(number), spec.clone()), NODE);
        match step {
            Step::Gets { claim, gets } => {
                let outcome = allocate(claim);
                let Outcome::Allocated(devices) = &outcome else { panic!("{what}: {outcome:?}") };
                let names: Vec<&str> = devices.iter().map(|device| device.device.as_str()).collect();
                assert_eq!(names, *gets, "{what}");
            }
            Step::Refused { claim, refused: why } | Step::Defect { claim, defect: why } => {
                assert_eq!(allocate(claim), Outcome::Refused, "{what}: {why}");
            }
            Step::Error { claim, error: text } => {
                let outcome = allocate(claim);
                assert!(matches!(&outcome, Outcome::Error(error) if error.contains(text)), "{what}: {outcome:?}");
            }
            Step::Free { free } => judge.free(&uid(*free)),
        }
    }
}

fn uid(step: usize) -> String {
    format!("claim-{step}")
}
