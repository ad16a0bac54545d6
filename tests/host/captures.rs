//! Compares the instance tables, and hosts scanned from trees of these tables, with captures of real hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use nearfab::instances::{FunctionRow, InstanceTable, NeuronRow};
use nearfab::{Bdf, CpuList, Host, HostDevice, PciId};
use serde_json::Value;

use crate::tree::tree_of;

static CAPTURES: LazyLock<Vec<Value>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../captured/captures.json")).unwrap());

/// Compares a table, and the host scanned from its tree, with a capture.
type Compare = fn(&InstanceTable, &Host, &Value);

/// The comparison for each kind of capture.
const KINDS: [(&str, Compare); 15] = [
    ("hwloc-xml", hwloc),
    ("hwloc-xml functions", hwloc_functions),
    ("lstopo -v + fi_info", lstopo_and_fi_info),
    ("lspci", lspci),
    ("DRANET + GPU driver ResourceSlices on EKS", resource_slices),
    ("ibv_get_device_list order", verbs_order),
    ("neuron-ls-table", neuron_ls_table),
    ("lspci+lscpu+neuron-ls", lspci_lscpu_neuron_ls),
    ("neuron-ls", neuron_ls),
    ("neuron-ls-json+neuron-monitor", neuron_ls_json),
    ("lspci-tv", lspci_tv),
    ("neuron-ls-table-in-pod", neuron_ls_in_pod),
    ("neuron-ls-table-WRONG", contradicted),
    ("sysfs+neuron-monitor", sysfs),
    // No table has the type of this capture yet.
    ("ibv_devinfo + efadv + lspci", |_, _, _| panic!("this type has a table now: compare it")),
];

#[test]
fn tables_and_trees_agree_with_every_capture() {
    let mut compared: BTreeMap<&str, u32> = BTreeMap::new();
    for capture in CAPTURES.iter() {
        let instance_type = capture["instance"].as_str().unwrap();
        let Ok(table) = InstanceTable::find(instance_type) else { continue };
        let kind = capture["kind"].as_str().unwrap();
        let (_, compare) = KINDS
            .into_iter()
            .find(|(known, _)| *known == kind)
            .unwrap_or_else(|| panic!("nothing compares a capture of kind {kind} with {instance_type}"));
        let tree = tree_of(table, &[]);
        compare(table, &Host::from_root(tree.path()).unwrap(), &capture["data"]);
        *compared.entry(instance_type).or_default() += 1;
    }
    let expected = [
        ("c5n.18xlarge", 1),
        ("g6.48xlarge", 1),
        ("inf2.24xlarge", 1),
        ("inf2.xlarge", 1),
        ("p3dn.24xlarge", 1),
        ("p4d.24xlarge", 3),
        ("p5.48xlarge", 1),
        ("p5en.48xlarge", 1),
        ("p6-b200.48xlarge", 2),
        ("p6-b300.48xlarge", 1),
        ("p6e-gb200.36xlarge", 1),
        ("trn1.2xlarge", 2),
        ("trn1.32xlarge", 2),
        ("trn2.3xlarge", 1),
        ("trn2.48xlarge", 2),
    ];
    assert_eq!(compared, expected.into());
}

