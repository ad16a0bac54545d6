//! Random sequences of claims, their ends and changes of the driver: no piece of hardware is given out twice.
//!
//! `SEQUENCES` is the number of sequences, and `SEED` the first seed. A failure prints the seed of its sequence.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use k8s_openapi::api::resource::v1::{DeviceRequest, DeviceRequestAllocationResult, ResourceClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use nearfab::{Bdf, Host};
use nearfab_dra::model::hardware::Hardware;
use nearfab_dra::model::options::{EfaForm, Form, Options, Published, ServerVersion};
use nearfab_dra::model::slices::Pool;
use nearfab_dra::model::{Model, unit_of};

use crate::cluster::all_classes;
use crate::hosts::{NODE, host, host_edited, host_with};
use crate::judge::{Judge, Outcome};
use crate::{claim_of, programs, slices};

/// The number of steps of a sequence.
const STEPS: usize = 24;

/// A generator of random numbers (SplitMix64), the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let limit = u64::try_from(limit).unwrap();
        usize::try_from((mixed ^ (mixed >> 31)) % limit).unwrap()
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// The defect that a test puts into the driver to see whether the sequences find it.
#[derive(Clone, Copy, PartialEq)]
enum Defect {
    None,
    /// The driver does not keep devices that are allocated.
    NotKeeping,
    /// A whole Neuron device consumes the counter of one of its halves only.
    WrongCounter,
}

/// What a claim has of the hardware.
#[derive(Debug)]
struct Given {
    driver: String,
    device: String,
    /// The share of the bandwidth, in percent; 100 for a device that is not shared.
    percent: u64,
}

/// The states of a trn2.48xlarge: whole, with a failed Neuron device, with an interface that a virtual machine has, and
/// with logical cores of one physical core.
fn trn2() -> Vec<Host> {
    let with = |defect: &str| host_with("trn2.48xlarge", &[defect.parse().unwrap()]);
    let lnc1 = host_edited("trn2.48xlarge", &[], |root| {
        let folder = root.join("opt/aws/neuron");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("logical_nc_config"), "NEURON_LOGICAL_NC_CONFIG=1\n").unwrap();
    });
    vec![host("trn2.48xlarge"), with("neuron-node-missing=5"), with("efa-vfio=0000:c9:00.0"), lnc1]
}

/// The states of a p5.48xlarge: whole, and with an interface that a virtual machine has.
fn p5() -> Vec<Host> {
    let efa = host("p5.48xlarge").efa_interfaces()[0].address();
    let with = |defect: String| host_with("p5.48xlarge", &[defect.parse().unwrap()]);
    vec![host("p5.48xlarge"), with(format!("efa-vfio={efa}"))]
}

/// Runs a sequence. Returns what it did if a piece of hardware is given out twice.
fn sequence(
    seed: u64,
    version: ServerVersion,
    judge: &mut Judge,
    hosts: &[Host],
    defect: Defect,
) -> Result<(), String> {
    let mut random = Random(seed);
    let mut steps: Vec<String> = Vec::new();
    let mut claims: BTreeMap<String, Vec<Given>> = BTreeMap::new();
    let mut published = Model { pools: Vec::new(), problems: Vec::new() };
    let mut options = Options::default();
    judge.reset();
    judge.classes(&all_classes());
    for step in 0..STEPS {
        match if step == 0 { 9 } else { random.below(10) } {
            0..6 => {
                let (uid, claim) = random_claim(&mut random, step, options);
                match judge.allocate(&claim, NODE) {
                    Outcome::Allocated(devices) => {
                        let given = |device: &DeviceRequestAllocationResult| Given {
                            driver: device.driver.clone(),
                            device: device.device.clone(),
                            percent: percent(device),
                        };
                        let given: Vec<Given> = devices.iter().map(given).collect();
                        steps.push(format!("allocate {uid}: {given:?}"));
                        claims.insert(uid, given);
                    }
                    Outcome::Refused => {}
                    Outcome::Error(error) => panic!("seed {seed}: {error}: {claim:?}"),
                }
            }
            6..8 => {
                let uids: Vec<&String> = claims.keys().collect();
                if !uids.is_empty() {
                    let uid = uids[random.below(uids.len())].clone();
                    steps.push(format!("free {uid}"));
                    judge.free(&uid);
                    claims.remove(&uid);
                }
            }
            _ => {
                // Another flag, a failed or returned device, another configuration of the node, a version that differs.
                let host = &hosts[random.below(hosts.len())];
                options = random_options(&mut random);
                let server = random.one_of(&[version, version, version, "v1.36.1".parse().unwrap()]);
                let new = Model::new(host, NODE, options, server);
                steps.push(format!("publish {options:?} for {server}"));
                published = publish(host, &published, &new, &claims, defect);
                judge.slices(&slices(&published));
            }
        }
        if let Some(twice) = given_twice(&hosts[0], &claims) {
            return Err(format!("seed {seed}, step {step}: {twice}\n{}", steps.join("\n")));
        }
    }
    Ok(())
}

/// Returns the part of the bandwidth that a claim has of a device.
fn percent(device: &DeviceRequestAllocationResult) -> u64 {
    let consumed = device.consumed_capacity.as_ref().and_then(|consumed| consumed.get("bandwidthPercent"));
    consumed.map_or(100, |value| value.0.parse().unwrap())
}

