//! Tests a host of each family, in a few seconds. A fault in nearfab's readings, answers or plans should fail at least
//! one test.
//!
//! The expected values are captured on real hosts, published by AWS, or worked out by hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use nearfab::instances::{GroupSize, InstanceTable};
use nearfab::plan::{PlanOptions, visible_cores};
use nearfab::system::Process;
use nearfab::telemetry::{Cost, DeviceState, Power, Reading};
use nearfab::verify::Verdict;
use nearfab::version_rules::{Versions, rules};
use nearfab::{
    Basis, Bdf, Change, ContainerDevice, Core, CpuCores, CpuList, ErrorCode, Guid, Host, HostDevice, LinkSpeed,
    LinkWidth, LogicalCore, NearList, NodeAccess, NothingFound, PciId, PciRoot, PortState, Proximity, Record,
    SystemInfo, plan, telemetry, verify,
};
use nearfab_emu::Defect;
use serde_json::Value;
use tempfile::TempDir;

use crate::captured_hosts::{captures, function, gpu_host, trn1_host};
use crate::tree::tree_of;
use crate::user::as_unprivileged_user;
use crate::write::write;

fn tree(instance_type: &str, defects: &[Defect]) -> TempDir {
    tree_of(InstanceTable::find(instance_type).unwrap(), defects)
}

/// Returns a host by its table, and the same host by its tree. Each tree is written once.
fn hosts(instance_type: &'static str) -> [Host; 2] {
    static HOSTS: Mutex<BTreeMap<&str, [Host; 2]>> = Mutex::new(BTreeMap::new());
    let mut hosts = HOSTS.lock().unwrap_or_else(PoisonError::into_inner);
    let read = || {
        let tree = tree(instance_type, &[]);
        let scanned = Host::from_root(tree.path()).unwrap();
        assert_eq!(scanned.problems(), [""; 0], "{instance_type}");
        [Host::from_instance(instance_type).unwrap(), scanned]
    };
    hosts.entry(instance_type).or_insert_with(read).clone()
}

fn bdf(text: &str) -> Bdf {
    text.parse().unwrap()
}

fn device(host: &Host, number: u32, basis: Basis) -> NearList<Bdf> {
    host.near_device(HostDevice(number), basis).unwrap()
}

/// Returns each rank with the number of neighbours and the evidence: `1: 1 table trn2.48xlarge, 2: 1 same PCIe switch`.
fn ranks<T>(list: &NearList<T>) -> String {
    let mut ranks: BTreeMap<(u32, String), usize> = BTreeMap::new();
    list.entries.iter().for_each(|near| *ranks.entry((near.rank, near.evidence.to_string())).or_default() += 1);
    let texts: Vec<String> =
        ranks.iter().map(|((rank, evidence), count)| format!("{rank}: {count} {evidence}")).collect();
    texts.join(", ")
}

fn nearest<T: ToString>(list: &NearList<T>) -> Vec<String> {
    list.nearest_by_rank().map(|near| near.target.to_string()).collect()
}

/// Returns the CPUs of each rank.
fn cpus(host: &Host, ranks: u32) -> Vec<String> {
    let plan = plan(host, &PlanOptions::ranks(ranks)).unwrap();
    plan.ranks.iter().map(|rank| rank.cpus.cpus.to_string()).collect()
}

/// Returns the environment of the last rank.
fn environment(host: &Host, options: &PlanOptions) -> String {
    let plan = plan(host, options).unwrap();
    let pairs = plan.ranks.last().unwrap().environment.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join(" ")
}

/// Returns the neighbours of a device.
fn links(host: &Host, device: usize) -> Vec<u32> {
    host.links()[device].neighbours.iter().map(|device| device.0).collect()
}

#[test]
fn devices_are_paired_as_aws_publishes() {
    let published: Value = serde_json::from_str(include_str!("../captured/neuron-efa-pairs.json")).unwrap();
    for (instance_type, map) in [("trn1.32xlarge", "trn1"), ("trn2.48xlarge", "trn2"), ("trn3.48xlarge", "trn3")] {
        let pairs = published["neuron_to_efa"][map].as_object().unwrap();
        assert_eq!(pairs.len(), 16);
        for host in hosts(instance_type) {
            assert_eq!(host.neuron_devices().len(), 16);
            for (number, pair) in pairs {
                let number: u32 = number.parse().unwrap();
                let pair = pair.as_str().unwrap();
                let near = device(&host, number, Basis::Pairing);
                assert_eq!(nearest(&near), [pair], "{instance_type} neuron{number}");
                let evidence = near.nearest_by_rank().next().unwrap().evidence.to_string();
                assert_eq!(evidence, format!("table {instance_type}"));
                let back = host.near_efa(bdf(pair), Basis::Pairing).unwrap();
                assert!(back.nearest_by_rank().any(|near| near.target == HostDevice(number)), "{instance_type} {pair}");
            }
        }
    }
}