/// The interfaces nearest to each GPU are behind its switch or on its root, in the order of their addresses. The groups
/// are captured, except for p5. Only parts of p5 are captured, and the switches of p5 are published.
#[test]
fn interfaces_near_each_gpu_are_those_of_its_switch_or_root() {
    // GPUs, and the interfaces beside them.
    type Group = (BTreeSet<Bdf>, Vec<Bdf>);
    let mut groups: BTreeMap<&str, Vec<Group>> = BTreeMap::new();
    for capture in CAPTURES.iter().filter(|capture| capture["kind"] == "hwloc-xml") {
        for group in capture["data"]["groups"].as_array().unwrap() {
            let efas = group["efa"].as_array().unwrap().iter().map(|row| address(&row["bdf"])).collect();
            let instance_type = capture["instance"].as_str().unwrap();
            groups.entry(instance_type).or_default().push((addresses(&group["gpu"]), efas));
        }
    }
    let behind = |bus: u8| {
        let at = |bus| Bdf::new(0, bus, 0, 0);
        (BTreeSet::from([at(bus + 4)]), (bus..bus + 4).map(at).collect())
    };
    groups.insert("p5.48xlarge", [0x4f, 0x60, 0x71, 0x82, 0x93, 0xa4, 0xb5, 0xc6].map(behind).to_vec());
    groups.insert("p4de.24xlarge", groups["p4d.24xlarge"].clone());
    for (instance_type, groups) in groups {
        let table = InstanceTable::find(instance_type).unwrap();
        let tree = tree_of(table, &[]);
        for host in [Host::from_instance(instance_type).unwrap(), Host::from_root(tree.path()).unwrap()] {
            assert_eq!(host.gpus().len(), 8, "{instance_type}");
            for gpu in host.gpus() {
                let near = host.near_function(gpu.address()).unwrap();
                let nearest: Vec<Bdf> = near.nearest_by_rank().map(|near| near.target).collect();
                let (_, efas) = groups.iter().find(|(gpus, _)| gpus.contains(&gpu.address())).unwrap();
                assert_eq!(&nearest, efas, "{instance_type} {}", gpu.address());
            }
        }
    }
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

fn address(value: &Value) -> Bdf {
    value.as_str().unwrap().parse().unwrap()
}

fn addresses(value: &Value) -> BTreeSet<Bdf> {
    texts(value).into_iter().map(|text| text.parse().unwrap()).collect()
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

/// `1d0f:efa2`
fn id(value: &Value) -> PciId {
    value.as_str().unwrap().to_owned().try_into().unwrap()
}

/// Returns the root of a row, as sysfs names it.
fn root(row: &FunctionRow) -> String {
    format!("pci0000:{:02x}", row.bridges.first().unwrap_or(&row.address).bus())
}

fn name_of(host: &Host, address: Bdf) -> &str {
    host.efa_interfaces().iter().find(|efa| efa.address() == address).unwrap().rdma.as_deref().unwrap()
}

fn cpus_of(table: &InstanceTable, node: u32) -> CpuList {
    table.numa.iter().find(|row| row.node == node).unwrap().cpus.parse().unwrap()
}

fn device(table: &InstanceTable, index: &Value) -> &'static NeuronRow {
    table.neuron(HostDevice(number(index))).unwrap()
}

/// Compares every function and every bridge, and the CPUs of the NUMA nodes.
fn hwloc_functions(table: &InstanceTable, host: &Host, data: &Value) {
    let captured: BTreeMap<Bdf, (PciId, Option<u32>, Vec<Bdf>)> = data["functions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let bridges = row["bridges"].as_array().unwrap().iter().map(address).collect();
            (
                address(&row["address"]),
                (id(&row["id"]), row["numa"].as_u64().map(|node| u32::try_from(node).unwrap()), bridges),
            )
        })
        .collect();
    let rows = table.efa.iter().chain(table.gpu).chain(table.foreign);
    let rows = rows.map(|row| (row.address, (row.id, row.numa, row.bridges.to_vec())));
    let neuron = table.neuron.iter().map(|row| {
        let id: PciId = format!("1d0f:{:04x}", table.product().unwrap().device_ids[0]).try_into().unwrap();
        (row.address, (id, row.numa, row.bridges.to_vec()))
    });
    assert_eq!(rows.chain(neuron).collect::<BTreeMap<_, _>>(), captured);
    let scanned = host.efa_interfaces().iter().map(|efa| &efa.function);
    let devices = host.neuron_devices().iter();
    let neuron = devices.map(|device| device.location.as_ref().unwrap().function.as_ref().unwrap());
    for function in scanned.chain(host.gpus().iter().map(|gpu| &gpu.function)).chain(neuron) {
        let (id, numa, bridges) = &captured[&function.address];
        assert_eq!((&function.id, &function.numa, &function.bridges), (id, numa, bridges));
    }
    let cpus: BTreeMap<String, String> =
        host.numa_nodes().iter().map(|node| (node.node.to_string(), node.cpus.to_string())).collect();
    assert_eq!(serde_json::to_value(cpus).unwrap(), data["cpus"]);
}

