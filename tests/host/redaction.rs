//! A redacted record has nothing that identifies the machine or its owner, and gives the same answers about nearness.

use nearfab::instances::{InstanceTable, tables};
use nearfab::system::Process;
use nearfab::{Basis, Host, Record};
use nearfab_emu::Defect;

use crate::tree::{self, tree_of};
use crate::write::write;

/// Returns a record of a tree with secrets in every place that nearfab reads, and the list of the secrets. The tree's
/// folder has a secret name too.
fn planted() -> (tempfile::TempDir, Record, Vec<&'static str>) {
    let dir = tree::folder();
    let root = dir.path().join("home/alice-secret/tree");
    let table = InstanceTable::find("trn2.48xlarge").unwrap();
    nearfab_emu::write_tree_with(table, &[Defect::NoCoreStatistics], &root).unwrap();
    let neuron = "sys/devices/virtual/neuron_device";
    write(&root, &format!("{neuron}/neuron3/info/serial_number"), "5ec4e75e41a10003\n");
    write(&root, &format!("{neuron}/neuron4/info/serial_number"), "5ec4e75e41a10003\n");
    write(&root, &format!("{neuron}/neuron5/connected_devices"), "i-0abcdef0123456789 and 5ec4e75e41a10003\n");
    let rdma = "sys/class/infiniband/rdmap201s0";
    write(&root, &format!("{rdma}/node_guid"), "5ec4:e75e:0000:1000\n");
    write(&root, &format!("{rdma}/ports/1/gids/0"), "fe80:0000:0000:0000:005e:c4ff:fe75:e000\n");
    write(&root, "sys/class/infiniband/rdmap202s0/ports/1/state", "ip-10-11-12-13.ec2.internal\n");
    write(&root, "sys/module/efa/version", "3.1.0-alice-secret\n");
    write(&root, &format!("{rdma}/fw_ver"), "alice-secret\n");
    write(&root, "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "06:5e:c4:e7:5e:00\n");
    write(&root, "proc/sys/kernel/osrelease", "6.1.0-alice-secret\n");
    write(&root, "usr/src/aws-neuronx-2.30.2.0-alice-secret/x", "");
    write(&root, "etc/ld.so.conf.d/own.conf", "/home/alice-secret/lib\n");
    write(&root, "var/lib/kubelet/plugins/alice-secret.example/dra.sock", "");
    write(&root, "var/lib/kubelet/plugins_registry/alice-secret.sock", "");
    write(&root, "var/lib/kubelet/device-plugins/alice-secret.sock", "");
    let checkpoint = r#"{"Data": {"RegisteredDevices": {"alice-secret/efa": ["x"]}}}"#;
    write(&root, "var/lib/kubelet/device-plugins/kubelet_internal_checkpoint", checkpoint);
    write(&root, "proc/471147/comm", "alice-secret\n");
    let environment = [
        "FI_PROVIDER=alice-secret",
        "FI_EFA_IFACE=alice-secret",
        "FI_EFA_USE_DEVICE_RDMA=1",
        "NEURON_RT_ROOT_COMM_ID=10.11.12.13:41111",
        "NEURON_PROCESS_TAG=alice-secret",
        "NEURON_RT_VISIBLE_CORES=0-7",
        "NCCL_SOCKET_IFNAME=alice-secret",
        "LD_LIBRARY_PATH=/opt/aws/neuron/lib:/home/alice-secret/lib",
        "PATH=/usr/bin:/home/alice-secret/bin",
    ];
    write(&root, "proc/471147/environ", &environment.join("\0"));
    let maps = "7f00-7f01 r-xp 00000000 103:01 7  /home/alice-secret/venv/libfabric-1a2b3c4d.so.1.25.0\n\
                7f02-7f03 r-xp 00000000 103:01 8  /opt/amazon/efa/lib64/libfabric.so.1.32.0\n";
    write(&root, "proc/471147/maps", maps);

    let host = Host::from_root(&root).unwrap();
    let mut record = Record::take(&host).unwrap();
    let system = record.system.as_mut().unwrap();
    system.process = Some(Process::read(&host, 471147).unwrap());
    // nearfab reads no such version from a file. Another program may have written the record.
    let symbols = system.libraries.iter_mut().find_map(|library| library.symbols.as_mut()).unwrap();
    symbols.defined.push("EFA_alice-secret".to_owned());
    let needed = system.libraries.iter_mut().filter_map(|library| library.symbols.as_mut());
    for need in needed.flat_map(|symbols| symbols.needed.last_mut()) {
        need.version = "IBVERBS_alice-secret".to_owned();
    }
    let secrets = [
        "alice-secret",
        "5ec4e75e41a10003",
        "5ec4:e75e",
        "5e:c4",
        "5e:c4ff",
        "0abcdef0123456789",
        "10-11-12-13",
        "10.11.12.13",
        "41111",
        "471147",
        "ec2.internal",
    ];
    (dir, record, secrets.to_vec())
}

#[test]
fn no_planted_secret_is_in_a_redacted_record() {
    let (dir, record, secrets) = planted();
    let plain = record.to_json();
    let redacted = record.redacted().to_json();
    for secret in secrets.into_iter().chain([dir.path().to_str().unwrap()]) {
        assert!(plain.contains(secret), "{secret} is planted in a place that is not recorded");
        assert!(!redacted.contains(secret), "{secret} is in {redacted}");
    }
    let read = Record::from_json(&redacted).unwrap();
    assert!(read.is_redacted() && !record.is_redacted());
    assert_eq!(read.to_json(), redacted);
}

#[test]
fn harmless_values_stay_and_equal_values_stay_equal() {
    let (_dir, record, _) = planted();
    let Record { host, system, .. } = record.redacted();
    let neuron = host.neuron_devices();
    assert_eq!(neuron[3].serial, neuron[4].serial);
    assert_ne!(neuron[3].serial, neuron[6].serial);
    assert!(neuron[3].serial.as_ref().unwrap().starts_with("redacted-"));
    let around = system.unwrap();
    let process = around.process.unwrap();
    assert_eq!(process.variable("FI_EFA_USE_DEVICE_RDMA"), Some("1"));
    assert_eq!(process.variable("NEURON_RT_VISIBLE_CORES"), Some("0-7"));
    assert!(process.variable("LD_LIBRARY_PATH").unwrap().starts_with("/opt/aws/neuron/lib:/redacted-"));
    let libraries = process.libraries.unwrap();
    assert!(libraries[0].path.ends_with("/libfabric-1a2b3c4d.so.1.25.0"));
    assert_eq!(libraries[1].path, "/opt/amazon/efa/lib64/libfabric.so.1.32.0");
    assert!(around.kernel.unwrap().starts_with("6.1.0-redacted-"));
    assert!(host.problems().iter().any(|problem| problem.contains("/ports/1/state: expected a port state")));
    // The same secret in a sentence and in a field has one name.
    assert!(around.problems.iter().all(|problem| problem.contains("redacted-")));
}

#[test]
fn redaction_changes_no_answer_about_nearness() {
    for table in tables() {
        let dir = tree_of(table, &[]);
        let record = Record::take(&Host::from_root(dir.path()).unwrap()).unwrap();
        let redacted = record.redacted().host;
        for device in record.host.neuron_devices() {
            for basis in [Basis::Pairing, Basis::Place] {
                let before = record.host.near_device(device.index, basis).unwrap();
                assert_eq!(redacted.near_device(device.index, basis).unwrap(), before, "{}", table.instance_type);
            }
        }
        for efa in record.host.efa_interfaces() {
            let before = record.host.near_efa(efa.address(), Basis::Pairing).unwrap();
            assert_eq!(redacted.near_efa(efa.address(), Basis::Pairing).unwrap(), before);
        }
        let names =
            |host: &Host| -> Vec<Option<String>> { host.efa_interfaces().iter().map(|efa| efa.rdma.clone()).collect() };
        assert_eq!(names(&redacted), names(&record.host));
        assert_eq!(redacted.numbering(), record.host.numbering());
        assert!(!redacted.is_live());
    }
}

#[test]
fn a_record_is_read_as_a_host_and_a_host_as_a_record() {
    let dir = tree_of(InstanceTable::find("trn1.32xlarge").unwrap(), &[]);
    let host = Host::from_root(dir.path()).unwrap().with_details().unwrap();
    let record = Record::take(&host).unwrap();
    assert_eq!(Host::from_json(&record.to_json()).unwrap(), host);
    assert_eq!(Record::from_json(&record.to_json()).unwrap(), record);
    // A host without system information is a record too.
    let plain = Record::from_json(&host.to_json()).unwrap();
    assert_eq!((plain.host, plain.system), (host, None));
    // Fields and words of a newer version of nearfab are skipped.
    let newer = record.to_json().replacen("\"ptrace_scope\"", "\"colour\": 1, \"ptrace_scope\"", 1);
    let newer = newer.replacen("\"rdma_namespaces\": \"shared\"", "\"rdma_namespaces\": \"woven\"", 1);
    assert!(Record::from_json(&newer).is_ok());
}
