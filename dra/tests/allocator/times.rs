//! How long the allocator takes for a claim, printed as a table: on 1, 4 and 16 nodes, for claims that fit and claims
//! that are refused.

use std::time::Duration;

use k8s_openapi::api::resource::v1::{DeviceConstraint, ResourceClaim};
use nearfab::Host;
use nearfab_dra::model::Model;
use nearfab_dra::model::options::ServerVersion;

use crate::cluster::all_classes;
use crate::hosts::{Mode, host};
use crate::judge::{Judge, Outcome};
use crate::{claim_of, slices, with_each_new_allocator};

/// The longest time that an attempt for one node may take for a claim by classes. The scheduler makes an attempt for each
/// node, and does nothing else meanwhile.
const LIMIT: Duration = Duration::from_millis(200);

/// The scheduler's own limit is 10 s. After it the pod is stopped on all nodes.
const NEAR_THE_TIMEOUT: Duration = Duration::from_secs(8);

/// A claim for devices of one class, or of two classes with an attribute in common.
struct Wish {
    name: &'static str,
    claim: ResourceClaim,
    limit: Duration,
}

fn by_class(name: &'static str, class: &str, count: i64) -> Wish {
    Wish { name, claim: claim_of("wish", &format!("{class}.nearfab.dev"), count), limit: LIMIT }
}

fn all(name: &'static str, class: &str) -> Wish {
    let mut wish = by_class(name, class, 1);
    let exactly =
        wish.claim.spec.as_mut().unwrap().devices.as_mut().unwrap().requests.as_mut().unwrap()[0].exactly.as_mut();
    let exactly = exactly.unwrap();
    exactly.count = None;
    exactly.allocation_mode = Some("All".to_owned());
    wish
}

fn pairs(name: &'static str, count: i64, attribute: Option<&str>, limit: Duration) -> Wish {
    let mut wish = by_class(name, "neuron", count);
    let devices = wish.claim.spec.as_mut().unwrap().devices.as_mut().unwrap();
    let requests = devices.requests.as_mut().unwrap();
    let mut efa = requests[0].clone();
    efa.name = "efa".to_owned();
    efa.exactly.as_mut().unwrap().device_class_name = "efa.nearfab.dev".to_owned();
    requests.push(efa);
    devices.constraints = attribute
        .map(|attribute| vec![DeviceConstraint { match_attribute: Some(attribute.to_owned()), ..Default::default() }]);
    Wish { limit, ..wish }
}

fn wishes(mode: Mode) -> Vec<Wish> {
    let group = |size: u32| format!("resource.aws.com/devicegroup{size}_id");
    let mut wishes = vec![
        by_class("1 Neuron", "neuron", 1),
        by_class("8 Neuron", "neuron", 8),
        all("all Neuron", "neuron"),
        by_class("1 EFA", "efa", 1),
        all("all EFA", "efa"),
        pairs("1 + 1 by group 1", 1, Some(&group(1)), LIMIT),
        pairs("4 + 4 by group 4", 4, Some(&group(4)), LIMIT),
        pairs("8 + 8 by group 8", 8, Some(&group(8)), NEAR_THE_TIMEOUT),
        pairs("16 + 16 by group 16", 16, Some(&group(16)), NEAR_THE_TIMEOUT),
        Wish { limit: NEAR_THE_TIMEOUT, ..by_class("16 Neuron", "neuron", 16) },
        Wish { limit: NEAR_THE_TIMEOUT, ..by_class("16 EFA", "efa", 16) },
    ];
    if mode == Mode::Partitions {
        for class in ["neuron-half", "neuron-core", "group2", "group4", "group8", "group16", "node"] {
            wishes.push(by_class(class, class, 1));
        }
    }
    wishes
}

#[test]
#[ignore = "it measures, for minutes and on a quiet machine: cargo test --test allocator -- --ignored"]
fn claims_are_answered_in_time() {
    with_each_new_allocator(|version, judge| {
        println!("Kubernetes {version}: the longest attempt for a node, in ms, by the number of nodes");
        println!("{:52} {:>8} {:>8} {:>8}", "node, mode, devices in use, claim", 1, 4, 16);
        for (instance_type, mode) in [
            ("trn2.48xlarge", Mode::Flat),
            ("trn2.48xlarge", Mode::Partitions),
            ("trn1.32xlarge", Mode::Flat),
            ("p5.48xlarge", Mode::EfaSets),
        ] {
            let host = host(instance_type);
            for used in ["none", "efa", "neuron"] {
                for wish in wishes(mode) {
                    measure(judge, &host, mode, used, &wish, version);
                }
            }
        }
    });
}

/// Prints the line of a claim.
fn measure(judge: &mut Judge, host: &Host, mode: Mode, used: &str, wish: &Wish, version: ServerVersion) {
    let instance_type = host.instance_type().unwrap();
    let mut row = format!("{:52}", format!("{instance_type}, {}, {used}, {}", mode.name(), wish.name));
    // A claim that backtracks takes as long on each further node.
    let counts: &[usize] = if wish.limit == LIMIT { &[1, 4, 16] } else { &[1] };
    for &nodes in counts {
        // A busy machine may interrupt an attempt, so a slow one is made again.
        let mut repeats = (0..3).map(|_| {
            prepare(judge, host, mode, nodes, used);
            attempts(judge, &wish.claim, nodes)
        });
        let mut best = repeats.next().unwrap();
        while best.1 >= wish.limit {
            let Some(next) = repeats.next() else { panic!("{row} {:?}, Kubernetes {version}", best.1) };
            best = best.min(next);
        }
        let (fits, longest) = best;
        row += &format!(" {:>8.1}", longest.as_secs_f64() * 1000.0);
        if Some(&nodes) == counts.last() {
            row += if fits { "" } else { " refused" };
        }
    }
    println!("{row}");
}

/// Publishes equal nodes, with one device of the class in use on each.
fn prepare(judge: &mut Judge, host: &Host, mode: Mode, nodes: usize, used: &str) {
    judge.reset();
    judge.classes(&all_classes());
    let name = |node: usize| format!("node{node}");
    let of_node = |node| slices(&Model::new(host, &name(node), mode.options(), ServerVersion::OVERLAPPING));
    judge.slices(&(0..nodes).flat_map(of_node).collect::<Vec<_>>());
    for node in (0..nodes).filter(|_| used != "none") {
        let claim = claim_of(&format!("used-{node}"), &format!("{used}.nearfab.dev"), 1);
        // A host without devices of the class has none in use.
        let _ = judge.allocate(&claim, &name(node));
    }
}

/// Tries a claim on one node after the other, as the scheduler does. Returns whether a node fits, and the longest attempt.
fn attempts(judge: &mut Judge, claim: &ResourceClaim, nodes: usize) -> (bool, Duration) {
    let mut longest = Duration::ZERO;
    for node in 0..nodes {
        let outcome = judge.allocate(claim, &format!("node{node}"));
        longest = longest.max(judge.last_attempt());
        match outcome {
            Outcome::Allocated(_) => return (true, longest),
            Outcome::Refused => {}
            Outcome::Error(error) => panic!("{error}"),
        }
    }
    (false, longest)
}