/// Compares each root with the functions below it: NUMA node, names and bridges.
fn hwloc(table: &InstanceTable, host: &Host, data: &Value) {
    let id_of = |kind: &str| id(&data[format!("{kind}_id")]);
    assert!(table.efa.iter().all(|row| row.id == id_of("efa")));
    assert!(table.gpu.iter().all(|row| row.id == id_of("gpu")));
    assert!(table.foreign.iter().all(|row| row.id == id(&data["mlx5"]["id"])));
    let mut seen = BTreeSet::new();
    for group in data["groups"].as_array().unwrap() {
        let below = |rows: &'static [FunctionRow]| -> Vec<&FunctionRow> {
            rows.iter().filter(|row| root(row) == group["root"].as_str().unwrap()).collect()
        };
        let rows = [("efa", below(table.efa)), ("gpu", below(table.gpu)), ("mlx5", below(table.foreign))];
        for (kind, rows) in rows {
            let captured: BTreeSet<Bdf> = match kind {
                "gpu" => addresses(&group[kind]),
                _ => group[kind].as_array().into_iter().flatten().map(|row| address(&row["bdf"])).collect(),
            };
            assert_eq!(rows.iter().map(|row| row.address).collect::<BTreeSet<_>>(), captured, "{kind}");
            for row in rows {
                assert_eq!(row.numa, Some(number(&group["numa"])), "{}", row.address);
                assert_eq!(row.bridges.is_empty(), group["bridges"] == 0, "{}", row.address);
                if let Some(chain) = group["bridge_chain"].as_array() {
                    let bus = |text: &Value| text.as_str().unwrap()[..2].to_owned();
                    let buses: Vec<String> = row.bridges.iter().map(|b| format!("{:02x}", b.bus())).collect();
                    assert_eq!(buses, chain.iter().map(bus).collect::<Vec<_>>());
                }
                if let Some(port) = group["downstream_port_of"].get(row.address.to_string()) {
                    assert_eq!(row.bridges.last(), Some(&address(port)), "{}", row.address);
                }
                seen.insert(row.address);
            }
        }
        for interface in group["efa"].as_array().unwrap() {
            assert_eq!(name_of(host, address(&interface["bdf"])), interface["name"].as_str().unwrap());
        }
    }
    let all = [table.efa, table.gpu, table.foreign].into_iter().flatten().map(|row| row.address);
    assert_eq!(seen, all.collect(), "a function of the table that the capture does not have");
    for (node, cpus) in data["cpus"].as_object().into_iter().flatten() {
        assert_eq!(cpus_of(table, node.parse().unwrap()).to_string(), cpus.as_str().unwrap());
    }
    if let Some(distances) = data["numa_distance"].as_array() {
        assert_eq!(table.numa.len(), distances.len());
    }
    // The captured file lists interfaces by address.
    let shares = |efa: &FunctionRow| table.gpu.iter().any(|gpu| common_bridges(efa, gpu) > 0);
    let expected: Vec<bool> = table.efa.iter().map(shares).collect();
    assert_eq!(serde_json::json!(expected), data["expect_nic_shares_pcie_switch_with_gpu"]);
}

fn common_bridges(a: &FunctionRow, b: &FunctionRow) -> usize {
    a.bridges.iter().zip(b.bridges).take_while(|(x, y)| x == y).count()
}

fn lstopo_and_fi_info(table: &InstanceTable, host: &Host, data: &Value) {
    for interface in data["efa"].as_array().unwrap() {
        let at = address(&interface["bdf"]);
        let row = table.efa.iter().find(|row| row.address == at).unwrap();
        assert_eq!(row.id, id(&interface["id"]));
        let (port, _) = data["bridge"].as_str().unwrap().split_once(' ').unwrap();
        assert_eq!(row.bridges.last(), Some(&port.parse().unwrap()));
        assert_eq!(name_of(host, at), interface["name"].as_str().unwrap());
    }
}

/// Compares the two buses that the listing contains.
fn lspci(table: &InstanceTable, host: &Host, data: &Value) {
    for bus in ["10", "20"] {
        let on_bus = |address: &Bdf| format!("{:02x}", address.bus()) == bus;
        let (efa, generation) = data[bus]["efa"].as_str().unwrap().split_once(' ').unwrap();
        let rows: Vec<&FunctionRow> = table.efa.iter().filter(|row| on_bus(&row.address)).collect();
        assert_eq!(rows.iter().map(|row| row.address.to_string()).collect::<Vec<_>>(), [format!("0000:{efa}")]);
        assert_eq!(format!("{:04x}", rows[0].id.device), generation);
        let gpus = table.gpu.iter().map(|row| row.address).filter(on_bus);
        assert_eq!(gpus.collect::<BTreeSet<_>>(), addresses(&data[bus]["gpu"]));
        assert!(host.find_efa(rows[0].address).is_ok());
    }
}

