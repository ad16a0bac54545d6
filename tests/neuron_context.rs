//! Tests of Neuron contexts with nodes without a driver, and with a stand-in for libnrt. The stand-in aborts on calls
//! with undefined behaviour.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

#[path = "support/child.rs"]
mod child;
#[expect(dead_code, reason = "the tests of opening EFA interfaces use the rest")]
mod support;

use std::ffi::c_void;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Barrier;
use std::{ptr, thread};

use child::in_a_child;
use nearfab::context::neuron::{
    InitializedRuntime, NearAddress, Neuron, NeuronFamily, NeuronRuntime, NeuronSize, NeuronStatus, near_address,
};
use nearfab::probe::ProbeOptions;
use nearfab::system::Library;
use nearfab::vendor::prefer;
use nearfab::{ContainerDevice, Error, Evidence, Host, HostDevice, Result};
use nearfab_sys::nrt::Nrt;
use nix::libc::{ENOTTY, O_ACCMODE, O_CLOEXEC, O_WRONLY};
use support::{Machine, Skip, calls, log, on_machine};

const STUB: &str = include_str!("stub/nrt.c");
const DEVICE: HostDevice = HostDevice(3);

type Prepared = std::result::Result<(), Skip>;

/// Adds the stand-in to a machine.
fn stub(machine: &mut Machine) -> Prepared {
    machine.compile("nothing.so", "typedef int nothing;\n").map_err(|_| Skip("no C compiler".to_owned()))?;
    machine.compile("libnrt.so.1", STUB).unwrap_or_else(|errors| panic!("{errors}"));
    machine.keep_log();
    Ok(())
}

/// Adds the stand-in to a machine, and sets variables of the stand-in.
fn stub_with(variables: &'static [(&'static str, &'static str)]) -> impl FnOnce(&mut Machine) -> Prepared {
    |machine| {
        variables.iter().for_each(|(name, value)| machine.set(name, value));
        stub(machine)
    }
}

fn under_valgrind(machine: &mut Machine) -> Prepared {
    machine.check_memory()?;
    stub(machine)
}

fn device() -> Result<Neuron> {
    Neuron::open(&Host::discover()?, DEVICE, ProbeOptions::default())
}

/// Returns the flags of each descriptor of a Neuron node in this process.
fn open_nodes() -> Vec<i32> {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().map(|descriptor| descriptor.unwrap().path());
    let nodes = descriptors.filter(|path| fs::read_link(path).is_ok_and(|to| to.starts_with("/dev") && is_neuron(&to)));
    let flags = |node: PathBuf| {
        let info = fs::read_to_string(node.to_str().unwrap().replace("/fd/", "/fdinfo/")).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim().to_owned();
        i32::from_str_radix(&flags, 8).unwrap()
    };
    nodes.map(flags).collect()
}

fn is_neuron(path: &std::path::Path) -> bool {
    path.file_name().unwrap().to_str().unwrap().starts_with("neuron")
}

/// Fails unless the answer says that the node has no Neuron driver: nodes of the emulated machine have no Neuron
/// driver.
fn assert_not_the_driver<T: std::fmt::Debug>(answer: Result<T>) {
    let error = answer.unwrap_err();
    let Error::Driver { cause, node, .. } = &error else { panic!("{error}") };
    assert_eq!((cause.raw_os_error(), node.starts_with("/dev")), (Some(ENOTTY), true), "{error}");
}

fn is_forked<T: std::fmt::Debug>(answer: Result<T>) -> bool {
    matches!(answer, Err(Error::Forked { .. }))
}

#[test]
fn a_device_is_opened_once_write_only_and_stays_open() {
    let name = "a_device_is_opened_once_write_only_and_stays_open";
    let prepare = |_: &mut Machine| Ok(());
    on_machine(name, prepare, || {
        let start = Barrier::new(8);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    start.wait();
                    device().unwrap();
                });
            }
        });
        let [flags] = open_nodes()[..] else { panic!("{:?}", open_nodes()) };
        assert_eq!((flags & O_ACCMODE, flags & O_CLOEXEC), (O_WRONLY, O_CLOEXEC));

        let device = device().unwrap();
        assert_eq!((device.device(), open_nodes().len()), (DEVICE, 1));
        assert_not_the_driver(device.address());
        assert_not_the_driver(device.driver());
        let cores = device.cores().unwrap();
        assert_eq!(cores.len(), 8);
        assert!(cores.into_iter().all(|core| core.state.is_err()));
        let users = device.users().unwrap();
        assert_not_the_driver(users.processes);
        assert_not_the_driver(users.host_device);
        assert_eq!(open_nodes(), [flags]);
    });
}

