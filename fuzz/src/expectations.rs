//! The expected reading of each attribute of the small tree. The plain readings compute it.

use nearfab::{Bdf, EfaInterface, Host};
use serde_json::{Value, json};

use crate::measured::{power, reading, state};
use crate::readings;
use crate::small::Kind;

/// The expected problems of a reading: their number, and whether one of them names the attribute.
#[derive(Clone, Copy)]
pub(crate) struct Problems {
    pub(crate) count: usize,
    pub(crate) named: bool,
}

/// No problem.
pub(crate) const NONE: Option<Problems> = Some(Problems { count: 0, named: false });
/// One problem, which names the attribute.
pub(crate) const NAMED: Option<Problems> = Some(Problems { count: 1, named: true });
/// One problem, which does not name the attribute.
const UNNAMED: Option<Problems> = Some(Problems { count: 1, named: false });

/// Changes the earlier reading into the expected reading of a text. The text is `None` if it is not UTF-8. Returns the
/// expected problems, or `None` if there is no expected reading.
pub(crate) type Expect = Box<dyn Fn(Option<&str>, &mut Value) -> Option<Problems>>;

/// An entry of the tree that can be replaced.
pub(crate) struct Attribute {
    /// The path below the root of the tree.
    pub(crate) path: String,
    pub(crate) kind: Kind,
    pub(crate) reader: Reader,
    /// The texts of the seeds.
    pub(crate) seeds: &'static [&'static str],
    pub(crate) expect: Expect,
}

/// The part of the library that reads an attribute.
pub(crate) enum Reader {
    Host,
    /// Telemetry, with the JSON pointer of the reading.
    Telemetry(&'static str),
    System,
}

impl Attribute {
    /// Returns the text as the library takes it: without white space at the end of a file.
    pub(crate) fn trimmed<'a>(&self, text: &'a str) -> &'a str {
        if matches!(self.kind, Kind::File) { text.trim_end() } else { text }
    }
}

/// Returns all attributes of the host and its telemetry. The first byte of an input is a position in this list.
pub(crate) fn all(host: &Host) -> Vec<Attribute> {
    let [first, second] = host.efa_interfaces() else { panic!("two interfaces") };
    let mut all = Vec::new();
    add_pci(&mut all, first, second);
    add_rdma(&mut all, first);
    add_neuron(&mut all);
    add_machine(&mut all);
    add_telemetry(&mut all, first);
    all
}

