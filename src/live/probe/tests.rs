//! Probes of a fake driver, whose answers are set here.

mod held;
mod verified;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;

use nearfab_sys::neuron::{
    AppInfo, BasicInfo, BdfExt, DriverInfo as RawDriverInfo, ENOTSUPP, FEATURE_BIG_CORE_MAPS, NcMapEntry, NcRange,
};
use nix::libc::{EBUSY, EFBIG, EINVAL, ENOENT, ENOTTY, ENXIO, EOPNOTSUPP};

use super::*;
use crate::live::neuron_driver::attached::{Attachment, write_answers, write_end, write_record};
use crate::live::neuron_driver::{Node, Question, node_path};
use crate::scan::neuron::LocationEvidence;
use crate::topology::Basis;
use crate::types::probe::{Architecture, CoreState, DriverInfo};
use crate::types::{Bdf, Core};

/// The PIDs of the attached child and of another attached process.
const CHILD: i32 = 700;
const RUNTIME: i32 = 41;
const DATASTORE: &[u8] = b"nrt 2.34.10 train.py";

/// A Trainium2 device with eight cores, some of them held, of a driver that behaves like 2.30.
pub(crate) struct FakeNode {
    /// Commands that fail, with their status.
    pub(crate) failing: BTreeMap<&'static str, i32>,
    pub(crate) architecture: u32,
    features: u64,
    address: BdfExt,
    map_count: u32,
    /// The order of the cores of each device. Further devices repeat the orders from the first on.
    pub(crate) orders: Vec<[u32; 8]>,
    /// A bit for each held core. Marking sets bits, as the driver does.
    held: Cell<u64>,
    /// The number of available cores that a refused mark reports, instead of the true number.
    pub(crate) available: Option<u32>,
    /// The address ranges of device memory, with their device.
    placed: Vec<(Range<u64>, i32)>,
    apps: Vec<AppInfo>,
    datastore_size: u32,
    commands: RefCell<Vec<&'static str>>,
}

impl Default for FakeNode {
    fn default() -> Self {
        let app = |pid, device_mem_size| AppInfo {
            pid,
            nc_lock_map: 1,
            host_mem_size: 4096,
            device_mem_size,
            ..AppInfo::default()
        };
        Self {
            failing: BTreeMap::new(),
            architecture: 3,
            features: 0xff,
            address: BdfExt { nd_index: 0, domain: 0, bus: 0xcc, slot: 0, func: 0 },
            map_count: 128,
            orders: vec![[4, 5, 6, 7, 2, 3, 0, 1]],
            held: Cell::new(0b1010_0001),
            available: None,
            placed: Vec::new(),
            apps: vec![app(RUNTIME, 1 << 30), app(CHILD, 0)],
            datastore_size: u32::try_from(DATASTORE.len()).unwrap(),
            commands: RefCell::default(),
        }
    }
}

impl FakeNode {
    pub(crate) fn failing(command: &'static str, status: i32) -> Self {
        Self { failing: [(command, status)].into(), ..Self::default() }
    }

    /// Makes a node that knows device memory at these addresses.
    pub(crate) fn with_memory(placed: impl Into<Vec<(Range<u64>, i32)>>) -> Self {
        Self { placed: placed.into(), ..Self::default() }
    }

    pub(crate) fn set_address(&mut self, address: Bdf) {
        let (domain, bus) = (address.domain(), address.bus().into());
        self.address = BdfExt { nd_index: 0, domain, bus, slot: address.device(), func: address.function() };
    }

    fn received(&self, command: &str) -> bool {
        self.commands.borrow().contains(&command)
    }

