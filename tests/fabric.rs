//! Tests of the interfaces that libfabric finds, with the real library, and with a stand-in for a host with EFA
//! interfaces.

#[expect(dead_code, reason = "no test here opens a device")]
mod support;

use nearfab::context::fabric::{EndpointKind, Interface, Query};
use nearfab::{Error, Host, Result};
use support::{Machine, on_machine};

fn of(provider: &str) -> Query {
    Query::default().provider(provider)
}

fn find_everything() -> Result<()> {
    let host = Host::from_instance("trn2.48xlarge")?;
    let all = Interface::find(&Query::default())?;
    assert_eq!(all.len(), 7);
    let efa: Vec<Option<String>> =
        all.iter().map(|interface| interface.efa(&host).map(|efa| efa.address().to_string())).collect();
    let (first, second) = (Some("0000:c9:00.0".to_owned()), Some("0000:ca:00.0".to_owned()));
    assert_eq!(efa, [first.clone(), first.clone(), first, second, None, None, None]);
    assert_eq!((all[0].provider.as_str(), all[0].domain.as_str()), ("efa", "rdmap201s0-rdm"));
    assert_eq!((all[0].endpoint, all[0].max_message), (EndpointKind::ReliableDatagram, 8928));
    assert_eq!((all[2].endpoint, all[4].endpoint), (EndpointKind::Datagram, EndpointKind::Unknown(77)));
    assert_eq!((all[4].address, all[5].address), (None, None), "an invalid PCI address, and a bus that is not PCI");
    assert_eq!((all[6].domain.as_str(), all[6].address), ("", None));
    assert_eq!(Interface::find(&of("efa"))?.len(), 5);
    assert!(Interface::find(&of("sockets"))?.is_empty());
    Ok(())
}

#[test]
fn entries_of_one_interface_are_one_device() {
    on_machine("entries_of_one_interface_are_one_device", Machine::add_fabric, || find_everything().unwrap());
}

#[test]
#[ignore = "cargo xtask valgrind runs it"]
fn valgrind_finds_no_error_in_the_list() {
    let prepare = |machine: &mut Machine| {
        machine.check_memory()?;
        machine.add_fabric()
    };
    on_machine("valgrind_finds_no_error_in_the_list", prepare, || find_everything().unwrap());
}

#[test]
fn a_failure_has_the_words_of_the_library() {
    let prepare = |machine: &mut Machine| {
        machine.set("STUB_FAIL", "fi_getinfo:22");
        machine.add_fabric()
    };
    on_machine("a_failure_has_the_words_of_the_library", prepare, || {
        let error = Interface::find(&Query::default()).unwrap_err();
        assert!(matches!(error, Error::Call { function: "fi_getinfo", .. }), "{error}");
        assert!(error.to_string().contains("Invalid argument"), "{error}");
    });
}

#[test]
fn a_variable_that_makes_libfabric_abort_is_refused_before_loading() {
    let prepare = |machine: &mut Machine| {
        machine.set("FI_EFA_IFACE", "");
        std::fs::write(machine.library("libfabric.so.1"), "").unwrap();
        Ok(())
    };
    on_machine("a_variable_that_makes_libfabric_abort_is_refused_before_loading", prepare, || {
        let Error::Aborts { variable, .. } = Interface::find(&of("tcp")).unwrap_err() else { panic!("not refused") };
        assert_eq!(variable, "FI_EFA_IFACE");
    });
}

#[test]
fn a_name_with_a_zero_byte_is_refused() {
    match Interface::find(&of("e\0a")) {
        Err(Error::Library { reason, .. }) => nearfab_emu::skipped("fabric name", reason),
        other => assert!(matches!(other, Err(Error::BadName { .. })), "{other:?}"),
    }
}

/// Every host has TCP and shared memory. TCP and shared memory have no PCI function.
#[test]
fn the_real_library_finds_tcp_and_shared_memory() {
    for provider in ["tcp", "shm"] {
        let found = match Interface::find(&of(provider)) {
            Err(Error::Library { reason, .. }) => return nearfab_emu::skipped("libfabric", reason),
            found => found.unwrap(),
        };
        assert!(!found.is_empty(), "{provider}");
        for interface in found {
            assert!(interface.provider.contains(provider), "{interface:?}");
            assert!(interface.max_message > 0 && !interface.fabric.is_empty(), "{interface:?}");
            assert_eq!(interface.address, None, "{interface:?}");
        }
    }
}