/// Each switch of trn2 has two devices and two interfaces. Each root of trn1 has four devices and two interfaces. No
/// place of a trn3 device is published.
#[test]
fn neighbours_are_ranked_by_switch_root_and_numa_node() {
    for host in hosts("trn2.48xlarge") {
        let near = device(&host, 5, Basis::Pairing);
        let far = "3: 6 same NUMA node, 4: 8 other NUMA node";
        assert_eq!(ranks(&near), format!("1: 1 table trn2.48xlarge, 2: 1 same PCIe switch, {far}"));
        let near = device(&host, 5, Basis::Place);
        assert_eq!(ranks(&near), "1: 2 same PCIe switch, 2: 6 same NUMA node, 3: 8 other NUMA node");
        assert_eq!(nearest(&near), ["0000:56:00.0", "0000:57:00.0"]);
        assert!(near.nearest_by_rank().all(|near| near.proximity == Proximity::SameSwitch { bridges: 2 }));
        let near = host.near_logical_core(LogicalCore(21), Basis::Pairing).unwrap();
        assert_eq!(nearest(&near), ["0000:57:00.0"], "the second logical core of neuron5");
        assert_eq!(
            host.near_core("neuron5:8".parse().unwrap(), Basis::Place).unwrap_err().code(),
            ErrorCode::NoSuchDevice
        );
    }
    for host in hosts("trn1.32xlarge") {
        let near = device(&host, 4, Basis::Pairing);
        let far = "3: 2 same NUMA node, 4: 4 other NUMA node";
        assert_eq!(ranks(&near), format!("1: 1 table trn1.32xlarge, 2: 1 same PCI root, {far}"));
        assert_eq!(nearest(&device(&host, 4, Basis::Place)), ["0000:20:19.0", "0000:20:1a.0"]);
        let near = host.near_efa(bdf("20:19.0"), Basis::Pairing).unwrap();
        assert_eq!(nearest(&near), ["neuron4", "neuron5"]);
    }
    for host in hosts("trn3.48xlarge") {
        assert_eq!(ranks(&device(&host, 0, Basis::Pairing)), "1: 1 table trn3.48xlarge, 2: 15 unknown");
        assert_eq!(nearest(&device(&host, 0, Basis::Place)), [""; 0]);
        assert!(host.neuron_devices().iter().all(|device| device.location.is_none()));
    }
    for host in hosts("inf2.24xlarge") {
        assert_eq!(device(&host, 0, Basis::Pairing).entries, []);
    }
}

/// The hosts of these captures have no product name, so their type is unknown.
#[test]
fn captured_gpus_are_near_the_interfaces_of_their_switch_or_root() {
    for capture in captures("hwloc-xml") {
        let tree = gpu_host(&capture);
        let host = Host::from_root(tree.path()).unwrap();
        assert_eq!((host.instance_type(), host.gpus().len()), (None, 8));
        for group in capture["data"]["groups"].as_array().unwrap() {
            let efas: Vec<&str> =
                group["efa"].as_array().unwrap().iter().map(|efa| efa["bdf"].as_str().unwrap()).collect();
            for gpu in group["gpu"].as_array().unwrap() {
                let near = host.near_function(bdf(gpu.as_str().unwrap())).unwrap();
                assert_eq!(nearest(&near), efas, "{} {gpu}", capture["instance"]);
                assert!(near.entries.iter().any(|near| near.proximity == Proximity::OtherNuma));
            }
            for efa in efas {
                let near = host.functions_near_efa(bdf(efa)).unwrap();
                assert_eq!(serde_json::json!(nearest(&near)), group["gpu"], "{} {efa}", capture["instance"]);
            }
        }
    }
    let tree = trn1_host(&captures("lspci-tv")[0]);
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!((host.neuron_devices().len(), host.unnumbered().len(), host.efa_interfaces().len()), (16, 16, 8));
    assert_eq!(nearest(&host.near_function(bdf("90:1d.0")).unwrap()), ["0000:90:19.0", "0000:90:1a.0"]);
}