    /// Marks the first run of free cores that is long enough, or fails with the length of the longest run.
    fn mark(&self, range: &mut NcRange) -> i32 {
        let (mut run, mut longest) = (0, 0);
        for core in range.start..=range.end {
            run = if self.held.get() >> core & 1 == 0 { run + 1 } else { 0 };
            longest = longest.max(run);
            if run == range.nc_count {
                let cores = ((1 << range.nc_count) - 1) << (core + 1 - run);
                self.held.set(self.held.get() | cores);
                range.bitmap[0] = cores;
                return 0;
            }
        }
        range.max_nc_available = self.available.unwrap_or(longest);
        -EBUSY
    }
}

impl Node for FakeNode {
    fn ask(&self, question: Question<'_>) -> i32 {
        let command = question.command();
        self.commands.borrow_mut().push(command);
        if let Some(&status) = self.failing.get(command) {
            if status == 0 {
                let Question::MarkCores(range) = question else { panic!("{command} is answered below") };
                range.bitmap[0] = 1 << range.start;
                self.held.set(self.held.get() | range.bitmap[0]);
            }
            return status;
        }
        match question {
            Question::BasicInfo(answer) => *answer = BasicInfo { architecture: self.architecture, revision: 2 },
            Question::DriverInfo(answer) => {
                assert_eq!((answer.version, answer.size), (0, 24));
                *answer = RawDriverInfo {
                    architecture: self.architecture,
                    revision: 1,
                    feature_flags1: self.features,
                    ..*answer
                };
            }
            Question::Address(answer) => {
                assert_eq!(answer.nd_index, 0, "counted from the descriptor's own device");
                *answer = self.address;
            }
            Question::CoreMap(map) => {
                map.count = self.map_count;
                for (logical, entry) in map.entries.iter_mut().enumerate() {
                    let (device, position) = (logical / 8, logical % 8);
                    let nc = self.orders[device % self.orders.len()][position];
                    *entry = NcMapEntry { device_id: u32::try_from(device).unwrap(), nc };
                }
            }
            Question::MarkCores(range) => return self.mark(range),
            Question::UnmarkCores(range) => self.held.set(self.held.get() & !range.bitmap[0]),
            Question::Placement(placement) => {
                match self.placed.iter().find(|(memory, _)| memory.contains(&placement.va)) {
                    Some(&(_, device)) => placement.device_index = device,
                    None => return -ENXIO,
                }
            }
            Question::HostDevice(answer) => *answer = 13,
            Question::Processes(answer) => {
                answer.size = u32::try_from(self.apps.len()).unwrap();
                answer.apps[..self.apps.len()].copy_from_slice(&self.apps);
            }
            Question::AcquireDatastore(answer) => {
                assert!(answer.pid > 0, "0 makes one");
                if answer.pid != RUNTIME {
                    return -ENOENT;
                }
                (answer.mmap_offset, answer.size) = (1 << 40, self.datastore_size);
            }
            Question::ReleaseDatastore(answer) => assert_eq!(answer.pid, RUNTIME),
        }
        0
    }

    fn copy_memory(&self, offset: u64, length: u32, out: &mut dyn Write) -> io::Result<()> {
        assert_eq!(offset, 1 << 40);
        write_record(out, 0, &DATASTORE[..length as usize])
    }
}

/// A driver with these devices. Other devices cannot be opened.
pub(crate) struct FakeDriver(pub(crate) BTreeMap<HostDevice, FakeNode>);

impl Driver for FakeDriver {
    fn write_only_node(&self, device: HostDevice) -> Result<&dyn Node> {
        let refused =
            || Error::NodeRefused { path: node_path(device), hint: "refused", cause: io::ErrorKind::NotFound.into() };
        self.0.get(&device).map(|node| node as &dyn Node).ok_or_else(refused)
    }

    fn attachment(&self, device: HostDevice, _: Duration) -> Result<Attachment> {
        let mut output = Vec::new();
        write_answers(&self.0[&device], &mut output).unwrap();
        write_end(&mut output).unwrap();
        Ok(Attachment::read(CHILD, &output).unwrap().unwrap())
    }
}