#[test]
fn a_forked_child_opens_devices_again() {
    on_machine(
        "a_forked_child_opens_devices_again",
        |_| Ok(()),
        || {
            let device = device().unwrap();
            in_a_child(|| {
                let forked = is_forked(device.address()) && is_forked(device.driver());
                let forked = forked && is_forked(device.cores()) && is_forked(device.users());
                // The child opens the device itself and can list the processes that have the device open.
                let own = self::device().unwrap();
                assert_not_the_driver(own.address());
                assert_not_the_driver(own.users().unwrap().processes);
                forked && open_nodes().len() == 2
            });
            assert_not_the_driver(device.address());
            assert_eq!(open_nodes().len(), 1);
        },
    );
}

#[test]
fn a_refused_or_absent_device_is_explained() {
    let prepare = |machine: &mut Machine| {
        fs::set_permissions(machine.file("dev/neuron3"), Permissions::from_mode(0o000)).unwrap();
        machine.drop_privilege();
        Ok(())
    };
    on_machine("a_refused_or_absent_device_is_explained", prepare, || {
        let error = device().unwrap_err();
        assert!(matches!(&error, Error::NodeRefused { path, .. } if path.ends_with("neuron3")), "{error}");
        let host = Host::discover().unwrap();
        let error = Neuron::open(&host, HostDevice(16), ProbeOptions::default()).unwrap_err();
        assert!(matches!(error, Error::NoSuchDevice { .. }), "{error}");

        // A process that has a node open for use is not forked: the end of the child could end the parent's use of the
        // node.
        let other = fs::OpenOptions::new().read(true).write(true).open("/dev/neuron5").unwrap();
        let device = Neuron::open(&host, HostDevice(4), ProbeOptions::default()).unwrap();
        let error = device.users().unwrap_err();
        assert!(matches!(&error, Error::ProbeRefused { reason, .. } if reason.contains("/dev/neuron5")), "{error}");
        drop(other);
        device.users().unwrap();
        // A node that is open write-only allows the fork, even if other code opened the node. A descriptor with an odd
        // name allows the fork too.
        let _other = fs::OpenOptions::new().write(true).open("/dev/neuron5").unwrap();
        let odd = std::env::temp_dir().join(std::ffi::OsStr::from_bytes(b"nearfab-\xff"));
        let _odd = fs::File::create(&odd).unwrap();
        fs::remove_file(odd).unwrap();
        device.users().unwrap();
    });
}

#[test]
fn a_member_of_an_ultraserver_is_opened_only_on_request() {
    let prepare = |machine: &mut Machine| {
        fs::write(machine.file("sys/devices/virtual/dmi/id/product_name"), "trn2u.48xlarge\n").unwrap();
        Ok(())
    };
    on_machine("a_member_of_an_ultraserver_is_opened_only_on_request", prepare, || {
        assert!(matches!(device().unwrap_err(), Error::ProbeRefused { .. }));
        assert_eq!(open_nodes().len(), 0);
        let host = Host::discover().unwrap();
        let error = near_address(&host, memory(), ProbeOptions::default()).unwrap_err();
        assert!(matches!(error, Error::ProbeRefused { .. }), "{error}");
        assert_eq!(open_nodes().len(), 0);
        Neuron::open(&host, DEVICE, ProbeOptions::default().even_on_pods()).unwrap();
    });
}

/// Initializes the stand-in.
fn init(libnrt: NeuronRuntime) -> Result<InitializedRuntime> {
    // SAFETY: the library is a stand-in, and no other code in these processes uses the library.
    unsafe { libnrt.init() }
}