#[test]
fn gpu_types_have_their_interfaces_cpus_and_variables() {
    for (instance_type, gpu, efas, rank) in [
        ("p4d.24xlarge", "90:1c.0", &["0000:90:1b.0"][..], "24-29,72-77"),
        ("p5.48xlarge", "97:00.0", &["0000:93:00.0", "0000:94:00.0", "0000:95:00.0", "0000:96:00.0"], "48-59,144-155"),
        ("p6-b200.48xlarge", "75:00.0", &["0000:71:00.0", "0000:72:00.0"], "48-59,144-155"),
        ("g5.48xlarge", "00:1a.0", &["0000:00:15.0"], "0-191"),
    ] {
        for host in hosts(instance_type) {
            assert_eq!(nearest(&host.near_function(bdf(gpu)).unwrap()), efas, "{instance_type}");
            // GPU 4 is the first GPU of NUMA node 1, except on g5. No device of g5 has a NUMA node.
            assert_eq!(cpus(&host, 8)[4], rank, "{instance_type}");
            let gpus = "CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=6,7 FI_HMEM=cuda FI_PROVIDER=efa";
            assert!(environment(&host, &PlanOptions::ranks(4)).starts_with(gpus), "{instance_type}");
        }
    }
    let [_, b200] = hosts("p6-b200.48xlarge");
    let others: Vec<String> =
        b200.other_rdma().iter().map(|other| format!("{} {:?}", other.name, other.uverbs)).collect();
    assert_eq!(others, ["ibp115s0f0 Some(0)", "ibp116s0f0 Some(1)"], "they are no EFA interfaces");
    assert_eq!(b200.efa_interfaces()[0].uverbs, Some(2));
    assert_eq!(b200.anchor("ibp115s0f0").unwrap_err().code(), ErrorCode::NoSuchDevice);
}

#[test]
fn cores_are_divided_into_ranks_with_cpus_and_variables() {
    for host in hosts("trn2.48xlarge") {
        // Devices 4 to 11 are on node 0. Ranks 0 and 3 have the devices of node 1.
        assert_eq!(cpus(&host, 4), ["48-71,144-167", "0-23,96-119", "24-47,120-143", "72-95,168-191"]);
        assert_eq!(cpus(&host, 1), ["0-191"]);
        let variables = "FI_EFA_USE_DEVICE_RDMA=1 FI_HMEM=neuron FI_PROVIDER=efa NEURON_LOGICAL_NC_CONFIG=2";
        let on_last = format!("{variables} NEURON_RT_VISIBLE_CORES=60-63");
        assert_eq!(environment(&host, &PlanOptions::ranks(16)), on_last);
        let old = PlanOptions::ranks(16).for_kernel("5.10.240".parse().unwrap());
        assert_eq!(environment(&host, &old), format!("FI_EFA_FORK_SAFE=1 {on_last}"));
        let given = PlanOptions::ranks(2).on_cores(visible_cores("8-11").unwrap()).on_cpus("48-49".parse().unwrap());
        let plan = plan(&host, &given).unwrap();
        assert_eq!(plan.ranks[1].environment["NEURON_RT_VISIBLE_CORES"], "10-11");
        assert_eq!(plan.ranks[1].cpus.cpus.to_string(), "49");
        assert_eq!(plan.ranks[1].interfaces(), [bdf("b3:00.0")], "of neuron2");
        let text = nearfab::plan(&host, &PlanOptions::ranks(3)).unwrap_err().to_string();
        assert!(text.ends_with(": 1, 2, 4, 8, 16, 32, 64"), "{text}");
    }
    for host in hosts("trn1.32xlarge") {
        // Devices 0, 1, 4, 5, 8, 9, 12 and 13 are on node 0. Each rank has four cores.
        assert_eq!(cpus(&host, 8)[..2], ["0-7,64-71", "32-39,96-103"]);
        assert!(environment(&host, &PlanOptions::ranks(32)).ends_with(" NEURON_RT_VISIBLE_CORES=31"));
    }
    let [_, host] = hosts("inf2.24xlarge");
    assert_eq!(environment(&host, &PlanOptions::ranks(4)), "NEURON_RT_VISIBLE_CORES=9-11");
    let tree = tree("trn2.48xlarge", &[]);
    let threads = CpuCores::read(&Host::from_root(tree.path()).unwrap()).unwrap();
    assert_eq!(threads.iter().nth(1).unwrap().to_string(), "1,97");
    assert!(visible_cores("0,2").is_err());
}