fn publish(
    host: &Host,
    published: &Model,
    new: &Model,
    claims: &BTreeMap<String, Vec<Given>>,
    defect: Defect,
) -> Model {
    let held: BTreeSet<_> =
        claims.values().flatten().map(|given| (given.driver.clone(), given.device.clone())).collect();
    let mut model = match defect {
        Defect::NotKeeping => new.clone(),
        _ => {
            let before: Vec<_> = published.pools.iter().flat_map(Pool::slices).collect();
            let before = Pool::from_slices(&["nearfab.dev", "neuron.aws.com", "dra.net"], &before);
            new.clone().keeping(&Hardware::of(host, Published::Both), &before, &held)
        }
    };
    if defect == Defect::WrongCounter {
        let devices = model.pools.iter_mut().flat_map(|pool| &mut pool.devices);
        for set in devices
            .filter(|device| device.name.starts_with("neuron-"))
            .flat_map(|device| &mut device.consumes_counters)
            .flatten()
        {
            set.counters.retain(|name, _| !name.ends_with("-half-1"));
        }
    }
    model
}

fn random_options(random: &mut Random) -> Options {
    let efa = [EfaForm::Single, EfaForm::Shared, EfaForm::Sets];
    let own = Form::Own { partitions: random.below(3) > 0, efa: random.one_of(&efa) };
    let form = if random.below(8) == 0 { Form::Aws } else { own };
    let hardware =
        random.one_of(&[Published::Both, Published::Both, Published::Both, Published::Neuron, Published::Efa]);
    Options { hardware, form }
}

fn random_claim(random: &mut Random, step: usize, options: Options) -> (String, ResourceClaim) {
    let uid = format!("claim-{step}");
    let class = match options.form {
        Form::Aws => random.one_of(&["neuron.aws.com", "efa.networking.k8s.aws"]),
        Form::Own { .. } => random.one_of(&[
            "neuron.nearfab.dev",
            "neuron-half.nearfab.dev",
            "neuron-core.nearfab.dev",
            "group2.nearfab.dev",
            "group4.nearfab.dev",
            "group8.nearfab.dev",
            "group16.nearfab.dev",
            "node.nearfab.dev",
            "efa.nearfab.dev",
            "efa-set.nearfab.dev",
        ]),
    };
    let count = if class.starts_with("group") || class.starts_with("node") { 1 } else { random.one_of(&[1, 1, 2, 4]) };
    let mut claim = claim_of(&uid, class, count);
    let is_shared = matches!(options.form, Form::Own { efa: EfaForm::Shared, .. });
    if class == "efa.nearfab.dev" && is_shared && random.below(2) == 0 {
        let percent = random.one_of(&["10", "30", "50"]);
        for request in requests(&mut claim) {
            let exactly = request.exactly.as_mut().unwrap();
            let capacity = exactly.capacity.get_or_insert_default();
            capacity.requests = Some([("bandwidthPercent".to_owned(), Quantity(percent.to_owned()))].into());
        }
    }
    (uid, claim)
}

fn requests(claim: &mut ResourceClaim) -> &mut Vec<DeviceRequest> {
    claim.spec.as_mut().unwrap().devices.as_mut().unwrap().requests.as_mut().unwrap()
}

/// Returns the two claims that have a common piece of hardware. Cores are counted by claims, and interfaces by percent.
fn given_twice(machine: &Host, claims: &BTreeMap<String, Vec<Given>>) -> Option<String> {
    // The machine as a whole: a device that failed is still a piece of hardware.
    let hardware = Hardware::of(machine, Published::Both);
    let mut percent: BTreeMap<Bdf, u64> = BTreeMap::new();
    let mut cores: BTreeMap<(u32, u32), &str> = BTreeMap::new();
    for (uid, given) in claims.iter().flat_map(|(uid, given)| given.iter().map(move |given| (uid, given))) {
        let unit = unit_of(&given.driver, &given.device).unwrap();
        let pieces = hardware.pieces(unit);
        for (device, range) in pieces.cores {
            for core in range {
                if let Some(other) = cores.insert((device.0, core), uid) {
                    return Some(format!("core {core} of neuron{} belongs to {other} and {uid}", device.0));
                }
            }
        }
        for efa in pieces.efa {
            let sum = percent.entry(efa).or_default();
            *sum += given.percent;
            if *sum > 100 {
                return Some(format!("{efa} is given out to {sum} %, the last part to {uid}"));
            }
        }
    }
    None
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn no_piece_of_hardware_is_given_out_twice() {
    let (sequences, first) = (number("SEQUENCES", 200), number("SEED", 1));
    let machines = [trn2(), p5()];
    std::thread::scope(|scope| {
        for (version, program) in programs() {
            let machines = &machines;
            scope.spawn(move || {
                let mut judge = Judge::start(&program);
                for seed in first..first + sequences {
                    let hosts = &machines[usize::from(seed % 5 == 0)];
                    sequence(seed, version, &mut judge, hosts, Defect::None).unwrap();
                }
                println!("Kubernetes {version}: {sequences} sequences of {STEPS} steps from seed {first}");
            });
        }
    });
}

#[test]
fn the_sequences_find_a_driver_that_does_not_keep_and_a_wrong_counter() {
    let machine = trn2();
    for (version, program) in programs().into_iter().filter(|(version, _)| *version >= ServerVersion::OVERLAPPING) {
        let mut judge = Judge::start(&program);
        for defect in [Defect::NotKeeping, Defect::WrongCounter] {
            let found = (1..200).find_map(|seed| sequence(seed, version, &mut judge, &machine, defect).err());
            let found = found.expect("200 sequences find the defect");
            println!("Kubernetes {version}: {}", found.lines().next().unwrap_or_default());
        }
    }
}