/// Probes a host whose devices answer as these nodes.
pub(crate) fn probe_of(host: &Host, make_node: impl FnMut(HostDevice) -> FakeNode) -> Probe {
    probe_of_with(host, ProbeOptions::default(), make_node)
}

/// Probes a host whose devices answer as these nodes, with options.
pub(crate) fn probe_of_with(
    host: &Host,
    options: ProbeOptions,
    mut make_node: impl FnMut(HostDevice) -> FakeNode,
) -> Probe {
    let driver =
        FakeDriver(host.neuron_devices().iter().map(|device| (device.index, make_node(device.index))).collect());
    ask_fake_driver(host.neuron_devices(), options, &driver)
}

/// Asks the driver on a machine whose `/proc` has the PIDs that the driver reports, including the PID of the runtime.
fn ask_fake_driver(devices: &[NeuronDevice], options: ProbeOptions, driver: &FakeDriver) -> Probe {
    let machine = tempfile::tempdir().unwrap();
    let process = machine.path().join(format!("proc/{RUNTIME}"));
    std::fs::create_dir_all(&process).unwrap();
    std::fs::write(process.join("comm"), "train.py\n").unwrap();
    ask(devices, options, driver, Some(&HostRoot::open(machine.path()).unwrap()))
}

fn devices(count: usize) -> Vec<NeuronDevice> {
    Host::from_instance("trn2.48xlarge").unwrap().neuron_devices()[..count].to_vec()
}

/// Probes a machine with this one device, and asks for attached processes.
fn probe_one(node: FakeNode) -> (DeviceAnswers, Result<Option<Vec<Core>>>, FakeNode) {
    let mut driver = FakeDriver([(HostDevice(0), node)].into());
    let options = ProbeOptions::default().with_processes();
    let mut probe = ask_fake_driver(&devices(1), options, &driver);
    let answers = probe.devices.remove(0).answers.unwrap();
    (answers, probe.core_map, driver.0.remove(&HostDevice(0)).unwrap())
}

fn users(answers: DeviceAnswers) -> DeviceUsers {
    answers.attachment.unwrap().unwrap()
}

fn states(answers: &DeviceAnswers) -> Vec<CoreState> {
    answers.cores.iter().map(|core| *core.state.as_ref().unwrap()).collect()
}

#[test]
fn a_device_answers_everything() {
    let (answers, core_map, node) = probe_one(FakeNode::default());
    assert_eq!(answers.address.as_ref().unwrap().to_string(), "0000:cc:00.0");
    let driver = DriverInfo { architecture: Architecture::V3, revision: 1, features: Some(0xff) };
    assert_eq!(*answers.driver.as_ref().unwrap(), driver);

    use CoreState::{Free, Held};
    assert_eq!(states(&answers), [Held, Free, Free, Free, Free, Held, Free, Held]);
    assert!(answers.cores.iter().map(|core| core.core.0).eq(0..8));
    assert_eq!(node.held.get(), 0b1010_0001, "asking reserves nothing");
    assert!(!node.received("CRWL_NC_RANGE_UNMARK_EXT0"), "and frees nothing");
    assert!(!node.received("DEVICE_BASIC_INFO"));

    let map = core_map.unwrap().unwrap();
    assert_eq!(map.len(), 128);
    assert_eq!((map[0].to_string(), map[127].to_string()), ("neuron0:4".to_owned(), "neuron15:1".to_owned()));

    let users = users(answers);
    assert_eq!(users.host_device.unwrap(), HostDevice(13));
    assert!(!users.includes_probe);
    let processes = users.processes.unwrap();
    let [process] = &processes[..] else { panic!("{processes:?}") };
    assert_eq!((process.pid, process.locked_cores), (RUNTIME, 1));
    assert_eq!(process.name.as_deref(), Some("train.py"));
    assert_eq!((process.host_memory, process.device_memory), (4096, 1 << 30));
    let datastore = process.datastore.as_ref().unwrap().as_ref().unwrap();
    assert_eq!(datastore.as_bytes(), DATASTORE);
    assert_eq!(format!("{datastore:?}"), "Datastore(20 bytes)");
    assert!(node.received("RELEASE_NEURON_DS"));
}