#[test]
fn groups_links_and_core_numbers_are_the_vendors() {
    // Ids that AWS's library computes, and links in the order of their numbers.
    for (instance_type, four, sixteen, linked) in [
        ("trn1.32xlarge", "69b2225fd72a59dd", "fb838249c99a6341", [1, 4, 6, 9]),
        ("trn2.48xlarge", "671622785349fddf", "821d14afaf11327d", [1, 4, 6, 9]),
        ("trn3.48xlarge", "1c060eef5f3a4fe1", "31980acd145f7025", [1, 4, 6, 9]),
    ] {
        for host in hosts(instance_type) {
            let group = |size| host.device_group(HostDevice(5), size).unwrap();
            assert_eq!((group(GroupSize::Four).as_str(), group(GroupSize::Sixteen).as_str()), (four, sixteen));
            let pair = nearest(&device(&host, 5, Basis::Pairing)).remove(0);
            assert_eq!(group(GroupSize::One), pair);
            assert_eq!(host.efa_group(bdf(&pair), GroupSize::Four).as_deref(), Some(four));
            assert_eq!(links(&host, 5), linked, "{instance_type}");
        }
    }
    for host in hosts("inf2.24xlarge") {
        assert_eq!((links(&host, 0), links(&host, 3)), (vec![1], vec![2, 4]), "a line, as neuron-ls shows it");
        assert_eq!((host.lnc().unwrap().size, host.numbering().rows.len()), (1, 12));
    }
    for host in hosts("trn2.48xlarge") {
        let numbering = host.numbering();
        assert_eq!((numbering.rows.len(), numbering.lnc.as_ref().unwrap().size), (64, 2));
        // The driver counts the cores of neuron1 in the order 2, 3, 0, 1, 4, 5, 6, 7.
        let row = numbering.row(LogicalCore(5)).unwrap();
        assert_eq!((row.device, row.physical.iter().map(|core| core.0).collect()), (HostDevice(1), vec![0, 1]));
        assert_eq!(numbering.logical("neuron1:2".parse().unwrap()), Some(LogicalCore(4)));
        assert_eq!(row.evidence.to_string(), "driver's table, nominal");
    }
    // On trn3.48xlarge the cores of neuron1 begin with 6, since switches join its devices.
    for host in hosts("trn3.48xlarge") {
        let physical = &host.numbering().rows[4].physical;
        assert_eq!(physical.iter().map(|core| core.0).collect::<Vec<_>>(), [6, 7]);
    }
    // A container has nodes of two devices. The node's file sets one physical core per logical core.
    let tree = tree("trn2.48xlarge", &[Defect::Container(vec![13, 14])]);
    write(tree.path(), "opt/aws/neuron/logical_nc_config", "NEURON_LOGICAL_NC_CONFIG=2\nNEURON_LOGICAL_NC_CONFIG=1\n");
    let host = Host::from_root(tree.path()).unwrap();
    assert_eq!(
        (host.neuron_devices()[12].access, host.neuron_devices()[14].access),
        (NodeAccess::Missing, NodeAccess::Granted)
    );
    assert_eq!(host.container_device(HostDevice(14)), Some(ContainerDevice(1)));
    assert_eq!(host.lnc().unwrap().evidence.to_string(), "node file /opt/aws/neuron/logical_nc_config");
    let numbering = host.numbering();
    assert_eq!(numbering.rows.len(), 16);
    assert_eq!((numbering.rows[11].device, numbering.rows[11].physical[0].0), (HostDevice(14), 3));
}