fn add_pci(all: &mut Vec<Attribute>, first: &EfaInterface, second: &EfaInterface) {
    let folder = format!("sys/bus/pci/devices/{}", first.address());
    let mut file = |name: &str, seeds, expect| all.push(file(format!("{folder}/{name}"), seeds, expect));
    let numa = |text: &str| readings::numa_node(text).map(|node| json!(node));
    file("numa_node", &["0\n", "1\n", "-1\n", "4294967296"], field("/efa/0/numa", Value::Null, numa));
    file("local_cpulist", &["0-47,96-143\n", "3,1-2\n", "\n"], field("/efa/0/cpus", json!(""), cpus));
    let speed = |text: &str| readings::speed(text).map(Value::from);
    let width = |text: &str| readings::width(text).map(Value::from);
    let speeds = &["16.0 GT/s PCIe\n", "2.5 GT/s\n", "8 GT/s\n", "Unknown\n", "Unknown speed\n"];
    let widths = &["8\n", "255\n", "0\n", "x16\n"];
    file("current_link_speed", speeds, field("/efa/0/link/speed", Value::Null, speed));
    file("max_link_speed", speeds, field("/efa/0/link/max_speed", Value::Null, speed));
    file("current_link_width", widths, field("/efa/0/link/width", Value::Null, width));
    file("max_link_width", widths, field("/efa/0/link/max_width", Value::Null, width));
    file("p2p", &["NEURON\n", "NVIDIA\n"], field("/efa/0/p2p", Value::Null, |text| Some(text.into())));
    let events = &[
        "DRIVER=efa\nPCI_CLASS=20000\nPCI_ID=1D0F:EFA2\n",
        "PCI_ID=1D0F:EFA1\nDRIVER=vfio-pci\n",
        "PCI_ID=10DE:2330\nPCI_CLASS=30200\n",
        "PCI_ID=1D0F:7364\n",
        "PCI_CLASS=20000\n",
    ];
    file("uevent", events, Box::new(uevent));
    let address = first.address();
    all.push(Attribute {
        path: folder,
        kind: Kind::Place { up: "../../../devices/" },
        reader: Reader::Host,
        seeds: &[
            "pci0000:aa/0000:aa:00.0/0000:ab:01.0/0000:cc:00.0",
            "pci10000:e0/0000:cc:00.0",
            "pci0000:aa/0000:cd:00.0",
        ],
        expect: Box::new(move |text, record| location(address, text, record)),
    });

    let folder = format!("sys/bus/pci/devices/{}", second.address());
    for name in ["vendor", "device"] {
        let efa = if name == "vendor" { "1d0f" } else { "efa" };
        let expect: Expect = Box::new(move |text, record| {
            let id = text.and_then(|text| readings::hex_up_to(8, text.strip_prefix("0x").unwrap_or(text)));
            match id.filter(|id| *id <= 0xffff).map(|id| format!("{id:04x}")) {
                Some(id) if id.starts_with(efa) => {
                    let own = if name == "vendor" { format!("{id}:efa2") } else { format!("1d0f:{id}") };
                    record["efa"][1]["id"] = own.into();
                    NONE
                }
                Some(_) => None,
                None => {
                    not_efa(record, 1, None);
                    NAMED
                }
            }
        });
        all.push(self::file(
            format!("{folder}/{name}"),
            &["0x1d0f\n", "0xefa1\n", "0xefa2\n", "efa2", "0x1d0f0"],
            expect,
        ));
    }
    let class: Expect = Box::new(|text, _| {
        let class = text.and_then(|text| readings::hex_up_to(8, text.strip_prefix("0x").unwrap_or(text)));
        if class.is_some() { NONE } else { NAMED }
    });
    all.push(self::file(format!("{folder}/class"), &["0x020000\n", "30200"], class));
    let driver: Expect = Box::new(|text, record| {
        let driver = text.map(|text| text.split('/').collect::<Vec<_>>());
        record["efa"][1]["driver"] =
            json!(driver.as_ref().filter(|parts| parts.len() > 1).and_then(|parts| parts.last()));
        if driver.is_some() { NONE } else { NAMED }
    });
    let seeds = &["../../../../bus/pci/drivers/efa", "vfio-pci"];
    all.push(Attribute {
        path: format!("{folder}/driver"),
        kind: Kind::Link,
        reader: Reader::Host,
        seeds,
        expect: driver,
    });
}

fn add_rdma(all: &mut Vec<Attribute>, first: &EfaInterface) {
    let name = first.rdma.clone().expect("a name");
    let folder = format!("sys/class/infiniband/{name}");
    let mut file = |name: &str, seeds, expect| all.push(file(format!("{folder}/{name}"), seeds, expect));
    file("fw_ver", &["1.2.3\n", "\n"], text_field("/efa/0/firmware"));
    let guid = |text: &str| {
        let guid = readings::guid(text)?;
        Some(json!(Some(guid).filter(|guid| guid.contains(|digit: char| !"0:".contains(digit)))))
    };
    let guids = &["cd77:f833:0000:1001\n", "0000:0000:0000:0000\n"];
    file("node_guid", guids, field("/efa/0/node_guid", Value::Null, guid));
    let state = |text: &str| readings::port_state(text).map(Value::from);
    file("ports/1/state", &["4: ACTIVE\n", "1: DOWN\n", "9: ODD"], field("/efa/0/port/state", Value::Null, state));
    let rate = |text: &str| readings::rate(text).map(Value::from);
    let rates = &["100 Gb/sec (4X EDR)\n", "2.5 Gb/sec (1X SDR)\n"];
    file("ports/1/rate", rates, field("/efa/0/port/rate_mbps", Value::Null, rate));
    let gid = |text: &str| text.parse::<std::net::Ipv6Addr>().ok().map(|gid| gid.to_string().into());
    let gids = &["fe80:0000:0000:0000:0000:00ff:fecc:0000\n", "::1"];
    file("ports/1/gids/0", gids, field("/efa/0/port/gid", Value::Null, gid));
    let address = first.address().to_string();
    all.push(Attribute {
        path: folder,
        kind: Kind::Place { up: "../../devices/" },
        reader: Reader::Host,
        seeds: &["pci0000:aa/0000:cc:00.0/infiniband/rdmap204s0", "a/0000:01:00.0/infiniband/b"],
        expect: Box::new(move |text, record| rdma_link(&address, &name, text?, record)),
    });
}