/// Every status but 0 is a failure of its question only.
#[test]
fn a_failed_question_is_explained_and_hides_no_other_answer() {
    let questions = ["DEVICE_BDF_EXT", "GET_LOGICAL_TO_PHYSICAL_NC_MAP", "CRWL_NC_RANGE_MARK_EXT0", "HOST_DEVICE_ID"];
    for failing in questions.into_iter().chain(["DEVICE_GET_ALL_APPS_INFO", "ACQUIRE_NEURON_DS"]) {
        for (status, words) in
            [(-EINVAL, "does not know the command"), (-ENOTTY, "not the Neuron driver"), (16, "16 bytes")]
        {
            let (mut answers, core_map, _) = probe_one(FakeNode::failing(failing, status));
            let users = answers.attachment.take().unwrap().unwrap();
            let mut failures =
                vec![answers.address.err(), answers.driver.err(), core_map.err(), users.host_device.err()];
            failures.extend(answers.cores.into_iter().take(1).map(|core| core.state.err()));
            match users.processes {
                Err(error) => failures.push(Some(error)),
                Ok(processes) => failures.extend(processes.into_iter().map(|process| process.datastore.err())),
            }
            let failures: Vec<_> = failures.into_iter().flatten().collect();
            let [error @ Error::Driver { command, node, cause, .. }] = &failures[..] else { panic!("{failures:?}") };
            assert_eq!((*command, node.as_path()), (failing, Path::new("/dev/neuron0")));
            assert!(error.to_string().contains(words), "{}", error.to_string());
            assert_eq!(cause.raw_os_error(), (status < 0).then_some(-status));
        }
    }
}

#[test]
fn an_architecture_without_a_map_has_none() {
    for status in [-ENOTSUPP, -EOPNOTSUPP] {
        let (_, core_map, _) = probe_one(FakeNode::failing("GET_LOGICAL_TO_PHYSICAL_NC_MAP", status));
        assert_eq!(core_map.unwrap(), None);
    }
}

#[test]
fn an_old_driver_gets_only_the_questions_that_it_knows() {
    let (answers, _, node) = probe_one(FakeNode::failing("DRIVER_INFO_GET", -ENOTTY));
    let driver = DriverInfo { architecture: Architecture::V3, revision: 2, features: None };
    assert_eq!(answers.driver.unwrap(), driver);
    for core in answers.cores {
        let error = core.state.unwrap_err();
        assert!(error.to_string().contains("older than the command"), "{error}");
    }
    assert!(!node.received("CRWL_NC_RANGE_MARK_EXT0"));

    let node = FakeNode { features: !FEATURE_BIG_CORE_MAPS, ..FakeNode::default() };
    let (answers, _, node) = probe_one(node);
    assert!(answers.cores.iter().all(|core| core.state.is_err()) && !node.received("CRWL_NC_RANGE_MARK_EXT0"));

    let both = [("DRIVER_INFO_GET", -ENOTTY), ("DEVICE_BASIC_INFO", 8)].into();
    let (answers, _, _) = probe_one(FakeNode { failing: both, ..FakeNode::default() });
    let error = answers.driver.unwrap_err();
    assert!(matches!(error, Error::Driver { command: "DEVICE_BASIC_INFO", .. }), "{error}");
}