#[test]
fn attributes_of_devices_and_drivers_are_read() {
    let tree = tree("trn2.48xlarge", &[Defect::Mlx5Beside, Defect::VerbsNodeRefused(0)]);
    write(tree.path(), "sys/class/neuron_device/neuron5/connected_devices", "4, 9, 1\n");
    let host = as_unprivileged_user(|| Host::from_root(tree.path()).unwrap().with_details().unwrap());
    assert_eq!(links(&host, 5), [1, 4, 9], "by the driver, not by the table");
    let efa = host.find_efa(bdf("c9:00.0")).unwrap();
    assert_eq!((efa.rdma.as_deref(), efa.generation(), efa.p2p.as_deref()), (Some("rdmap201s0"), 2, Some("")));
    assert_eq!(efa.function.driver.as_deref(), Some("efa"));
    assert_eq!((efa.function.numa, efa.function.cpus.to_string().as_str()), (Some(1), "48-95,144-191"));
    assert_eq!(efa.function.root.unwrap().to_string(), "pci0000:b7");
    assert_eq!((&efa.function.bridges[..2], efa.function.bridges.len()), (&[bdf("b7:00.0"), bdf("b8:00.0")][..], 3));
    let link = &efa.function.link;
    assert_eq!((link.speed, link.width), (Some(LinkSpeed::MegaTransfers(32_000)), Some(LinkWidth::Lanes(8))));
    let port = efa.port.as_ref().unwrap();
    assert_eq!((port.state, port.rate_mbps), (Some(PortState::Active), Some(200_000)));
    let refused = host.efa_interfaces().iter().find(|efa| efa.uverbs == Some(0)).unwrap();
    let others = host.efa_interfaces().iter().filter(|efa| efa.access == NodeAccess::Granted).count();
    assert_eq!((refused.access, others), (NodeAccess::Refused, 15));
    assert_eq!((host.efa_interfaces().len(), host.other_rdma().len()), (16, 2));

    let device = host.find_neuron(HostDevice(5)).unwrap();
    assert_eq!((device.product.as_deref(), device.architecture.as_deref()), (Some("Trainium2"), Some("NDv3")));
    assert_eq!((device.cores, device.memory), (8, Some(96 << 30)));
    assert_eq!(device.address(), Some(bdf("58:00.0")));
    assert_eq!(device.location.as_ref().unwrap().evidence.to_string(), "table trn2.48xlarge");
    let driver = host.neuron_driver().unwrap();
    assert_eq!((driver.version.as_deref(), driver.layout.to_string().as_str()), (Some("2.30.2.0"), "2.30"));
    assert_eq!(host.efa_driver().unwrap().version.as_deref(), Some("3.1.0g"));
    assert_eq!(host.numa_nodes().iter().map(|node| node.node).collect::<Vec<_>>(), [0, 1]);
    for (name, kind) in [("nc21", "LogicalCore"), ("neuron5:0", "Core"), ("58:00.0", "Device"), ("rdmap201s0", "Efa")] {
        assert!(format!("{:?}", host.anchor(name).unwrap()).starts_with(kind), "{name}");
    }
    let matrix = host.matrix();
    assert_eq!((matrix.members.len(), matrix.pairs.len()), (32, 16));
    // neuron0, and the interfaces 56:00.0 (E0), c9:00.0 (E10) and ca:00.0 (E11).
    assert_eq!([0, 16, 26, 27].map(|to| matrix.cells[0][to].code()), ["X", "SYS", "PIX", "PIX"]);
    assert_eq!((matrix.pairs[0].device.as_str(), matrix.pairs[0].efa.as_str()), ("N0", "E10"));
    let tree = host.tree();
    assert_eq!(
        tree.numa.iter().map(|node| node.roots.len()).collect::<Vec<_>>(),
        [6, 4],
        "two mlx5 are on roots of node 0"
    );
}

#[test]
fn readings_that_fail_are_problems_with_their_path() {
    let tree = tree("trn1.32xlarge", &[Defect::Garbage("sys/bus/pci/devices/0000:10:19.0/numa_node".to_owned())]);
    write(tree.path(), "sys/module/ib_core/parameters/netns_mode", "maybe\n");
    let host = Host::from_root(tree.path()).unwrap();
    let [problem, namespaces] = host.problems() else { panic!("{:?}", host.problems()) };
    assert!(namespaces.contains("netns_mode: ") && namespaces.ends_with("\"maybe\""), "{namespaces}");
    assert!(problem.contains("0000:10:19.0/numa_node: ") && problem.ends_with("\"first\""), "{problem}");
    assert_eq!((host.efa_interfaces().len(), host.efa_interfaces()[0].function.numa), (8, None));
    // Folders in place of links show no place on PCI.
    let place = tempfile::tempdir().unwrap();
    for (address, id) in [("0000:44:00.0", "1D0F:EFA2"), ("0000:45:00.0", "10DE:2330")] {
        let uevent = format!("PCI_CLASS=30200\nPCI_ID={id}\n");
        write(place.path(), &format!("sys/bus/pci/devices/{address}/uevent"), &uevent);
    }
    let near = Host::from_root(place.path()).unwrap().near_function(bdf("45:00.0")).unwrap();
    assert_eq!(ranks(&near), "1: 1 unknown");
    let system = SystemInfo::read(&host).unwrap().unwrap();
    assert!(system.problems[0].contains("netns_mode: ") && system.problems[0].ends_with("\"maybe\""), "{system:?}");
}

