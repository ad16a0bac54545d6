//! Tests of opening EFA interfaces through a stand-in for libibverbs, on an emulated machine.

#[path = "support/allocations.rs"]
mod allocations;
#[expect(dead_code, reason = "the tests of queues and regions use the rest")]
mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use allocations::allocations;
use nearfab::context::{Closed, Efa, EfaCapabilities, LinkLayer, Mtu, PhysicalState, PortSpeed, PortWidth};
use nearfab::{Bdf, Error, Host, NodeAccess, PortState, Result};
use support::{Machine, Skip, calls, is_slow, on_machine};

/// Returns the live host, and the addresses of its interfaces in the order of their nodes.
fn live() -> Result<(Host, Vec<Bdf>)> {
    let host = Host::discover()?;
    assert!(host.is_live());
    let mut interfaces: Vec<_> = host.efa_interfaces().to_vec();
    interfaces.sort_by_key(|interface| interface.uverbs);
    let addresses: Vec<_> = interfaces.iter().map(|interface| interface.address()).collect();
    assert_eq!(addresses.len(), 16);
    Ok((host, addresses))
}

fn share_and_close() -> Result<()> {
    let (host, efa) = live()?;
    let first = Efa::open(&host, efa[0])?;
    assert_eq!(first.users()?, 1);

    // Another user in this process shares the context without the first user's handle.
    let second = Efa::open(&Host::discover()?, efa[0])?;
    assert_eq!((first.users()?, second.users()?), (2, 2));
    assert_eq!(calls("ibv_open_device"), 1);

    let other = Efa::open(&host, efa[1])?;
    assert_eq!((other.users()?, other.address()), (1, efa[1]));
    assert_eq!(calls("ibv_open_device"), 2);
    assert_eq!(other.close()?, Closed::Now);
    assert_eq!(calls("ibv_close_device"), 1);

    let third = second.clone();
    assert_eq!((first.close()?, third.users()?), (Closed::Later, 2));
    drop(second);
    assert_eq!(calls("ibv_close_device"), 1);
    third.device_attributes()?;
    assert_eq!(third.close()?, Closed::Now);
    assert_eq!(calls("ibv_close_device"), 2);

    // A closed interface can be opened again. A drop of the last handle closes too.
    drop(Efa::open(&host, efa[0])?);
    assert_eq!((calls("ibv_open_device"), calls("ibv_close_device")), (3, 3));
    assert_eq!(calls("ibv_free_device_list"), calls("ibv_get_device_list"));
    Ok(())
}

#[test]
fn two_users_share_one_context() {
    on_machine("two_users_share_one_context", Machine::add_stub, || share_and_close().unwrap());
}

fn ask_everything() -> Result<()> {
    let (host, efa) = live()?;
    let efa = Efa::open(&host, efa[0])?;

    let device = efa.device_attributes()?;
    assert_eq!((device.firmware.as_str(), device.node_guid), ("0.0.0.0", 0x0102_0304_0506_0708));
    assert_eq!((device.vendor_id, device.part_id, device.hardware_version), (0x1d0f, 0xefa1, 0xefa1));
    assert_eq!((device.max_memory_region_size, device.max_memory_regions), (96 << 30, 262_144));
    assert_eq!((device.max_queue_pairs, device.max_work_requests, device.ports), (256, 4096, 1));

    let port = efa.port_attributes()?;
    assert_eq!((port.state, port.physical_state), (PortState::Active, PhysicalState::LinkUp));
    assert_eq!((port.max_mtu, port.max_message_size), (Mtu::Bytes4096, 8928));
    assert_eq!((port.active_width, port.active_speed), (PortWidth::X4, PortSpeed::Edr));
    assert_eq!((port.link_layer, port.gid_table_length), (LinkLayer::Unspecified, 1));

    let own = efa.efa_attributes()?;
    assert_eq!((own.max_send_requests, own.max_receive_requests), (4096, 32768));
    assert_eq!((own.max_inline, own.max_rdma_size), (32, 1 << 30));
    assert!(own.capabilities.contains(EfaCapabilities::RDMA_WRITE));
    assert_eq!(own.capabilities.bits(), 0x8000_000f, "an unknown bit is kept");

    assert_eq!(efa.gid()?.to_string(), "fe80::8ff:fe01:203:405");
    Ok(())
}

