//! Random containers: no command names a device that the container cannot open, and the forms of an answer agree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use nearfab::instances::{InstanceTable, tables};
use nearfab_cli::Session;
use nearfab_emu::Defect;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};
use serde_json::Value;

use crate::support::{Output, nearfab_in};

/// The number of containers. `CONTAINERS=1000 cargo test -p nearfab-cli --test views containers` draws more.
fn number() -> u32 {
    std::env::var("CONTAINERS").map_or(8, |number| number.parse().unwrap())
}

/// The devices that a container can open, read from the files of its tree.
#[derive(Debug)]
struct Openable {
    /// The address and the RDMA name of each interface.
    interfaces: BTreeMap<String, String>,
    neuron: BTreeSet<String>,
    gpus: BTreeSet<String>,
}

impl Openable {
    fn of(root: &Path) -> Self {
        let names = |folder: &str| -> Vec<String> {
            let entries = fs::read_dir(root.join(folder)).into_iter().flatten();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        let text = |file: String| fs::read_to_string(root.join(file)).unwrap_or_default().trim().to_owned();
        let end_of = |link: String| {
            let target = fs::read_link(root.join(link)).unwrap_or_default();
            target.file_name().map(|name| name.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        let driver = |address: &str| end_of(format!("sys/bus/pci/devices/{address}/driver"));
        let mut interfaces = BTreeMap::new();
        for verbs in names("sys/class/infiniband_verbs").iter().filter(|name| name.starts_with("uverbs")) {
            let (name, address) = (
                text(format!("sys/class/infiniband_verbs/{verbs}/ibdev")),
                end_of(format!("sys/class/infiniband_verbs/{verbs}/device")),
            );
            let is_active = text(format!("sys/class/infiniband/{name}/ports/1/state")).starts_with("4:");
            if driver(&address) == "efa" && root.join("dev/infiniband").join(verbs).exists() && is_active {
                interfaces.insert(address, name);
            }
        }
        let is_ready = |name: &String| text(format!("sys/class/neuron_device/{name}/reset")) == "1";
        let neuron = names("dev").into_iter().filter(|name| name.starts_with("neuron")).filter(is_ready).collect();
        let has_node = |address: &String| {
            let minor = text(format!("proc/driver/nvidia/gpus/{address}/information"));
            let minor = minor.lines().find_map(|line| Some(line.strip_prefix("Device Minor:")?.trim().to_owned()));
            driver(address) == "nvidia" && minor.is_some_and(|minor| root.join(format!("dev/nvidia{minor}")).exists())
        };
        let gpus = names("proc/driver/nvidia/gpus").into_iter().filter(has_node).collect();
        Self { interfaces, neuron, gpus }
    }
}

/// Draws a type with accelerators, the devices of the container, and defects of single devices.
fn container() -> impl Strategy<Value = (&'static InstanceTable, Vec<Defect>)> {
    let has_both = |table: &&InstanceTable| table.efa.len() > 1 && table.neuron.len() + table.gpu.len() > 1;
    let types: Vec<&'static InstanceTable> = tables().iter().filter(has_both).collect();
    proptest::sample::select(types).prop_flat_map(|table| {
        let (neuron, gpus, interfaces) = (table.neuron.len(), table.gpu.len(), table.efa.len());
        let some = |count: usize| proptest::collection::vec(proptest::bool::weighted(0.6), count);
        let numbers = |given: &[bool]| -> Vec<u32> {
            (0..).zip(given).filter(|(_, is_given)| **is_given).map(|(number, _)| number).collect()
        };
        let one_of = |count: usize| 0..u32::try_from(count.max(1)).unwrap();
        (some(neuron), some(gpus), some(interfaces), any::<bool>(), 0..6_u8, one_of(neuron), one_of(interfaces))
            .prop_map(move |(devices, given, nodes, is_masked, kind, device, interface)| {
                let mut defects = Vec::new();
                // A container with all devices has no such defect.
                let has_all = if neuron > 0 { &devices } else { &given }.iter().all(|is_given| *is_given);
                if neuron > 0 {
                    defects.push(Defect::NoCoreStatistics);
                }
                if has_all {
                } else if neuron > 0 {
                    defects.push(Defect::Container(numbers(&devices)));
                } else if is_masked {
                    defects.push(Defect::ContainerGpus(numbers(&given)));
                } else {
                    defects.push(Defect::ContainerGpusUnmasked(numbers(&given)));
                }
                let address = table.efa[interface as usize].address;
                match kind {
                    0 if neuron > 0 => defects.push(Defect::NeuronResetFailed(device)),
                    1 if neuron > 0 => defects.push(Defect::NeuronResetHanging(device)),
                    2 => defects.push(Defect::EfaWithoutRdma(address)),
                    3 => defects.push(Defect::EfaVfio(address)),
                    _ => {}
                }
                // A function without an RDMA device takes no node.
                let last = interfaces - usize::from(matches!(kind, 2 | 3));
                let missing = (0..).zip(&nodes[..last]).filter(|(_, has_node)| !**has_node);
                defects.extend(missing.map(|(number, _)| Defect::VerbsNodeMissing(number)));
                (table, defects)
            })
    })
}

/// One container and the answers of its commands.
struct Container<'a> {
    name: String,
    root: &'a str,
    openable: Openable,
    session: Session,
}

impl Container<'_> {
    fn run(&mut self, command: &str) -> Output {
        let words: Vec<&str> = command.split(' ').chain(["--root", self.root]).collect();
        nearfab_in(&mut self.session, &words)
    }

    fn json(&mut self, command: &str) -> Option<Value> {
        let Output { status, stdout, .. } = self.run(&format!("{command} -o json"));
        (status == 0).then(|| serde_json::from_str(&stdout).unwrap())
    }

    /// A plan, and `--only-near-efa`, name only what the container can open.
    fn check_plan(&mut self, ranks: usize) {
        let Some(plan) = self.json(&format!("plan -n {ranks} --only-near-efa")) else { return };
        let Openable { interfaces, neuron, gpus } = &self.openable;
        for rank in plan["ranks"].as_array().unwrap() {
            for near in rank["near"].as_array().unwrap() {
                for entry in near["entries"].as_array().unwrap() {
                    assert!(interfaces.contains_key(entry["target"].as_str().unwrap()), "{}: {entry}", self.name);
                }
            }
            let names = rank["environment"]["FI_EFA_IFACE"].as_str().unwrap();
            assert!(
                names.split(',').all(|name| interfaces.values().any(|other| other == name)),
                "{}: {names}",
                self.name
            );
            for core in rank["share"]["cores"].as_array().into_iter().flatten() {
                assert!(neuron.contains(&format!("neuron{}", core["device"])), "{}: {core}", self.name);
            }
            for gpu in rank["share"]["gpus"].as_array().into_iter().flatten() {
                assert!(gpus.contains(gpu["address"].as_str().unwrap()), "{}: {gpu}", self.name);
            }
        }
    }

    /// `near` marks each interface that cannot be opened, and only those. Table and JSON have the same lines.
    fn check_near(&mut self, of: &str) {
        let json = self.json(&format!("near {of}")).unwrap();
        let table = self.run(&format!("near {of}")).stdout;
        let mut lines = table.lines();
        let head = lines.next().unwrap();
        let column = |name: &str| head.find(name).unwrap();
        let word = |line: &str, at: usize| line[at..].split("  ").next().unwrap().trim().to_owned();
        let entries = json["entries"].as_array().unwrap();
        for entry in entries {
            let line = lines.next().unwrap();
            let target = entry["target"].as_str().unwrap();
            assert_eq!(word(line, column("EFA")), target, "{}: {table}", self.name);
            assert_eq!(word(line, column("RANK")), entry["rank"].to_string(), "{}: {table}", self.name);
            let is_usable = entry["usability"]["state"] == "usable";
            assert_eq!(word(line, column("ACCESS")) == "usable", is_usable, "{}: {table}", self.name);
            assert_eq!(self.openable.interfaces.contains_key(target), is_usable, "{}: {entry}", self.name);
        }
    }

    /// Rails are interfaces that the container can open, and are shared only if there are not enough. Table and JSON agree.
    fn check_rails(&mut self, accelerators: usize) {
        let Some(json) = self.json("rails") else { return };
        let table = self.run("rails").stdout;
        let all = json["rails"].as_array().unwrap();
        assert_eq!(all.len(), accelerators, "{}", self.name);
        let mut users: BTreeMap<String, usize> = BTreeMap::new();
        for rails in all {
            let addresses: Vec<&str> =
                rails["rails"].as_array().unwrap().iter().map(|rail| rail["target"].as_str().unwrap()).collect();
            let of = match rails["of"]["address"].as_str() {
                Some(address) => address.to_owned(),
                None => format!("neuron{}", rails["of"]["device"]),
            };
            let line = table.lines().find(|line| line.split_whitespace().next() == Some(&of)).unwrap();
            let shown = line.split_whitespace().nth(1).unwrap();
            assert_eq!(if shown == "-" { "" } else { shown }, addresses.join(","), "{}: {table}", self.name);
            for address in addresses {
                assert!(self.openable.interfaces.contains_key(address), "{}: {address}", self.name);
                *users.entry(address.to_owned()).or_default() += 1;
            }
        }
        for rails in all {
            let rails = rails["rails"].as_array().unwrap();
            let shares = rails.iter().any(|rail| users[rail["target"].as_str().unwrap()] > 1 && rail["rank"] == 1);
            let others_fall_back =
                all.iter().flat_map(|other| other["rails"].as_array().unwrap()).any(|rail| rail["rank"] != 1);
            assert!(!shares || rails.len() == 1 || others_fall_back, "{}: {rails:?}", self.name);
        }
        for rail in all.iter().flat_map(|rails| rails["rails"].as_array().unwrap()) {
            let count = users[rail["target"].as_str().unwrap()];
            assert_eq!(rail["shared_by"].as_u64(), Some(count as u64), "{}: {rail}", self.name);
        }
    }

    /// The rails are the same in each process, whatever its variables select.
    fn check_processes(&mut self) {
        let this_process = self.run("rails -o json").stdout;
        let mut command = Command::new(env!("CARGO_BIN_EXE_nearfab"));
        command.env("CUDA_VISIBLE_DEVICES", "0").env("NEURON_RT_VISIBLE_CORES", "1");
        let other_process = command.args(["rails", "-o", "json", "--root", self.root]).output().unwrap();
        assert_eq!(String::from_utf8(other_process.stdout).unwrap(), this_process, "{}", self.name);
    }
}

#[test]
fn a_container_is_told_only_of_what_it_can_open() {
    let config = Config { failure_persistence: None, max_shrink_iters: 0, ..Config::with_cases(number()) };
    let mut runner = TestRunner::new_with_rng(config.clone(), TestRng::deterministic_rng(config.rng_algorithm));
    runner
        .run(&container(), |(table, defects)| {
            let tree = tempfile::tempdir().unwrap();
            nearfab_emu::write_tree_with(table, &defects, tree.path()).unwrap();
            let openable = Openable::of(tree.path());
            let accelerators: Vec<String> = openable.neuron.iter().chain(&openable.gpus).cloned().collect();
            let name = format!("{} {defects:?}", table.instance_type);
            let root = tree.path().to_str().unwrap();
            let mut container = Container { name, root, openable, session: Session::default() };
            container.check_rails(accelerators.len());
            container.check_processes();
            container.check_plan(1);
            container.check_plan(accelerators.len().max(1));
            for of in accelerators.iter().take(2) {
                container.check_near(of);
            }
            Ok(())
        })
        .unwrap();
}