#[test]
fn a_host_without_devices_says_why() {
    let table = Host::from_instance("m7i.large").unwrap();
    assert!(matches!(table.nothing_found(), Some(NothingFound::Table { .. })), "{:?}", table.nothing_found());
    let empty = tempfile::tempdir().unwrap();
    let host = Host::from_root(empty.path()).unwrap();
    assert_eq!(host.nothing_found(), Some(NothingFound::NoPci));
    assert!(nearfab::plan(&host, &PlanOptions::ranks(1)).is_err());
    assert!(Host::from_instance("trn9.48xlarge").unwrap_err().to_string().contains("trn2.48xlarge"));
    // A function of a later generation, without a driver.
    function(empty.path(), "pci0000:44", "0000:44:1b.0", "1d0f:efac", None);
    assert_eq!(Host::from_root(empty.path()).unwrap().efa_interfaces()[0].generation(), 12);
    // An interface without an accelerator.
    let [_, host] = hosts("c7gn.16xlarge");
    assert_eq!((host.efa_interfaces().len(), host.nothing_found(), host.lnc()), (1, None, None));
}

#[test]
fn telemetry_and_system_information_are_read() {
    let tree = tree("trn2.48xlarge", &[]);
    let host = Host::from_root(tree.path()).unwrap();
    let device = |path: &str, text: &str| write(tree.path(), &format!("sys/class/neuron_device/neuron5/{path}"), text);
    device("reset", "0\n");
    write(tree.path(), "sys/class/neuron_device/neuron6/reset", "2\n");
    device("stats/hardware/mem_ecc_uncorrected", "3\n");
    device("stats/power/utilization", "POWER_STATUS_VALID,1764000000,1.25,40.00,12.50\n");
    write(tree.path(), "sys/class/infiniband/rdmap201s0/ports/1/hw_counters/rx_bytes", "123456789012\n");
    let measured = telemetry(&host).unwrap();
    let neuron = &measured.neuron[5];
    assert_eq!((neuron.device, &neuron.state), (HostDevice(5), &Some(DeviceState::Reset)));
    assert_eq!((neuron.ecc.cost, neuron.ecc.number("mem_ecc_uncorrected")), (Cost::RegisterRead, Some(3)));
    let Some(Power::Measured { time, max, average, .. }) = &neuron.power else { panic!("{:?}", neuron.power) };
    assert_eq!((*time, *max, *average), (1_764_000_000, 40.0, 12.5));
    let states = [4, 6].map(|number: usize| measured.neuron[number].state.clone().unwrap());
    assert_eq!(states, [DeviceState::Ready, DeviceState::Invalid]);
    assert_eq!(neuron.host_memory["driver_memory"].present.as_ref().and_then(Reading::number), Some(0));
    let efa = measured.efa.iter().find(|efa| efa.address == bdf("c9:00.0")).unwrap();
    assert_eq!((efa.port.number("rx_bytes"), efa.device.number("cmds_err")), (Some(123_456_789_012), Some(0)));
    assert_eq!(efa.port.cost, Cost::AdminCommand);

    write(tree.path(), "var/lib/kubelet/plugins_registry/dra.net-reg.sock", "");
    write(tree.path(), ".dockerenv", "");
    let limits =
        "Limit  Soft  Hard  Units\nMax locked memory         65536                65536                bytes\n";
    write(tree.path(), "proc/4711/limits", limits);
    write(tree.path(), "proc/4711/status", "Name:\tpython3\nCapEff:\t0000000000004000\n");
    write(tree.path(), "proc/4711/environ", "HOME=/home/a\0FI_PROVIDER=efa\0");
    let maps = "7f02-7f03 r-xp 00000000 103:01 7    /usr/lib64/libfabric.so.1.32.0 (deleted)\n";
    write(tree.path(), "proc/4711/maps", maps);
    let system = SystemInfo::read(&host).unwrap().unwrap();
    assert_eq!((&system.problems[..], system.ptrace_scope), (&[][..], Some(0)));
    assert_eq!(system.kernel.as_deref(), Some("6.1.102-111.182.amzn2023.x86_64"));
    assert_eq!(system.module("efa").unwrap().version.as_deref(), Some("3.1.0g"));
    assert_eq!((system.huge_pages[0].size, system.huge_pages[0].total), (2 << 20, 21121));
    let versions: Vec<String> =
        system.libraries.iter().map(|library| format!("{} {}", library.library, library.version().unwrap())).collect();
    let expected =
        ["libibverbs 1.15.61.0", "libefa 1.4.61.0", "libfabric 1.32.0", "libnrt 2.34.10.0", "libnccom 2.34.10.0"];
    assert_eq!(versions, expected);
    assert_eq!(system.driver_sources, ["aws-neuronx-2.30.2.0", "efa-3.1.0"]);
    assert_eq!(system.loader_folders, ["/opt/amazon/efa/lib64", "/opt/aws/neuron/lib"]);
    assert_eq!(system.container.as_deref(), Some("/.dockerenv"));
    assert_eq!(system.kubelet.unwrap().registered, ["dra.net-reg.sock"]);
    let process = Process::read(&host, 4711).unwrap();
    assert_eq!(format!("{:?}", process.locked_memory), "Some(Bytes(65536))");
    assert_eq!((process.may_exceed, process.environment.as_ref().unwrap().len()), (Some(true), 1));
    let mapped = &process.libraries.unwrap()[0];
    assert_eq!((mapped.version(), mapped.deleted), (Some("1.32.0"), true));
}