#[test]
fn attributes_are_those_of_the_library() {
    on_machine("attributes_are_those_of_the_library", Machine::add_stub, || ask_everything().unwrap());
}

#[test]
#[ignore = "cargo xtask valgrind runs it"]
fn valgrind_finds_no_error_in_sharing_and_queries() {
    let prepare = |machine: &mut Machine| {
        machine.check_memory()?;
        machine.add_stub()
    };
    on_machine("valgrind_finds_no_error_in_sharing_and_queries", prepare, || {
        share_and_close().unwrap();
        ask_everything().unwrap();
    });
}

#[test]
fn opening_an_open_interface_allocates_nothing() {
    on_machine("opening_an_open_interface_allocates_nothing", Machine::add_stub, || {
        let (host, efa) = live().unwrap();
        let (kept, none) = (Efa::open(&host, efa[0]).unwrap(), allocations());
        (0..1_000).for_each(|_| drop(Efa::open(&host, efa[0]).unwrap()));
        (0..1_000).for_each(|_| drop(kept.clone()));
        assert_eq!(allocations(), none);
        drop(Efa::open(&host, efa[1]).unwrap());
        assert!(allocations() > none, "they are counted");
    });
}

/// The stand-in aborts if an interface has two contexts, or if a context is closed while it is used.
#[test]
fn threads_that_open_and_close_have_one_context_at_a_time() {
    let prepare = |machine: &mut Machine| {
        machine.add_stub()?;
        machine.forget_log();
        machine.set("STUB_VERBS_ALONE", "1");
        Ok(())
    };
    on_machine("threads_that_open_and_close_have_one_context_at_a_time", prepare, || {
        let (host, efa) = live().unwrap();
        let openings = if is_slow() { 1_000 } else { 1_000_000 };
        let open = || Efa::open(&host, efa[0]).unwrap();
        let open_and_ask = || assert_eq!(open().device_attributes().unwrap().ports, 1);
        thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(|| (0..openings).for_each(|_| open_and_ask())))));
        assert_eq!(open().close().unwrap(), Closed::Now);
        let opened_here = open();
        assert_eq!(thread::spawn(|| opened_here.close()).join().unwrap().unwrap(), Closed::Now);
    });
}

#[test]
fn a_refused_node_is_explained_before_the_library_is_called() {
    let prepare = |machine: &mut Machine| {
        fs::set_permissions(machine.file("dev/infiniband/uverbs0"), Permissions::from_mode(0o000)).unwrap();
        fs::remove_file(machine.file("dev/infiniband/uverbs1")).unwrap();
        machine.drop_privilege();
        machine.add_stub()
    };
    on_machine("a_refused_node_is_explained_before_the_library_is_called", prepare, || {
        let (host, efa) = live().unwrap();
        let cases = [
            (efa[0], "uverbs0", NodeAccess::Refused, 13, "this user may not read and write it"),
            (efa[1], "uverbs1", NodeAccess::Missing, 2, "the node does not exist"),
        ];
        for (address, name, access, errno, words) in cases {
            assert_eq!(host.find_efa(address).unwrap().access, access);
            let error = Efa::open(&host, address).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
            let Error::NodeRefused { path, cause, .. } = error else { panic!("{error}") };
            assert_eq!(path, Path::new("/dev/infiniband").join(name));
            assert_eq!(cause.raw_os_error(), Some(errno));
        }
        assert_eq!(calls("ibv_open_device"), 0);

        // The other interfaces work without privilege.
        assert_eq!(Efa::open(&host, efa[2]).unwrap().users().unwrap(), 1);
        assert_eq!(calls("ibv_open_device"), 1);
    });
}