fn add_neuron(all: &mut Vec<Attribute>) {
    let folder = "sys/class/neuron_device/neuron0";
    let mut add = |name: &str, seeds, expect| all.push(file(format!("{folder}/{name}"), seeds, expect));
    let links = |text: &str| readings::links(text).map(Value::from);
    add("connected_devices", &["12, 3, 4, 1\n", "1 2"], field("/neuron/0/links", Value::Null, links));
    add("info/serial_number", &["00000000deadbeef\n", "\n"], text_field("/neuron/0/serial"));
    add("info/architecture/device_name", &["Trainium2\n", "Trainium1", "Inferentia", "X\n"], Box::new(product));
    let architecture: Expect = Box::new(|text, record| {
        text_field("/neuron/0/architecture")(text, record);
        let count = usize::from(text.is_none()) + usize::from(text.is_none_or(str::is_empty));
        if count > 0 {
            record["neuron_driver"]["layout"] = json!({"kind": "unknown"}); // nearfab finds the layout by the files of a device.
        }
        Some(Problems { count, named: text.is_none() })
    });
    add("info/architecture/arch_type", &["NDv3\n", "\n"], architecture);
    let version: Expect = Box::new(|text, record| {
        record["neuron_driver"]["version"] = json!(text);
        match text.map(readings::driver_version) {
            None => NAMED,
            Some(None | Some((2, 30))) => NONE,
            Some(Some(_)) => {
                record["neuron_driver"]["layout"] = json!({"kind": "unknown"});
                UNNAMED
            }
        }
    });
    let versions = &["2.30.2.0\n", "2.x.7693.0\n", "2.27.4.0\n", "1.5"];
    all.push(file("sys/module/neuron/version".to_owned(), versions, version));
    let name = |path: &str, begin, seeds, expect| Attribute {
        path: path.to_owned(),
        kind: Kind::Name { begin },
        reader: Reader::Host,
        seeds,
        expect,
    };
    let cores: Expect = Box::new(|text, record| {
        let another = text.and_then(readings::number).is_some_and(|core| core > 7);
        record["neuron"][0]["cores"] = json!(8 + u32::from(another));
        NONE
    });
    all.push(name(folder, "neuron_core", &["8", "x"], cores));
    let class: Expect = Box::new(|text, record| {
        let Some(text) = text else { return NONE };
        match readings::device(text) {
            Some(0 | 1) => NONE,
            Some(_) => None,
            None => {
                let names = record["neuron_driver"]["class_attributes"].as_array_mut().expect("names");
                names.push(text.into());
                names.sort_by_key(|name| name.as_str().map(str::to_owned));
                NONE
            }
        }
    });
    all.push(name("sys/class/neuron_device", "", &["neuron01", "ultraserver_mode", "neuron7"], class));
}