#[test]
fn impossible_answers_are_errors() {
    let address = |domain, bus, slot, func| {
        let address = BdfExt { nd_index: 0, domain, bus, slot, func };
        probe_one(FakeNode { address, ..FakeNode::default() }).0.address
    };
    assert_eq!(address(0xffff, 0xff, 31, 7).unwrap().to_string(), "ffff:ff:1f.7");
    for wrong in [address(0, 0x100, 0, 0), address(0, 0, 32, 0), address(0, 0, 0, 8)] {
        let error = wrong.unwrap_err();
        assert!(matches!(&error, Error::Malformed { found, .. } if found.starts_with("domain 0x")), "{error}");
    }

    let (_, core_map, _) = probe_one(FakeNode { map_count: 129, ..FakeNode::default() });
    let error = core_map.unwrap_err();
    assert!(matches!(&error, Error::Malformed { found, .. } if found == "129"), "{error}");

    let (answers, _, _) = probe_one(FakeNode { available: Some(2), ..FakeNode::default() });
    let error = answers.cores.into_iter().next().unwrap().state.unwrap_err();
    assert!(matches!(&error, Error::Malformed { found, .. } if found == "2 cores"), "{error}");
    assert_eq!(Architecture::from(5), Architecture::Unknown(5));
}

/// No known driver reserves cores for this question.
#[test]
fn an_unexpected_reservation_is_released() {
    let node = FakeNode { held: Cell::new(0), ..FakeNode::failing("CRWL_NC_RANGE_MARK_EXT0", 0) };
    let (answers, _, node) = probe_one(node);
    assert_eq!(node.held.get(), 0);
    for core in answers.cores {
        let error = core.state.unwrap_err();
        assert!(matches!(&error, Error::Malformed { found, .. } if found.contains("released")), "{error}");
    }
}

#[test]
fn a_refused_node_hides_no_other_node() {
    let driver = FakeDriver([1, 3].map(|number| (HostDevice(number), FakeNode::default())).into());
    let probe = ask_fake_driver(&devices(4), ProbeOptions::default(), &driver);
    let opened: Vec<_> = probe.devices.iter().map(|device| (device.device.0, device.answers.is_ok())).collect();
    assert_eq!(opened, [(0, false), (1, true), (2, false), (3, true)]);
    assert_eq!(probe.core_map.unwrap().unwrap().len(), 128, "from the first node that answers");
    assert!(!driver.0[&HostDevice(3)].received("GET_LOGICAL_TO_PHYSICAL_NC_MAP"));
    let answers = probe.devices.into_iter().nth(1).unwrap().answers.unwrap();
    assert!(answers.attachment.is_none(), "not requested");
    assert!(!driver.0[&HostDevice(1)].received("HOST_DEVICE_ID"));

    let probe = ask_fake_driver(&devices(2), ProbeOptions::default(), &FakeDriver(BTreeMap::new()));
    assert!(matches!(probe.core_map, Err(Error::NoSuchDevice { .. })));
}

#[test]
fn in_a_pid_namespace_the_probe_cannot_find_itself() {
    let driver = FakeDriver([(HostDevice(0), FakeNode::default())].into());
    let probe = ask(&devices(1), ProbeOptions::default().with_processes(), &driver, None);
    let users = users(probe.devices.into_iter().next().unwrap().answers.unwrap());
    assert!(users.includes_probe);
    let named: Vec<_> = users.processes.unwrap().into_iter().map(|process| (process.pid, process.name)).collect();
    assert_eq!(named, [(RUNTIME, None), (CHILD, None)], "these PIDs are of another PID namespace");
}

/// Checks a process that has `/dev/infiniband/uverbs0` open, on a machine with this kernel release.
fn check_with_open_interface(release: Option<&str>, variable: Option<(&str, &str)>) -> Result<()> {
    let machine = tempfile::tempdir().unwrap();
    let descriptors = machine.path().join("proc/self/fd");
    std::fs::create_dir_all(&descriptors).unwrap();
    std::os::unix::fs::symlink("/dev/infiniband/uverbs0", descriptors.join("7")).unwrap();
    if let Some(release) = release {
        std::fs::create_dir_all(machine.path().join("proc/sys/kernel")).unwrap();
        std::fs::write(machine.path().join("proc/sys/kernel/osrelease"), release).unwrap();
    }
    let root = HostRoot::open(machine.path()).unwrap();
    check_own_nodes(&root, |name| variable.filter(|(set, _)| *set == name).map(|(_, value)| value.to_owned()))
}