#[test]
fn each_failure_of_the_library_is_reported() {
    let prepare = |machine: &mut Machine| {
        let functions =
            ["ibv_query_device:5", "query_port:22", "ibv_query_gid:61", "efadv_query_device:95", "ibv_close_device:16"];
        machine.set("STUB_FAIL", &functions.join(","));
        machine.add_stub()
    };
    on_machine("each_failure_of_the_library_is_reported", prepare, || {
        let (host, efa) = live().unwrap();
        let open = || Efa::open(&host, efa[0]).unwrap();
        let efa = open();
        failed(efa.device_attributes(), "ibv_query_device", 5);
        failed(efa.port_attributes(), "ibv_query_port", 22);
        failed(efa.gid(), "ibv_query_gid", 61);
        failed(efa.efa_attributes(), "efadv_query_device", 95);
        failed(efa.close(), "ibv_close_device", 16);

        // After a failed close the interface counts as closed. A failed close in a drop has no effect.
        assert_eq!(open().users().unwrap(), 1);
        assert_eq!((calls("ibv_open_device"), calls("ibv_close_device")), (2, 2));
    });
}

#[test]
fn opening_can_be_tried_again_after_a_failure() {
    let prepare = |machine: &mut Machine| {
        machine.set("STUB_FAIL", "ibv_open_device:12");
        machine.add_stub()
    };
    on_machine("opening_can_be_tried_again_after_a_failure", prepare, || {
        let (host, efa) = live().unwrap();
        for attempt in 1..=2 {
            failed(Efa::open(&host, efa[0]), "ibv_open_device", 12);
            assert_eq!(calls("ibv_open_device"), attempt);
            assert_eq!(calls("ibv_free_device_list"), attempt);
        }
    });
}

fn failed<T>(result: Result<T>, name: &str, errno: i32) {
    let Some(Error::Call { function, device, cause, .. }) = result.err() else { panic!("{name} did not fail") };
    assert_eq!((function, cause.raw_os_error()), (name, Some(errno)));
    assert!(device.starts_with("rdmap") && device.contains(" (0000:"), "{device}");
}

#[test]
fn a_kernel_without_rdma_is_explained() {
    let prepare = |machine: &mut Machine| {
        machine.set("STUB_FAIL", "ibv_get_device_list:38");
        machine.add_stub()
    };
    on_machine("a_kernel_without_rdma_is_explained", prepare, || {
        let (host, efa) = live().unwrap();
        let error = Efa::open(&host, efa[0]).unwrap_err();
        assert!(matches!(error, Error::NoSuchDevice { .. }), "{error}");
        assert!(error.to_string().contains("no RDMA subsystem"), "{error}");
    });
}

#[test]
fn an_interface_that_the_library_does_not_list_is_explained() {
    let prepare = |machine: &mut Machine| {
        let nodes = fs::read_dir(machine.file("sys/class/infiniband_verbs")).unwrap();
        for node in nodes.map(|node| node.unwrap().path()).filter(|path| path.ends_with("uverbs0")) {
            fs::write(node.join("ibdev"), "renamed\n").unwrap();
        }
        machine.add_stub()
    };
    on_machine("an_interface_that_the_library_does_not_list_is_explained", prepare, || {
        let (host, efa) = live().unwrap();
        let error = Efa::open(&host, efa[0]).unwrap_err();
        assert!(matches!(error, Error::NoSuchDevice { .. }), "{error}");
        assert!(error.to_string().contains("renamed"), "{error}");
        assert_eq!(calls("ibv_open_device"), 0);
        assert_eq!(calls("ibv_free_device_list"), 1);
    });
}