fn ask_everything() -> Result<()> {
    let libnrt = NeuronRuntime::load()?;
    let version = libnrt.version()?;
    assert_eq!((version.number, version.detail), ("2.34.10.0".parse().unwrap(), "2.34.10.0-release".to_owned()));
    assert_eq!(version.commit, "c".repeat(64), "a full field");
    assert_eq!((libnrt.total_cores()?, libnrt.visible_cores()?), (64, 8));
    let instance = libnrt.instance()?;
    assert_eq!((instance.family, instance.size), (NeuronFamily::Trn2, NeuronSize::Xlarge48));
    assert_eq!((instance.architecture.as_deref(), instance.revision.as_deref()), (Some("trn2"), Some("a0")));
    assert_eq!(libnrt.describe(NeuronStatus::RESOURCE)?, "NRT_RESOURCE (4)");
    assert_eq!(libnrt.describe(NeuronStatus(77))?, "UNKNOWN (77)");
    assert_eq!(calls("nrt_init"), 0, "only init() calls it");

    let open = init(libnrt)?;
    assert_eq!(open.host_device(ContainerDevice(1))?, HostDevice(13));
    assert_eq!(open.address(ContainerDevice(0))?.to_string(), "0000:cc:00.0");
    assert_eq!((open.logical_core_size()?, open.loaded().total_cores()?), (2, 64));
    let error = open.host_device(ContainerDevice(7)).unwrap_err();
    assert_eq!(NeuronStatus::of(&error), Some(NeuronStatus::INVALID), "{error}");
    for (device, words) in [(3, "0000:100:00.0"), (u32::MAX, "invalid")] {
        let error = open.address(ContainerDevice(device)).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    open.close()
}

#[test]
fn every_question_to_libnrt_is_answered() {
    on_machine("every_question_to_libnrt_is_answered", stub, || {
        ask_everything().unwrap();
        assert_eq!((calls("nrt_init"), calls("nrt_close")), (1, 1));
    });
}

#[test]
#[ignore = "cargo xtask valgrind runs it"]
fn valgrind_finds_no_error_in_calls_of_libnrt() {
    on_machine("valgrind_finds_no_error_in_calls_of_libnrt", under_valgrind, || {
        near_by_libnrt().unwrap();
        ask_everything().unwrap();
    });
}

fn refused_for_the_second_time(answer: Result<InitializedRuntime>, words: &str) {
    let error = answer.unwrap_err();
    assert!(matches!(error, Error::Call { function: "nrt_init", .. }), "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

#[test]
fn libnrt_is_initialized_once_and_closed_once() {
    on_machine("libnrt_is_initialized_once_and_closed_once", stub, || {
        let libnrt = NeuronRuntime::load().unwrap();
        let open = init(libnrt).unwrap();
        refused_for_the_second_time(init(libnrt), "it is initialized in this process");
        refused_for_the_second_time(init(NeuronRuntime::load().unwrap()), "it is initialized in this process");
        drop(open);
        assert_eq!((calls("nrt_init"), calls("nrt_close")), (1, 1));
        refused_for_the_second_time(init(libnrt), "it was initialized and closed in this process");
        assert_eq!((calls("nrt_init"), calls("nrt_close")), (1, 1));
        assert_eq!(libnrt.total_cores().unwrap(), 64);
    });
}

#[test]
fn one_of_several_threads_initializes_libnrt() {
    on_machine("one_of_several_threads_initializes_libnrt", stub, || {
        let libnrt = NeuronRuntime::load().unwrap();
        let start = Barrier::new(8);
        let ask = || {
            start.wait();
            libnrt.total_cores().unwrap();
            init(libnrt).ok()
        };
        let open: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!((open.len(), calls("nrt_init"), calls("nrt_close")), (1, 1, 0));
        drop(open);
        assert_eq!(calls("nrt_close"), 1);
    });
}

#[test]
fn initialization_can_be_repeated_until_cores_are_free() {
    on_machine("initialization_can_be_repeated_until_cores_are_free", stub_with(&[("STUB_NRT_HELD", "2")]), || {
        let libnrt = NeuronRuntime::load().unwrap();
        for _ in 0..2 {
            let error = init(libnrt).unwrap_err();
            assert_eq!(NeuronStatus::of(&error), Some(NeuronStatus::RESOURCE));
            assert_eq!(error.to_string(), "nrt_init failed for this process: NRT_RESOURCE (4)");
        }
        init(libnrt).unwrap().close().unwrap();
        assert_eq!((calls("nrt_init"), calls("nrt_close")), (3, 1));
    });
}

/// Sets a variable of the stand-in in a forked child.
fn set(variable: &str, value: &str) {
    // SAFETY: a forked child has one thread.
    unsafe { std::env::set_var(variable, value) };
}

/// Calls a function of libnrt, after initialization if the function needs it.
fn call(function: &str) -> Result<()> {
    let libnrt = NeuronRuntime::load()?;
    let open = || init(libnrt);
    let device = ContainerDevice(0);
    match function {
        "nrt_init" | "nrt_close" => open()?.close(),
        "nrt_get_version" => libnrt.version().map(drop),
        "nrt_get_instance_info" => libnrt.instance().map(drop),
        "nrt_get_total_vnc_count" | "nrt_get_total_nc_count" => libnrt.total_cores().map(drop),
        "nrt_get_visible_vnc_count" | "nrt_get_visible_nc_count" => libnrt.visible_cores().map(drop),
        "nrt_host_device_id_get" => open()?.host_device(device).map(drop),
        "nec_get_device_pci_bdf" => open()?.address(device).map(drop),
        "nec_get_virtual_core_size" => open()?.logical_core_size().map(drop),
        "nrt_get_status_as_str" => libnrt.describe(NeuronStatus(4)).map(drop),
        "nrt_get_attached_efa_bdf" => near_address(&Host::discover()?, memory(), ProbeOptions::default()).map(drop),
        other => panic!("{other} is not called"),
    }
}

const FAILING: [&str; 11] = [
    "nrt_init",
    "nrt_get_version",
    "nrt_get_instance_info",
    "nrt_get_total_vnc_count",
    "nrt_get_total_nc_count",
    "nrt_get_visible_vnc_count",
    "nrt_get_visible_nc_count",
    "nrt_host_device_id_get",
    "nec_get_device_pci_bdf",
    "nec_get_virtual_core_size",
    "nrt_get_attached_efa_bdf",
];

/// Makes each function fail in turn. Each failure is in a new child.
fn fail_each() {
    for function in FAILING {
        let instead = match function {
            // The functions with the older names are called only if the library lacks the newer names.
            "nrt_get_total_nc_count" | "nrt_get_visible_nc_count" => continue,
            // After this failure nearfab asks the driver, and this machine has no Neuron driver.
            "nrt_get_attached_efa_bdf" => "GET_VA_PLACEMENT",
            same => same,
        };
        in_a_child(|| {
            set("STUB_FAIL", &format!("{function}:1204"));
            match call(function).unwrap_err() {
                Error::Driver { command, .. } => assert_eq!(command, instead),
                ref error @ Error::Call { function: failed, ref cause, .. } => {
                    assert_eq!(failed, instead);
                    let status = NeuronStatus::of(error);
                    let of_status = status == Some(NeuronStatus::EXEC_SW_NQ_OVERFLOW)
                        && cause.to_string() == "UNKNOWN (NRT_EXEC_SW_NQ_OVERFLOW, 1204)";
                    let of_number = failed == "nec_get_device_pci_bdf" && cause.to_string() == "it returned -1204";
                    assert!(of_status != of_number, "{cause}");
                }
                error => panic!("{error}"),
            }
            true
        });
    }
}

#[test]
fn every_failure_has_its_function_and_status() {
    on_machine("every_failure_has_its_function_and_status", stub, || {
        fail_each();
        assert_eq!(calls("nrt_init"), 4, "a failed initialization is not closed");
        assert_eq!(calls("nrt_close"), 3);
    });
}

#[test]
#[ignore = "cargo xtask valgrind runs it"]
fn valgrind_finds_no_error_in_failures() {
    on_machine("valgrind_finds_no_error_in_failures", under_valgrind, fail_each);
}

/// Returns the name of the library that lacks these functions.
fn lacking(functions: &[&str]) -> String {
    format!("without-{}.so", functions.join("-"))
}

/// Adds a library for each set of missing functions.
fn lacking_each(machine: &mut Machine) -> Prepared {
    stub(machine)?;
    for functions in lacks() {
        let renamed: String = functions.iter().map(|name| format!("#define {name} absent_{name}\n")).collect();
        machine.compile(&lacking(&functions), &format!("{renamed}{STUB}")).unwrap_or_else(|errors| panic!("{errors}"));
    }
    Ok(())
}

/// Returns the sets of missing functions: each function alone, and both names of each count.
fn lacks() -> Vec<Vec<&'static str>> {
    let counts = ["total", "visible"].map(|which| {
        let names = Nrt::NAMES.iter().copied();
        names.filter(|name| name.contains(which)).collect()
    });
    Nrt::NAMES.iter().map(|name| vec![*name]).chain(counts).collect()
}

fn library(name: &str) -> String {
    let searched = std::env::var_os("LD_LIBRARY_PATH").unwrap();
    let found = std::env::split_paths(&searched).map(|folder| folder.join(name)).find(|file| file.exists());
    found.unwrap().to_str().unwrap().to_owned()
}

#[test]
fn each_function_that_is_missing_is_named() {
    on_machine("each_function_that_is_missing_is_named", lacking_each, || {
        for functions in lacks() {
            in_a_child(|| {
                // SAFETY: each function of the stand-in has the prototype of libnrt's function.
                unsafe { prefer(Library::Libnrt, &library(&lacking(&functions))) };
                let answer = call(functions[0]);
                match functions[..] {
                    // nearfab has its own name for this number.
                    ["nrt_get_status_as_str"] => {
                        let described = NeuronRuntime::load().unwrap().describe(NeuronStatus(4));
                        assert_eq!(described.unwrap(), "NRT_RESOURCE (4)");
                        answer.unwrap();
                    }
                    // nearfab asks the driver instead.
                    ["nrt_get_attached_efa_bdf"] => assert_not_the_driver(answer),
                    // The function has another name in other versions.
                    [name] if name.ends_with("nc_count") => answer.unwrap(),
                    _ => {
                        let error = answer.unwrap_err();
                        let Error::MissingSymbol { library, symbol, .. } = error else { panic!("{error}") };
                        assert_eq!((library, symbol), ("libnrt.so.1", functions[0]));
                    }
                }
                true
            });
        }
        assert_eq!(calls("nrt_init"), calls("nrt_close"), "libnrt is not initialized if it could not be closed");
    });
}

fn instance() -> (u32, u32, Option<String>) {
    let instance = NeuronRuntime::load().unwrap().instance().unwrap();
    let NeuronFamily::Unknown(family) = instance.family else { panic!("{instance:?}") };
    let NeuronSize::Unknown(size) = instance.size else { panic!("{instance:?}") };
    (family, size, instance.architecture)
}

#[test]
fn an_older_library_returns_a_shorter_structure_and_unknown_numbers_are_kept() {
    let name = "an_older_library_returns_a_shorter_structure_and_unknown_numbers_are_kept";
    on_machine(name, stub_with(&[("STUB_NRT_STRUCT", "8"), ("STUB_NRT_INSTANCE", "77:9")]), || {
        assert_eq!(instance(), (77, 9, None));
        assert_eq!(calls("nrt_get_instance_info"), 2);
    });
}

#[test]
fn the_longer_structure_of_a_newer_library_is_cut() {
    let variables = &[("STUB_NRT_STRUCT", "64"), ("STUB_NRT_INSTANCE", "0:4294967295"), ("STUB_NRT_WORDS", "lost")];
    on_machine("the_longer_structure_of_a_newer_library_is_cut", stub_with(variables), || {
        assert_eq!(instance(), (0, u32::MAX, Some("trn2".to_owned())));
        let libnrt = NeuronRuntime::load().unwrap();
        assert_eq!(libnrt.describe(NeuronStatus(77)).unwrap(), "lost (77)");
        assert_eq!(libnrt.describe(NeuronStatus::TIMEOUT).unwrap(), "lost (NRT_TIMEOUT, 5)");
    });
}

#[test]
fn a_status_without_a_name_has_its_number() {
    on_machine("a_status_without_a_name_has_its_number", stub_with(&[("STUB_NRT_WORDS", "")]), || {
        let libnrt = NeuronRuntime::load().unwrap();
        assert_eq!(libnrt.describe(NeuronStatus(77)).unwrap(), "status 77 of libnrt");
        assert_eq!(libnrt.describe(NeuronStatus::TIMEOUT).unwrap(), "NRT_TIMEOUT (5)");
    });
}

fn fork_with_everything_open() -> Result<()> {
    let (device, libnrt) = (device()?, NeuronRuntime::load()?);
    // The child can load a library that the parent only loaded and did not initialize.
    in_a_child(|| is_forked(libnrt.total_cores()) && is_forked(init(libnrt)) && call("nrt_get_version").is_ok());

    let mut open = Some(init(libnrt)?);
    let before = log();
    in_a_child(|| {
        let none = ContainerDevice(0);
        let own = open.take().unwrap();
        let forked =
            is_forked(own.host_device(none)) && is_forked(own.address(none)) && is_forked(own.logical_core_size());
        let forked =
            forked && is_forked(libnrt.version()) && is_forked(libnrt.total_cores()) && is_forked(libnrt.instance());
        let forked = forked && is_forked(libnrt.describe(NeuronStatus(4))) && is_forked(init(libnrt));
        let forked = forked && is_forked(NeuronRuntime::load()) && is_forked(device.address());
        let forked = forked && is_forked(near_address(&Host::discover().unwrap(), memory(), ProbeOptions::default()));
        in_a_child(|| is_forked(NeuronRuntime::load()));
        drop(own);
        forked && log() == before
    });
    in_a_child(|| is_forked(open.take().unwrap().close()) && log() == before);

    let open = open.take().unwrap();
    assert_eq!((open.logical_core_size()?, libnrt.total_cores()?), (2, 64));
    assert_not_the_driver(device.address());
    open.close()?;
    assert_eq!((calls("nrt_init"), calls("nrt_close")), (1, 1));
    in_a_child(|| is_forked(NeuronRuntime::load()));
    Ok(())
}

#[test]
fn in_a_forked_child_libnrt_is_refused_and_the_parent_goes_on() {
    let name = "in_a_forked_child_libnrt_is_refused_and_the_parent_goes_on";
    on_machine(name, stub, || fork_with_everything_open().unwrap());
}

#[test]
#[ignore = "cargo xtask valgrind runs it"]
fn valgrind_finds_no_error_in_forks() {
    on_machine("valgrind_finds_no_error_in_forks", under_valgrind, || fork_with_everything_open().unwrap());
}

/// Returns an address that the stand-in treats as device memory.
fn memory() -> *const c_void {
    ptr::without_provenance(0x7f00_0000_1000)
}

fn near() -> Result<Option<NearAddress>> {
    near_address(&Host::discover()?, memory(), ProbeOptions::default())
}

fn near_by_libnrt() -> Result<()> {
    // nearfab asks libnrt only if libnrt is already loaded.
    assert_not_the_driver(near());
    assert_eq!((log().len(), open_nodes().len()), (0, 1));
    NeuronRuntime::load()?;

    let found = near()?.unwrap();
    assert_eq!((found.device, found.near.entries.len(), found.near.missing_pair), (None, 16, None));
    let nearest: Vec<_> = found.near.nearest().collect();
    let [near] = nearest[..] else { panic!("{nearest:?}") };
    assert_eq!((near.target.to_string().as_str(), &near.evidence), ("0000:57:00.0", &Evidence::Runtime));
    assert_eq!(near.evidence.to_string(), "libnrt");
    assert!(found.near.entries[1..].iter().all(|other| other.rank == 2));
    assert_eq!(calls("nrt_get_attached_efa_bdf"), 1);

    // For an address that libnrt does not know, nearfab asks the driver.
    assert_not_the_driver(near_address(&Host::discover()?, ptr::null(), ProbeOptions::default()));
    Ok(())
}

#[test]
fn a_loaded_libnrt_is_asked_for_the_nearest_interface() {
    on_machine("a_loaded_libnrt_is_asked_for_the_nearest_interface", stub, || near_by_libnrt().unwrap());
}

#[test]
fn an_answer_that_names_no_interface_of_the_host_is_ignored() {
    on_machine("an_answer_that_names_no_interface_of_the_host_is_ignored", stub, || {
        NeuronRuntime::load().unwrap();
        for answer in ["57", "0000:10:19.0", "", &"0000:57:00.0".repeat(6)] {
            in_a_child(|| {
                set("STUB_NRT_EFA", answer);
                assert_not_the_driver(near());
                true
            });
        }
        assert_eq!(calls("nrt_get_attached_efa_bdf"), 4);
    });
}

#[test]
fn a_machine_without_libnrt_is_explained() {
    let prepare = |machine: &mut Machine| {
        fs::write(machine.library("libnrt.so.1"), "").unwrap();
        Ok(())
    };
    on_machine("a_machine_without_libnrt_is_explained", prepare, || {
        let error = NeuronRuntime::load().unwrap_err();
        assert!(matches!(error, Error::Library { library: "libnrt.so.1", .. }), "{error}");
        assert!(error.to_string().contains("aws-neuronx-runtime-lib"), "{error}");
    });
}

#[test]
fn only_the_live_machine_can_be_opened() {
    let host = Host::from_instance("trn2.48xlarge").unwrap();
    for error in [
        Neuron::open(&host, DEVICE, ProbeOptions::default()).unwrap_err(),
        near_address(&host, memory(), ProbeOptions::default()).unwrap_err(),
    ] {
        assert!(matches!(error, Error::NotLive { .. }), "{error}");
    }
}