#[test]
fn a_process_with_an_open_interface_forks_only_on_kernels_known_to_be_safe() {
    for (release, variable, words) in [
        (Some("6.1.102-111.182.amzn2023.x86_64\n"), None, None),
        (Some("5.10.230\n"), None, Some("on a kernel before 5.13")),
        (Some("5.10.230\n"), Some(("FI_EFA_FORK_SAFE", "1")), None),
        (Some("5.10.230\n"), Some(("FI_EFA_FORK_SAFE", "0")), Some("on a kernel before 5.13")),
        (None, None, Some("the version of this kernel is unknown")),
        (Some("no version\n"), None, Some("the version of this kernel is unknown")),
        (None, Some(("FI_EFA_FORK_SAFE", "1")), None),
        (None, Some(("RDMAV_FORK_SAFE", "0")), None),
    ] {
        let answer = check_with_open_interface(release, variable);
        match words {
            None => answer.unwrap(),
            Some(words) => {
                let error = answer.unwrap_err();
                assert!(matches!(error, Error::ProbeRefused { .. }), "{error}");
                assert!(error.to_string().contains(words), "{error}");
            }
        }
    }
}

#[test]
fn datastores_are_found_missing_or_refused() {
    let datastore = |node: FakeNode| {
        let users = users(probe_one(node).0);
        users.processes.unwrap().remove(0).datastore
    };
    let of_size = |datastore_size| datastore(FakeNode { datastore_size, ..FakeNode::default() });
    assert_eq!(of_size(3).unwrap().unwrap().as_bytes(), b"nrt");
    assert_eq!(of_size(0).unwrap().unwrap().as_bytes(), b"");
    let Error::Driver { cause, .. } = of_size(u32::MAX).unwrap_err() else { panic!("not of the driver") };
    assert_eq!(cause.raw_os_error(), Some(EFBIG));
    assert_eq!(datastore(FakeNode::failing("ACQUIRE_NEURON_DS", -ENOENT)).unwrap(), None);

    let without_pid = AppInfo { pid: 0, ..AppInfo::default() };
    assert_eq!(datastore(FakeNode { apps: vec![without_pid], ..FakeNode::default() }).unwrap(), None);
}

/// The lowest status is no negated errno, and must not overflow.
#[test]
fn the_lowest_status_is_a_failure_like_others() {
    let mut output = Vec::new();
    write_record(&mut output, i32::MIN, &[]).unwrap();
    assert!(Attachment::read(CHILD, &output).unwrap().is_err());
    let address = probe_one(FakeNode::failing("DEVICE_BDF_EXT", i32::MIN)).0.address;
    assert!(matches!(address, Err(Error::Driver { .. })), "{address:?}");
}

/// A child can die after any part of its output.
#[test]
fn incomplete_output_of_a_child_is_recognized() {
    let mut output = Vec::new();
    write_answers(&FakeNode::default(), &mut output).unwrap();
    write_end(&mut output).unwrap();
    assert!(Attachment::read(CHILD, &output).is_some());
    for length in 0..output.len() {
        assert!(Attachment::read(CHILD, &output[..length]).is_none(), "{length} of {} bytes", output.len());
    }
}

/// Returns a trn2.48xlarge whose instance type is unknown.
fn of_unknown_type() -> Host {
    let mut record: serde_json::Value =
        serde_json::from_str(&Host::from_instance("trn2.48xlarge").unwrap().to_json()).unwrap();
    record["instance_type"].take();
    let devices = record["neuron"].as_array_mut().unwrap();
    let functions = devices.iter_mut().map(|device| device["location"].take()["function"].take()).collect();
    record["unnumbered"] = functions;
    Host::from_json(&record.to_string()).unwrap()
}