#[test]
fn records_are_read_back_compared_and_redacted() {
    let tree = tree("trn1.32xlarge", &[]);
    let secret = "5ec4e75e41a10003";
    write(tree.path(), "sys/class/neuron_device/neuron3/info/serial_number", &format!("{secret}\n"));
    write(tree.path(), "sys/class/infiniband/rdmap16s25/node_guid", "5ec4:e75e:0000:1000\n");
    write(tree.path(), "sys/class/infiniband/rdmap16s25/ports/1/gids/0", "fe80::5e:c4ff:fe75:e000\n");
    write(tree.path(), "sys/class/infiniband/rdmap16s26/ports/1/state", "ip-10-11-12-13\n");
    write(tree.path(), "etc/ld.so.conf.d/own.conf", "/home/alice/lib\n");
    let before = Host::from_root(tree.path()).unwrap().with_details().unwrap();
    let record = Record::take(&before).unwrap();
    assert_eq!(Record::from_json(&record.to_json()).unwrap(), record);
    assert_eq!(Host::from_json(&record.to_json()).unwrap(), before);
    let redacted = record.redacted();
    let text = redacted.to_json();
    for secret in [secret, "5ec4:e75e", "5e:c4ff", "10-11-12-13", "alice", tree.path().to_str().unwrap()] {
        assert!(record.to_json().contains(secret) && !text.contains(secret), "{secret}");
    }
    assert!(redacted.is_redacted() && text.contains("rdmap16s25") && text.contains("/opt/aws/neuron/lib"));
    assert_eq!(device(&redacted.host, 5, Basis::Pairing), device(&before, 5, Basis::Pairing));
    assert!(Host::from_json(&before.to_json().replacen("\"format\": 1", "\"format\": 2", 1)).is_err());

    write(tree.path(), "sys/class/infiniband/rdmap16s25/ports/1/state", "1: DOWN\n");
    fs::remove_file(tree.path().join("dev/neuron7")).unwrap();
    let changes: Vec<String> =
        before.diff(&Host::from_root(tree.path()).unwrap()).iter().map(ToString::to_string).collect();
    let expected = ["EFA interface 0000:10:19.0: port.state was 4, is 1", "neuron7: access was granted, is missing"];
    assert_eq!(changes, expected);
    let [large, small] = ["trn1.32xlarge", "trn1.2xlarge"].map(|name| Host::from_instance(name).unwrap());
    let texts = |changes: Vec<Change>| changes.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(texts(large.diff(&small)).contains(&"neuron15 vanished".to_owned()));
    assert!(texts(small.diff(&large)).contains(&"neuron15 appeared".to_owned()));
}

#[test]
fn hosts_are_verified_against_their_tables() {
    let set_node = |tree: &Path, node: &str, cpus: &str| {
        let function = tree.join("sys/bus/pci/devices/0000:58:00.0");
        fs::write(function.join("numa_node"), node).unwrap();
        fs::write(function.join("local_cpulist"), cpus).unwrap();
    };
    let tree = tree("trn2e.48xlarge", &[]);
    let verification = verify(&Host::from_root(tree.path()).unwrap(), None);
    let [confirmed, refuted, untestable] = verification.counts();
    assert_eq!((confirmed, refuted, confirmed + untestable), (2, 0, verification.assumptions.len()));
    assert!(verification.facts.iter().all(|fact| fact.differences.is_empty() && fact.agreed > 0));
    // The assumption depends on every fact of the table: CPUs, nodes, addresses, ids, paths, pairs and links.
    let alike = verification.assumptions.iter().find(|assumption| assumption.id == "trn2e-like-trn2").unwrap();
    let agreed: usize = verification.facts.iter().map(|fact| fact.agreed).sum();
    assert!(matches!(alike.verdict, Verdict::Confirmed { agreed: all, .. } if all == agreed), "{alike:?}");
    set_node(tree.path(), "1\n", "48-95,144-191\n");
    let verification = verify(&Host::from_root(tree.path()).unwrap(), None);
    assert_eq!(verification.counts()[1], 1, "trn2e-like-trn2");
    let numa = verification.facts.iter().find(|fact| fact.fact == "numa").unwrap();
    assert_eq!((numa.differences[0].expected.as_str(), numa.differences[0].found.as_str()), ("0", "1"));

    let capture = captures("hwloc-xml").into_iter().find(|capture| capture["instance"] == "p4d.24xlarge").unwrap();
    let tree = gpu_host(&capture);
    write(tree.path(), "sys/devices/virtual/dmi/id/product_name", "p4d.24xlarge\n");
    let verification = verify(&Host::from_root(tree.path()).unwrap(), None);
    let agreed: Vec<(&str, usize)> =
        verification.facts.iter().filter(|fact| fact.agreed > 0).map(|fact| (fact.fact, fact.agreed)).collect();
    assert_eq!(agreed, [("efa", 4), ("efa_device_id", 4), ("gpu", 16), ("numa", 12), ("path", 12)]);
}