/// Swaps the entries of two devices of a class. Renaming the devices or loading their driver again may swap entries
/// like this.
fn swap(class: &str, names: [&str; 2]) {
    let class = Path::new("/sys/class").join(class);
    let [one, other] = names.map(|name| class.join(name));
    let between = class.join("between");
    for (from, to) in [(&one, &between), (&other, &one), (&between, &other)] {
        fs::rename(from, to).expect("the class is writable here");
    }
}

#[test]
fn an_interface_whose_names_were_given_to_another_is_not_opened() {
    let name = "an_interface_whose_names_were_given_to_another_is_not_opened";
    on_machine(name, Machine::add_stub, || {
        let (host, efa) = live().unwrap();
        let named = |at: usize| host.find_efa(efa[at]).unwrap().rdma.clone().unwrap();
        let (first, second) = (named(0), named(1));
        let refused = |efa| {
            let error = Efa::open(&host, efa).unwrap_err();
            assert!(matches!(error, Error::NoSuchDevice { .. }), "{error}");
            assert!(error.to_string().contains("discover the host again"), "{error}");
        };

        swap("infiniband", [&first, &second]);
        refused(efa[0]);
        swap("infiniband", [&first, &second]);
        swap("infiniband_verbs", ["uverbs0", "uverbs1"]);
        refused(efa[1]);
        assert_eq!(calls("ibv_open_device"), 0);

        // An interface that kept its names is opened. A new discovery finds the renamed interfaces.
        Efa::open(&host, efa[2]).unwrap();
        swap("infiniband_verbs", ["uverbs0", "uverbs1"]);
        Efa::open(&Host::discover().unwrap(), efa[0]).unwrap();
    });
}

#[test]
fn a_library_that_cannot_be_loaded_is_explained() {
    let prepare = |machine: &mut Machine| {
        fs::write(machine.library("libibverbs.so.1"), "").unwrap();
        Ok(())
    };
    on_machine("a_library_that_cannot_be_loaded_is_explained", prepare, || {
        let (host, efa) = live().unwrap();
        let error = Efa::open(&host, efa[0]).unwrap_err();
        assert!(matches!(error, Error::Library { library: "libibverbs.so.1", .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("file too short") && text.contains("libibverbs1"), "{text}");
    });
}

#[test]
fn a_function_that_the_library_lacks_is_named() {
    let prepare = |machine: &mut Machine| {
        machine.compile("libibverbs.so.1", "typedef int nothing;\n").map_err(|_| Skip("no C compiler".to_owned()))
    };
    on_machine("a_function_that_the_library_lacks_is_named", prepare, || {
        let (host, efa) = live().unwrap();
        let error = Efa::open(&host, efa[0]).unwrap_err();
        let Error::MissingSymbol { library, symbol, .. } = error else { panic!("{error}") };
        assert_eq!((library, symbol), ("libibverbs.so.1", "ibv_get_device_list"));
    });
}

/// The real library lists the emulated interfaces with its real provider. Opening needs a kernel driver, so it fails.
#[test]
fn the_real_library_fails_to_open_an_emulated_interface() {
    let name = "the_real_library_fails_to_open_an_emulated_interface";
    on_machine(
        name,
        |_| Ok(()),
        || {
            let (host, efa) = live().unwrap();
            match Efa::open(&host, efa[0]).unwrap_err() {
                Error::Library { reason, .. } if !support::is_library_known("libibverbs.so.1") => {
                    nearfab_emu::skipped(name, reason);
                }
                error => assert!(matches!(error, Error::Call { function: "ibv_open_device", .. }), "{error}"),
            }
        },
    );
}

#[test]
fn only_the_live_machine_can_be_opened() {
    let host = Host::from_instance("trn2.48xlarge").unwrap();
    let error = Efa::open(&host, host.efa_interfaces()[0].address()).unwrap_err();
    let Error::NotLive { origin, .. } = error else { panic!("{error}") };
    assert!(origin.contains("trn2.48xlarge"), "{origin}");
}