/// Probes a driver with two devices, at these buses.
fn two_devices(host: &Host, buses: [u32; 2]) -> Probe {
    let at = |bus| FakeNode { address: BdfExt { bus, ..FakeNode::default().address }, ..FakeNode::default() };
    let driver = FakeDriver(BTreeMap::from([(HostDevice(0), at(buses[0])), (HostDevice(5), at(buses[1]))]));
    let devices = [0, 5].map(|index| host.find_neuron(HostDevice(index)).unwrap().clone());
    ask_fake_driver(&devices, ProbeOptions::default(), &driver)
}

#[test]
fn devices_of_an_unknown_type_get_their_addresses_from_the_driver() {
    let host = of_unknown_type();
    assert_eq!(host.unnumbered().len(), 16);
    assert_eq!(host.near_device(HostDevice(5), Basis::Pairing).unwrap().nearest().count(), 0);

    let host = host.with_probed_addresses(&two_devices(&host, [0xcc, 0x58]));
    assert_eq!((host.problems().len(), host.unnumbered().len()), (0, 14));
    let location = host.find_neuron(HostDevice(5)).unwrap().location.clone().unwrap();
    assert_eq!((location.evidence, location.function.is_some()), (LocationEvidence::Probe, true));
    let near = host.near_device(HostDevice(5), Basis::Pairing).unwrap();
    let nearest: Vec<String> = near.nearest().map(|near| near.target.to_string()).collect();
    assert_eq!(nearest, ["0000:56:00.0", "0000:57:00.0"], "by their switch");
    assert_eq!(Host::from_json(&host.to_json()).unwrap(), host);
}

#[test]
fn an_address_of_the_driver_replaces_that_of_the_table() {
    let host = Host::from_instance("trn2.48xlarge").unwrap();
    let placed = host.with_probed_addresses(&two_devices(&host, [0xcc, 0x59]));
    let [problem] = placed.problems() else { panic!("{:?}", placed.problems()) };
    let expected = "neuron5 is at 0000:59:00.0 according to its driver, not at 0000:58:00.0 (table trn2.48xlarge)";
    assert_eq!(problem, expected);
    // The table's pair belongs to another function.
    let near = placed.near_device(HostDevice(5), Basis::Pairing).unwrap();
    assert!(near.nearest().all(|near| near.evidence.to_string() == "same PCIe switch"), "{near:?}");
    let near = placed.near_device(HostDevice(0), Basis::Pairing).unwrap();
    assert_eq!(near.entries[0].evidence.to_string(), "table trn2.48xlarge");
}

/// The file `example.json` shows users the JSON form. A test of the schema reads the file too.
#[test]
fn json_has_every_answer_and_the_reason_of_every_failure() {
    let failing = [("DEVICE_BDF_EXT", -EINVAL), ("CRWL_NC_RANGE_MARK_EXT0", -EINVAL)].into();
    let refusing = FakeNode { failing, ..FakeNode::default() };
    let driver = FakeDriver([(HostDevice(0), FakeNode::default()), (HostDevice(1), refusing)].into());
    let mut probe = ask_fake_driver(&devices(3), ProbeOptions::default(), &driver);
    probe.devices[0].answers.as_mut().unwrap().attachment = Some(Ok(users(probe_one(FakeNode::default()).0)));
    probe.core_map.as_mut().unwrap().as_mut().unwrap().truncate(2);
    assert_eq!(probe.devices.iter().map(DeviceProbe::held_cores).collect::<Vec<_>>(), [Some(3), None, None]);
    assert_eq!(probe.devices[0].pids(), Some(vec![RUNTIME]));
    assert_eq!(probe.devices[1].pids(), None, "not requested");
    assert_eq!(probe.devices[2].errors(), ["cannot open /dev/neuron2: entity not found; refused"]);

    let written = serde_json::to_value(&probe).unwrap();
    let example: serde_json::Value = serde_json::from_str(include_str!("../../types/probe/example.json")).unwrap();
    assert_eq!(written, example, "{written:#}");
}