#[test]
fn texts_have_one_meaning_and_one_form() {
    fn form<T: std::str::FromStr + ToString>(text: &str) -> Option<String> {
        text.parse::<T>().ok().map(|value| value.to_string())
    }
    let sound = |text: &str| Some(text.to_owned());
    assert_eq!(form::<Bdf>("C9:1f.7"), sound("0000:c9:1f.7"));
    assert_eq!(form::<Bdf>("10000:c9:00.0"), sound("10000:c9:00.0"));
    assert_eq!((form::<Bdf>("c9:20.0"), form::<Bdf>("c9:00.8"), form::<Bdf>("+9:00.0")), (None, None, None));
    assert_eq!((form::<PciRoot>("pci0000:b7"), form::<PciRoot>("pci000:b7")), (sound("pci0000:b7"), None));
    assert_eq!(form::<CpuList>("8,0-3,2-4,96"), sound("0-4,8,96"));
    assert_eq!((form::<CpuList>("3-1"), form::<CpuList>("1,,2")), (None, None));
    let (some, other): (CpuList, CpuList) = ("0-9".parse().unwrap(), "5-20".parse().unwrap());
    assert_eq!((some.and(&other).to_string(), some.without(&other).to_string()), ("5-9".into(), "0-4".into()));
    assert_eq!((some.len(), some.contains(9), some.contains(10)), (10, true, false));
    assert_eq!((form::<Core>("neuron5:07"), form::<HostDevice>("neuron+5")), (sound("neuron5:7"), None));
    assert_eq!((form::<LogicalCore>("nc5"), form::<LogicalCore>("5")), (sound("5"), None));
    assert_eq!(
        (form::<LinkSpeed>("8 GT/s"), form::<LinkSpeed>("2.5 GT/s PCIe")),
        (sound("8.0 GT/s"), sound("2.5 GT/s"))
    );
    assert_eq!(
        (form::<LinkWidth>("16"), form::<LinkWidth>("255"), form::<LinkWidth>("-1")),
        (sound("x16"), sound("unknown"), None)
    );
    assert_eq!(
        (form::<Guid>("CD77:f833:0000:1001"), form::<Guid>("cd77:f833:0000")),
        (sound("cd77:f833:0000:1001"), None)
    );
    assert_eq!(PciId::try_from("1D0F:EFA2".to_owned()).unwrap().to_string(), "1d0f:efa2");
    assert_eq!(
        (PortState::from(4).to_string(), PortState::from(9).to_string()),
        ("active".into(), "unknown (9)".into())
    );
}

#[test]
fn versions_that_fail_together_are_known() {
    let broken = |driver: &str, runtime: &str, kernel: &str| -> Vec<&str> {
        let versions = Versions {
            neuron_driver: driver.parse().ok(),
            runtime: runtime.parse().ok(),
            kernel: kernel.parse().ok(),
            product: Some("Trainium2".to_owned()),
        };
        rules().iter().filter(|rule| rule.holds(&versions)).map(|rule| rule.id).collect()
    };
    // No release of the SDK is broken.
    for (driver, runtime) in
        [("2.26.10.0", "2.31.24"), ("2.28.0.0", "2.32.31"), ("2.29.0.0", "2.33.10"), ("2.30.2.0", "2.34.10")]
    {
        assert_eq!(broken(driver, runtime, "6.1.102"), [""; 0], "{driver} {runtime}");
    }
    assert_eq!(broken("2.29.0.0", "2.32.31", "6.1.1"), ["runtime-too-old-for-driver"]);
    assert_eq!(broken("2.26.5.0", "2.32", "6.1.1"), ["driver-too-old-for-runtime"]);
    assert_eq!(broken("2.28.0", "2.32.31", "6.18.0"), ["driver-does-not-build-on-kernel"]);
}
