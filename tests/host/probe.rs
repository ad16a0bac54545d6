//! Tests of probing an emulated machine with Neuron nodes without a driver, and of hosts that are not probed.

use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nearfab::probe::{DeviceAnswers, ProbeOptions};
use nearfab::{Error, Host, probe};
use nix::errno::Errno;
use nix::libc::{ENOTTY, O_ACCMODE, O_CLOEXEC, O_WRONLY};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::support::{Machine, on_machine};

const PRODUCT: &str = "sys/devices/virtual/dmi/id/product_name";

/// Returns the node and the flags of each descriptor of a Neuron node in this process.
fn open_nodes() -> Vec<(String, i32)> {
    let mut nodes = Vec::new();
    for descriptor in fs::read_dir("/proc/self/fd").unwrap() {
        let path = descriptor.unwrap().path();
        let Ok(target) = fs::read_link(&path) else { continue }; // The descriptor of the folder itself.
        let Some(name) = target.to_str().and_then(|target| target.strip_prefix("/dev/neuron")) else { continue };
        let info = fs::read_to_string(path.to_str().unwrap().replace("/fd/", "/fdinfo/")).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        nodes.push((name.to_owned(), i32::from_str_radix(flags.trim(), 8).unwrap()));
    }
    nodes
}

fn assert_not_the_neuron_driver(answers: DeviceAnswers, node: &str) {
    let DeviceAnswers { address, driver, cores, attachment, .. } = answers;
    let mut errors = vec![address.unwrap_err(), driver.unwrap_err()];
    if let Some(users) = attachment {
        let users = users.unwrap();
        errors.extend([users.host_device.unwrap_err(), users.processes.unwrap_err()]);
    }
    for error in errors {
        let text = error.to_string();
        assert!(text.contains(&format!(" failed on {node}: Inappropriate ioctl")), "{text}");
        assert!(text.ends_with("; the driver of this node is not the Neuron driver"), "{text}");
        let Error::Driver { cause, .. } = error else { panic!("{text}") };
        assert_eq!(cause.raw_os_error(), Some(ENOTTY));
    }
    assert_eq!(cores.len(), 8);
    assert!(cores.into_iter().all(|core| core.state.is_err()));
}

#[test]
fn nodes_of_another_driver_are_recognized() {
    let name = "probe::nodes_of_another_driver_are_recognized";
    on_machine(
        name,
        |_| Ok(()),
        || {
            let host = Host::discover().unwrap();
            assert_eq!(open_nodes(), [], "discovery opens none");
            for options in [ProbeOptions::default(), ProbeOptions::default().with_processes()] {
                let probe = probe(&host, options).unwrap();
                assert!(matches!(probe.core_map, Err(Error::Driver { .. })));
                assert_eq!(probe.devices.len(), 16);
                for device in probe.devices {
                    assert_not_the_neuron_driver(device.answers.unwrap(), &format!("/dev/{}", device.device));
                }
            }
            // After any number of probes, each node is open once, and write-only.
            let mut nodes = open_nodes();
            nodes.sort_unstable();
            nodes.dedup_by(|one, other| one.0 == other.0);
            assert_eq!((nodes.len(), open_nodes().len()), (16, 16));
            assert!(
                nodes.iter().all(|(_, flags)| flags & O_ACCMODE == O_WRONLY && flags & O_CLOEXEC != 0),
                "{nodes:?}"
            );
            assert_eq!(waitpid(Pid::from_raw(-1), None), Err(Errno::ECHILD), "no child is left");
        },
    );
}

