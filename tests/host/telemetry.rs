//! Telemetry of trees that the real Neuron driver made, and of emulated trees.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nearfab::instances::InstanceTable;
use nearfab::telemetry::{Cost, DeviceState, EfaTelemetry, Power, PowerStatus, Reading};
use nearfab::{Error, Host, HostDevice, telemetry};

use crate::recorded_trees::recorded;
use crate::support::{Machine, on_machine};
use crate::tree;
use crate::write::write;

/// Returns an emulated host, with the statistics of its cores.
fn emulated(instance: &str) -> (tempfile::TempDir, Host) {
    let folder = tree::folder();
    nearfab_emu::write_tree(InstanceTable::find(instance).unwrap(), folder.path()).unwrap();
    let host = Host::from_root(folder.path()).unwrap();
    (folder, host)
}

#[test]
fn devices_of_the_real_driver_are_measured() {
    use DeviceState::{Ready, Reset};
    // The emulated functions of Trainium1 and Inferentia2 were incomplete, so the reset of these functions did not end.
    for (name, cores, state, host_memory) in
        [("trn2", 8, Ready, 4096), ("trn1", 2, Reset, 65536), ("inf2", 2, Reset, 65536)]
    {
        let tree = recorded(name);
        let telemetry = telemetry(&Host::from_root(tree.path()).unwrap()).unwrap();
        assert!(telemetry.efa.is_empty());
        let [device] = &telemetry.neuron[..] else { panic!("{name}: {telemetry:?}") };
        assert_eq!((device.device, &device.state), (HostDevice(0), &Some(state)));

        assert_eq!(device.ecc.cost, Cost::RegisterRead);
        let ecc: Vec<_> = device.ecc.values.keys().map(String::as_str).collect();
        assert_eq!(ecc, ["mem_ecc_repairable_uncorrected", "mem_ecc_uncorrected", "sram_ecc_uncorrected"]);
        assert!(device.ecc.values.values().all(|value| *value == Reading::Number(0)));
        assert!(device.health.values.is_empty(), "this driver has none");
        let Some(Power::Measured { status, time, average, .. }) = &device.power else { panic!("{:?}", device.power) };
        assert_eq!((status, *time, *average), (&PowerStatus::NoData, 0, 0.0));

        assert_eq!(device.host_memory.len(), 8);
        let driver = &device.host_memory["driver_memory"];
        assert!(driver.present.as_ref().unwrap().number().unwrap() > 0);
        assert!(driver.peak.as_ref().unwrap().number() >= driver.present.as_ref().unwrap().number());
        assert_eq!(device.cores.len(), cores);
        for (number, core) in (0..).zip(&device.cores) {
            assert_eq!(core.core.0, number);
            assert_eq!(core.host_memory.as_ref().unwrap().present, Some(Reading::Number(host_memory)));
            assert_eq!(core.device_memory.as_ref().unwrap().total, Some(Reading::Number(0)));
            assert_eq!(core.device_memory_by_use.len(), 11);
            assert!(core.device_memory_by_use.contains_key("tensors"));
        }
    }
}

#[test]
fn every_emulated_device_is_measured() {
    for (instance, efa, neuron, cores) in [("trn1.32xlarge", 8, 16, 2), ("trn2.48xlarge", 16, 16, 8)] {
        let (_tree, host) = emulated(instance);
        let telemetry = telemetry(&host).unwrap();
        assert_eq!((telemetry.efa.len(), telemetry.neuron.len()), (efa, neuron));
        for (interface, measured) in host.efa_interfaces().iter().zip(&telemetry.efa) {
            assert_eq!(measured.address, interface.address());
            assert_eq!((measured.device.cost, measured.port.cost), (Cost::AdminCommand, Cost::AdminCommand));
            assert_eq!((measured.device.number("cmds_err"), measured.port.number("rx_bytes")), (Some(0), Some(0)));
            assert_eq!(measured.port.number("lifespan"), Some(12));
            let counters = measured.port.values.keys().filter(|name| EfaTelemetry::is_counter(name)).count();
            assert_eq!(counters, measured.port.values.len() - 1);
        }
        assert!(telemetry.neuron.iter().all(|device| device.cores.len() == cores));
    }
}

#[test]
fn counters_change_and_the_host_stays_equal() {
    let (tree, host) = emulated("trn1.32xlarge");
    let before = telemetry(&host).unwrap();
    let rdma = host.efa_interfaces()[0].rdma.as_ref().unwrap();
    write(tree.path(), &format!("sys/class/infiniband/{rdma}/ports/1/hw_counters/rx_bytes"), "123456789012\n");
    let after = telemetry(&host).unwrap();
    assert_eq!(after.efa[0].port.number("rx_bytes"), Some(123_456_789_012));
    assert_eq!(after.efa[1..], before.efa[1..]);
    assert_eq!(Host::from_root(tree.path()).unwrap(), host, "a host has no counters");
}