fn add_machine(all: &mut Vec<Attribute>) {
    let instance: Expect = Box::new(|text, record| {
        record["instance_type"] = json!(text);
        if text == Some("trn2.48xlarge") {
            return NONE;
        }
        if text.is_some_and(|text| nearfab::instances::tables().iter().any(|table| table.instance_type == text)) {
            return None;
        }
        // Only the table gives the function of each device. Without the table the functions have no device number.
        let mut unnumbered: Vec<Value> =
            (0..2).map(|device| record["neuron"][device]["location"].take()["function"].take()).collect();
        unnumbered.sort_by_key(|function| function["address"].to_string());
        record["unnumbered"] = unnumbered.into();
        if text.is_some() { NONE } else { NAMED }
    });
    let types = &["trn2.48xlarge\n", "trn1.32xlarge\n", "m7i.large\n"];
    all.push(file("sys/devices/virtual/dmi/id/product_name".to_owned(), types, instance));
    let nodes = "sys/devices/system/node";
    let lists = &["0-47,96-143\n", "0,2,4-5", "\n"];
    all.push(file(format!("{nodes}/node0/cpulist"), lists, field("/numa/0/cpus", json!(""), cpus)));
    let node: Expect = Box::new(|text, record| {
        if let Some(node) = text.and_then(readings::number).filter(|node| *node > 1) {
            record["numa"].as_array_mut().expect("nodes").push(json!({"node": node, "cpus": ""}));
        }
        NONE
    });
    let path = nodes.to_owned();
    all.push(Attribute {
        path,
        kind: Kind::Name { begin: "node" },
        reader: Reader::Host,
        seeds: &["2", "00", "s"],
        expect: node,
    });
    let efa = |text: &str| Some(text.into());
    let path = "sys/module/efa/version".to_owned();
    all.push(file(path, &["3.1.0g\n"], field("/efa_driver/version", Value::Null, efa)));
    let lnc: Expect = Box::new(|text, record| match text.map(readings::lnc) {
        Some(Some(size)) => {
            record["lnc"] = json!({"size": size, "evidence": {"by": "node_file"}});
            NONE
        }
        _ => {
            record["lnc"] = json!({"size": 2, "evidence": {"by": "assumed"}});
            NAMED
        }
    });
    let lines = &["NEURON_LOGICAL_NC_CONFIG=1\n", "NEURON_LOGICAL_NC_CONFIG = 1\nNEURON_LOGICAL_NC_CONFIG=1\n"];
    all.push(file("opt/aws/neuron/logical_nc_config".to_owned(), lines, lnc));
}

fn add_telemetry(all: &mut Vec<Attribute>, first: &EfaInterface) {
    let mut add = |path: String, seeds, pointer: &'static str, read: fn(&str) -> Value| {
        let expect: Expect = Box::new(move |text, telemetry| {
            *telemetry.pointer_mut(pointer).expect(pointer) = text.map_or(Value::Null, read);
            NONE
        });
        all.push(Attribute { path, kind: Kind::File, reader: Reader::Telemetry(pointer), seeds, expect });
    };
    let numbers: &[&str] = &["0\n", "18446744073709551615\n", "many"];
    let device = "sys/class/neuron_device/neuron0";
    add(format!("{device}/reset"), &["1\n", "0", "2", "7", "x"], "/neuron/0/state", state);
    let powers = &["POWER_STATUS_VALID,1717171717,1.50,90.25,33.00\n", "POWER_STATUS_NO_DATA,0,0.00,0.00,0.00\n"];
    add(format!("{device}/stats/power/utilization"), powers, "/neuron/0/power", power);
    let ecc = "/neuron/0/ecc/values/mem_ecc_corrected";
    add(format!("{device}/stats/hardware/mem_ecc_corrected"), numbers, ecc, reading);
    let memory = format!("{device}/stats/memory_usage/host_mem/application_memory/present");
    add(memory, numbers, "/neuron/0/host_memory/application_memory/present", reading);
    let core = format!("{device}/neuron_core0/stats/memory_usage/device_mem/peak");
    add(core, numbers, "/neuron/0/cores/0/device_memory/peak", reading);
    let counters = format!("sys/class/infiniband/{}", first.rdma.as_deref().expect("a name"));
    add(format!("{counters}/hw_counters/alloc_pd_err"), numbers, "/efa/0/device/values/alloc_pd_err", reading);
}

fn file(path: String, seeds: &'static [&'static str], expect: Expect) -> Attribute {
    Attribute { path, kind: Kind::File, reader: Reader::Host, seeds, expect }
}

/// Returns the expectation of one field of the record. The field is `without`, with a problem, if the text has no reading.
fn field(pointer: &'static str, without: Value, read: impl Fn(&str) -> Option<Value> + 'static) -> Expect {
    Box::new(move |text, record| {
        let read = text.and_then(&read);
        let problems = if read.is_some() { NONE } else { NAMED };
        *record.pointer_mut(pointer).expect(pointer) = read.unwrap_or_else(|| without.clone());
        problems
    })
}