#[test]
fn refused_nodes_are_explained_one_by_one() {
    let prepare = |machine: &mut Machine| {
        fs::set_permissions(machine.file("dev/neuron3"), Permissions::from_mode(0o000)).unwrap();
        fs::remove_file(machine.file("dev/neuron4")).unwrap();
        machine.drop_privilege();
        Ok(())
    };
    on_machine("probe::refused_nodes_are_explained_one_by_one", prepare, || {
        let probe = probe(&Host::discover().unwrap(), ProbeOptions::default()).unwrap();
        let mut refused = Vec::new();
        for device in probe.devices {
            match device.answers {
                Ok(answers) => assert_not_the_neuron_driver(answers, &format!("/dev/{}", device.device)),
                Err(Error::NodeRefused { path, hint, cause, .. }) => refused.push((path, hint, cause.kind())),
                Err(error) => panic!("{error}"),
            }
        }
        let [third, fourth] = &refused[..] else { panic!("{refused:?}") };
        assert_eq!((third.0.as_path(), third.2), (Path::new("/dev/neuron3"), ErrorKind::PermissionDenied));
        assert!(third.1.contains("group neuron"), "{}", third.1);
        assert_eq!((fourth.0.as_path(), fourth.2), (Path::new("/dev/neuron4"), ErrorKind::NotFound));
        assert!(fourth.1.contains("container"), "{}", fourth.1);
    });
}

#[test]
fn a_member_of_an_ultraserver_is_probed_only_on_request() {
    let prepare = |machine: &mut Machine| {
        fs::write(machine.file(PRODUCT), "trn2u.48xlarge\n").unwrap();
        Ok(())
    };
    on_machine("probe::a_member_of_an_ultraserver_is_probed_only_on_request", prepare, || {
        let host = Host::discover().unwrap();
        let error = probe(&host, ProbeOptions::default()).unwrap_err();
        assert!(matches!(error, Error::ProbeRefused { .. }), "{error}");
        assert!(error.to_string().contains("trn2u.48xlarge is a member of an UltraServer or pod"), "{error}");
        assert_eq!(open_nodes(), []);

        assert_eq!(probe(&host, ProbeOptions::default().even_on_pods()).unwrap().devices.len(), 16);
        assert_eq!(open_nodes().len(), 16);
    });
}

#[test]
fn a_driver_with_force_userver_is_not_probed() {
    let prepare = |machine: &mut Machine| {
        fs::create_dir_all(machine.file("sys/module/neuron/parameters")).unwrap();
        fs::write(machine.file("sys/module/neuron/parameters/force_userver"), "1\n").unwrap();
        Ok(())
    };
    on_machine("probe::a_driver_with_force_userver_is_not_probed", prepare, || {
        let error = probe(&Host::discover().unwrap(), ProbeOptions::default()).unwrap_err();
        assert!(error.to_string().contains("force_userver"), "{error}");
        assert_eq!(open_nodes(), []);
    });
}

/// libnrt opens a node in the same way.
#[test]
fn a_process_with_an_open_device_is_not_forked_to_list_processes() {
    let name = "probe::a_process_with_an_open_device_is_not_forked_to_list_processes";
    on_machine(
        name,
        |_| Ok(()),
        || {
            let host = Host::discover().unwrap();
            let options = ProbeOptions::default();
            let in_use = File::open("/dev/neuron3").unwrap();
            let error = probe(&host, options.with_processes()).unwrap_err();
            assert!(matches!(error, Error::ProbeRefused { .. }), "{error}");
            assert!(error.to_string().contains("this process has /dev/neuron3 open"), "{error}");
            assert_eq!(open_nodes().len(), 1);
            probe(&host, options).unwrap();

            drop(in_use);
            probe(&host, options.with_processes()).unwrap();
        },
    );
}

#[test]
fn only_the_live_machine_can_be_probed() {
    let tree = tempfile::tempdir().unwrap();
    let table = Host::from_instance("trn2.48xlarge").unwrap();
    let record = Host::from_json(&table.to_json()).unwrap();
    for host in [table, record, Host::from_root(tree.path()).unwrap()] {
        let error = probe(&host, ProbeOptions::default().even_on_pods()).unwrap_err();
        let Error::NotLive { origin, .. } = error else { panic!("{error}") };
        assert_eq!(origin, host.origin().to_string());
    }
}