fn resource_slices(table: &InstanceTable, host: &Host, data: &Value) {
    let captured = data["efa"].as_array().unwrap();
    assert_eq!(captured.len(), table.efa.len());
    for (row, slice) in table.efa.iter().zip(captured) {
        let kubernetes = row.address.to_string().replace([':', '.'], "-");
        assert_eq!(format!("pci-{kubernetes}"), slice["name"].as_str().unwrap());
        assert_eq!(name_of(host, row.address), slice["rdmaDevice"].as_str().unwrap());
        assert_eq!(row.numa, Some(number(&slice["numaNode"])));
        assert_eq!(root(row), slice["pcieRoot"].as_str().unwrap());
        assert_eq!(format!("{:04x}", row.id.device), data["efa_pciSubsystem"].as_str().unwrap());
    }
    assert_eq!(table.gpu.iter().map(|row| row.address).collect::<BTreeSet<_>>(), addresses(&data["gpu"]));
}

/// The two mlx5 functions are listed first, so the mlx5 functions have the first two verbs nodes. No EFA interface has
/// one of the first two nodes.
fn verbs_order(table: &InstanceTable, host: &Host, data: &Value) {
    assert_eq!((data["first_two"].as_str(), data["then"].as_str()), (Some("mlx5 devices"), Some("EFA")));
    assert_eq!(table.foreign.len(), 2);
    let mut numbers: Vec<u32> = host.efa_interfaces().iter().map(|efa| efa.uverbs.unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (2..10).collect::<Vec<_>>());
}

fn neuron_ls_table(table: &InstanceTable, host: &Host, data: &Value) {
    let rows = data["rows"].as_array().unwrap();
    assert_eq!(rows.len(), table.neuron.len());
    let product = table.product().unwrap();
    for captured in rows {
        let row = device(table, &captured["neuron_device"]);
        assert_eq!(product.cores, number(&captured["cores"]));
        assert_eq!(format!("{} GB", product.memory >> 30), captured["memory"].as_str().unwrap());
        assert_eq!(row.address, address(&captured["bdf"]));
        assert_eq!(row.numa, Some(number(&captured["numa_node"])));
        assert_eq!(cpus_of(table, row.numa.unwrap()).to_string(), captured["cpu_affinity"].as_str().unwrap());
        links_agree(row, &captured["connected"]);
        let first = row.index.0 * product.cores;
        assert_eq!(format!("{first}-{}", first + product.cores - 1), captured["core_ids"].as_str().unwrap());
        let scanned = host.find_neuron(row.index).unwrap();
        assert_eq!(scanned.address(), Some(row.address));
        assert_eq!(scanned.function().unwrap().cpus.to_string(), captured["cpu_affinity"].as_str().unwrap());
    }
}

/// Compares links as sets, because tools differ in the order.
fn links_agree(row: &NeuronRow, captured: &Value) {
    let links: BTreeSet<u32> = row.links.unwrap().iter().map(|link| link.0).collect();
    assert_eq!(links, captured.as_array().into_iter().flatten().map(number).collect());
}

fn lspci_lscpu_neuron_ls(table: &InstanceTable, host: &Host, data: &Value) {
    let [row] = table.neuron else { panic!("one device") };
    let short = row.address.to_string().replacen("0000:", "", 1);
    assert!(data["lspci"][short].as_str().unwrap().contains("NeuronDevice (Trainium)"));
    assert!(row.bridges.is_empty(), "no bridge is in the listing");
    assert!(!data["lspci"].to_string().contains("EFA") && table.efa.is_empty());
    assert_eq!(row.address, address(&data["neuron_ls"]["bdf"]));
    let [node] = table.numa else { panic!("one node") };
    assert_eq!(node.cpus, data["lscpu"]["node0_cpus"].as_str().unwrap());
    assert_eq!(cpus_of(table, 0).iter().count(), number(&data["lscpu"]["cpus"]) as usize);
    assert_eq!(host.neuron_devices()[0].function().unwrap().numa, None);
}