/// Returns the expectation of a field that is the text itself, or null if the text is empty.
fn text_field(pointer: &'static str) -> Expect {
    field(pointer, Value::Null, |text| Some(json!(Some(text).filter(|text| !text.is_empty()))))
}

fn cpus(text: &str) -> Option<Value> {
    readings::cpus(text).map(|row| readings::written_cpus(&row).into())
}

/// Expects that an interface is no EFA interface any more: its RDMA device stays, with `function` if that is known.
fn not_efa(record: &mut Value, position: usize, function: Option<Value>) {
    let removed = record["efa"].as_array_mut().expect("interfaces").remove(position);
    let device = json!({"name": removed["rdma"], "function": function, "uverbs": removed["uverbs"], "access": removed["access"]});
    record["other_rdma"] = json!([device]);
}

fn uevent(text: Option<&str>, record: &mut Value) -> Option<Problems> {
    let Some(text) = text else {
        not_efa(record, 0, None);
        return NAMED;
    };
    // Without an id in the uevent, the library reads the other attributes.
    let Some(id) = readings::uevent_value("PCI_ID", text) else { return NONE };
    let Some(id) = readings::id(id) else {
        not_efa(record, 0, None);
        return NAMED;
    };
    let driver = readings::uevent_value("DRIVER", text);
    record["efa"][0]["id"] = id.clone().into();
    record["efa"][0]["driver"] = driver.into();
    let (vendor, device) = id.split_at(4);
    match (vendor, device) {
        ("1d0f", _) if device.starts_with(":efa") => {}
        ("1d0f" | "10de", _) => return None, // The function may be a Neuron device or a GPU now.
        _ => {
            let mut function = record["efa"][0].clone();
            let keys = ["address", "id", "numa", "cpus", "root", "bridges", "driver", "link"];
            function.as_object_mut().expect("a function").retain(|key, _| keys.contains(&key.as_str()));
            not_efa(record, 0, Some(function));
        }
    }
    NONE
}

/// Expects the root and bridges in the target of a function's link.
fn location(address: Bdf, text: Option<&str>, record: &mut Value) -> Option<Problems> {
    let parts: Vec<&str> = text.unwrap_or_default().split('/').collect();
    let begin = parts.iter().position(|part| part.starts_with("pci"));
    let mut chain =
        begin.map(|begin| parts[begin + 1..].iter().map(|part| readings::address(part)).collect::<Vec<_>>());
    let own = chain.as_mut().and_then(Vec::pop).flatten();
    let root = begin.and_then(|begin| readings::root(parts[begin]));
    let bridges: Option<Vec<String>> = chain.and_then(|chain| chain.into_iter().collect());
    let whole = own.filter(|own| *own == address.to_string()).and(root.zip(bridges));
    let problems = if whole.is_some() { NONE } else { NAMED };
    let (root, bridges) = whole.map_or((Value::Null, json!([])), |(root, bridges)| (root.into(), bridges.into()));
    record["efa"][0]["root"] = root;
    record["efa"][0]["bridges"] = bridges;
    problems
}

fn rdma_link(own: &str, name: &str, text: &str, record: &mut Value) -> Option<Problems> {
    let parts: Vec<&str> = text.split('/').rev().collect();
    let owner = match parts[..] {
        [_, "infiniband", owner, ..] => readings::address(owner),
        _ => None,
    };
    if owner.as_deref() == Some(own) {
        return NONE;
    }
    // The RDMA device belongs to another function of the tree.
    if owner.is_some_and(|owner| record.to_string().contains(&owner)) {
        return None;
    }
    for key in ["rdma", "firmware", "node_guid", "port"] {
        record["efa"][0][key] = Value::Null;
    }
    record["other_rdma"] = json!([{"name": name, "function": null, "uverbs": null, "access": "unknown"}]);
    NONE
}

fn product(text: Option<&str>, record: &mut Value) -> Option<Problems> {
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        let known = nearfab::instances::products().iter().find(|product| product.name == text);
        record["neuron"][0]["product"] = text.into();
        record["neuron"][0]["memory"] = json!(known.map(|product| product.memory));
    }
    if text.is_some() { NONE } else { NAMED }
}