#[test]
fn values_that_are_not_understood_are_kept() {
    let (tree, host) = emulated("trn1.32xlarge");
    let device =
        |path: &str, content: &str| write(tree.path(), &format!("sys/class/neuron_device/neuron0/{path}"), content);
    device("reset", "7\n");
    device("stats/hardware/mem_ecc_uncorrected", "-1\n");
    device("stats/hardware/later_addition", "18446744073709551615\n");
    device("stats/hardware/health_status/unhealthy_components", "hbm,link_efa\n");
    device("stats/power/utilization", "POWER_STATUS_LATER,1764000000,1.25,40.00,12.50\n");
    device("neuron_core1/stats/memory_usage/device_mem/present", "\u{0}\n");
    fs::remove_dir_all(tree.path().join("sys/class/neuron_device/neuron0/neuron_core0/stats")).unwrap();

    let measured = telemetry(&host).unwrap();
    let first = &measured.neuron[0];
    assert_eq!(first.state, Some(DeviceState::Unknown(7)));
    assert_eq!(first.ecc.values["mem_ecc_uncorrected"], Reading::Text("-1".to_owned()));
    assert_eq!(first.ecc.number("later_addition"), Some(u64::MAX));
    assert_eq!(first.health.cost, Cost::Unknown);
    assert_eq!(first.health.values["unhealthy_components"], Reading::Text("hbm,link_efa".to_owned()));
    let status = PowerStatus::Unknown("LATER".to_owned());
    let power = Power::Measured { status, time: 1_764_000_000, min: 1.25, max: 40.0, average: 12.5 };
    assert_eq!(first.power, Some(power));
    assert_eq!((&first.cores[0].device_memory, first.cores[0].device_memory_by_use.len()), (&None, 0));
    let present = first.cores[1].device_memory.as_ref().unwrap().present.clone();
    assert_eq!(present, Some(Reading::Text("\u{0}".to_owned())));

    for odd in ["", "POWER_STATUS_VALID,1,2,3", "POWER_STATUS_VALID,1,2,3,4,5", "POWER_STATUS_VALID,1,2,nan,4", "VALID"]
    {
        device("stats/power/utilization", odd);
        let power = telemetry(&host).unwrap().neuron[0].power.clone();
        assert_eq!(power, Some(Power::Unread(Reading::Text(odd.to_owned()))));
    }
    device("stats/power/utilization", "5");
    assert_eq!(telemetry(&host).unwrap().neuron[0].power, Some(Power::Unread(Reading::Number(5))));

    let text = serde_json::to_string(&measured).unwrap();
    assert_eq!(serde_json::from_str::<nearfab::telemetry::Telemetry>(&text).unwrap(), measured);
}

#[test]
fn a_counter_that_cannot_be_read_has_a_reason() {
    let (tree, host) = emulated("trn1.32xlarge");
    let rdma = host.efa_interfaces()[0].rdma.as_ref().unwrap();
    let counter = format!("sys/class/infiniband/{rdma}/hw_counters/cmds_err");
    write(tree.path(), &counter, &[0xff, 0xfe]);
    let counter = tree.path().join(counter);

    let measured = telemetry(&host).unwrap();
    let Reading::Failed(reason) = &measured.efa[0].device.values["cmds_err"] else { panic!("{measured:?}") };
    assert!(reason.contains(&*counter.to_string_lossy()), "{reason}");

    // A device that was removed after discovery is still in the host, and has no values.
    fs::remove_file(tree.path().join("sys/class/neuron_device/neuron4")).unwrap();
    let gone = &telemetry(&host).unwrap().neuron[4];
    assert_eq!((&gone.state, &gone.power, gone.ecc.values.len()), (&None, &None, 0));
}

/// On a machine the driver shows the state only to root.
#[test]
fn a_state_that_only_root_may_read_is_refused_to_other_users() {
    let prepare = |machine: &mut Machine| {
        for (device, mode) in [(2, 0o644), (3, 0o000)] {
            let state = machine.file(&format!("sys/class/neuron_device/neuron{device}/reset"));
            fs::set_permissions(state, Permissions::from_mode(mode)).unwrap();
        }
        machine.drop_privilege();
        Ok(())
    };
    on_machine("telemetry::a_state_that_only_root_may_read_is_refused_to_other_users", prepare, || {
        let measured = telemetry(&Host::discover().unwrap()).unwrap();
        assert_eq!(measured.neuron[2].state, Some(DeviceState::Ready));
        assert_eq!(measured.neuron[3].state, Some(DeviceState::Unread(Reading::Refused)));
    });
}

#[test]
fn only_a_tree_can_be_measured() {
    let (tree, host) = emulated("trn1.32xlarge");
    let record = Host::from_json(&host.to_json()).unwrap();
    for (host, origin) in
        [(record, tree.path().to_str().unwrap()), (Host::from_instance("trn1.32xlarge").unwrap(), "table")]
    {
        let error = telemetry(&host).unwrap_err();
        assert!(matches!(&error, Error::NoTree { .. }), "{error}");
        assert!(error.to_string().contains(origin), "{error}");
    }
    drop(tree);
    let error = telemetry(&host).unwrap_err();
    assert!(matches!(&error, Error::Read { path, .. } if Path::new(path).is_absolute()), "{error}");
}