fn neuron_ls(table: &InstanceTable, host: &Host, data: &Value) {
    let [row] = table.neuron else { panic!("one device") };
    assert_eq!(row.address, address(&data["bdf"]));
    assert_eq!(row.numa, Some(number(&data["numa_node"])));
    assert_eq!(cpus_of(table, 0).to_string(), data["cpu_affinity"].as_str().unwrap());
    // The device has four logical cores of two physical cores each.
    assert_eq!(table.product().unwrap().cores, number(&data["cores"]) * number(&data["logical_neuroncore_config"]));
    assert_eq!(host.neuron_devices()[0].address(), Some(row.address));
}

fn neuron_ls_json(table: &InstanceTable, host: &Host, data: &Value) {
    let [row] = table.neuron else { panic!("one device") };
    let captured = &data["neuron_ls_json"][0];
    let product = table.product().unwrap();
    assert_eq!(row.index.0, number(&captured["neuron_device"]));
    assert_eq!(row.address, address(&captured["bdf"]));
    assert_eq!((row.numa, captured["numa_node"].as_str()), (None, Some("-1")));
    links_agree(row, &captured["connected_to"]);
    assert_eq!(product.cores, number(&captured["nc_count"]));
    assert_eq!(product.memory, captured["memory_size"].as_u64().unwrap());
    assert_eq!(table.neuron.len(), number(&data["neuron_hardware_info"]["neuron_device_count"]) as usize);
    let function = host.neuron_devices()[0].function().unwrap();
    assert_eq!(function.numa, None);
    assert_eq!(function.cpus.to_string(), captured["cpu_affinity"].as_str().unwrap());
}

/// Compares device numbers by kind. The device numbers are the same on each of the four root buses
/// (`per_root_a0_90_20_10`).
fn lspci_tv(table: &InstanceTable, host: &Host, data: &Value) {
    let captured = |kind: &str| -> BTreeSet<Bdf> {
        let devices = texts(&data["per_root_a0_90_20_10"][kind]);
        let all = ["10", "20", "90", "a0"].into_iter();
        all.flat_map(|bus| devices.iter().map(move |device| format!("{bus}:{device}.0").parse().unwrap())).collect()
    };
    assert_eq!(table.neuron.iter().map(|row| row.address).collect::<BTreeSet<_>>(), captured("NeuronDevice"));
    assert_eq!(table.efa.iter().map(|row| row.address).collect::<BTreeSet<_>>(), captured("EFA"));
    assert!(table.neuron.iter().all(|row| row.bridges.is_empty()));
    // The kernel's log names an interface.
    let named = data["dmesg"][0].as_str().unwrap();
    assert!(named.contains(name_of(host, "0000:a0:1a.0".parse().unwrap())), "{named}");
}

/// The old tool of this capture prints wrong cores and memory. The capture has the true values too.
fn neuron_ls_in_pod(table: &InstanceTable, host: &Host, data: &Value) {
    let row = device(table, &data["row"]["neuron_device"]);
    assert_eq!(row.address, address(&data["row"]["bdf"]));
    links_agree(row, &data["row"]["connected"]);
    let (product, truth) = (table.product().unwrap(), &data["true_values"]);
    assert_eq!(product.cores, number(&truth["cores_physical"]));
    assert_eq!(format!("{} GB", product.memory >> 30), truth["memory"].as_str().unwrap());
    assert_ne!(product.cores, number(&data["row"]["cores"]));
    assert_eq!(host.find_neuron(row.index).unwrap().cores, product.cores);
}

/// Checks that the table contradicts a listing that is known to be wrong.
fn contradicted(table: &InstanceTable, host: &Host, data: &Value) {
    let wrong = addresses(&data["bdfs"]);
    assert_eq!(wrong.len(), table.neuron.len());
    assert!(table.neuron.iter().all(|row| !wrong.contains(&row.address)));
    assert!(host.neuron_devices().iter().all(|device| !wrong.contains(&device.address().unwrap())));
}

fn sysfs(table: &InstanceTable, host: &Host, data: &Value) {
    let [device] = host.neuron_devices() else { panic!("one device") };
    assert_eq!(device.product.as_deref(), data["architecture"]["device_name"].as_str());
    assert_eq!(
        table.neuron_product.map(str::to_lowercase).as_deref(),
        data["neuron_hardware_info"]["neuron_device_type"].as_str()
    );
}
