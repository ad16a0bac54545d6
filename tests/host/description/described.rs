//! Describes the host of an instance type with a defect.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use nearfab::Bdf;
use nearfab_emu::{Defect, NeuronDriver};
use nix::unistd::geteuid;
use serde_json::{Value, json};

use super::files::{Place, Product, Type};

/// An instance type and its defect.
pub(crate) struct Description<'a> {
    of: &'a Type,
    product: Option<&'a Product>,
    defect: Option<&'a Defect>,
    /// The name and the address of each RDMA device, by verbs number.
    verbs: BTreeMap<usize, (String, String)>,
}

const EFA_DRIVER: &str = "3.1.0g";
/// Two functions that no table has.
const MLX5: [&str; 2] = ["0000:fd:00.0", "0000:fe:00.0"];

impl<'a> Description<'a> {
    pub(crate) fn new(of: &'a Type, product: Option<&'a Product>, defect: Option<&'a Defect>) -> Self {
        let mut described = Self { of, product, defect, verbs: BTreeMap::new() };
        let infiniband = |address: &str| (format!("ib{}f0", bus_and_slot(address)), address.to_owned());
        let predicted = |row: &Place| (format!("rdma{}", bus_and_slot(&row.address)), row.address.clone());
        let bound = described.has_efa_driver();
        let without = |row: &&Place| !matches!(defect, Some(Defect::EfaWithoutRdma(a) | Defect::EfaVfio(a)) if a.to_string() == row.address);
        let efas = described.efas().into_iter().filter(|row| bound && without(row)).map(predicted);
        let foreign = by_address(&of.foreign).into_iter().map(|row| infiniband(&row.address));
        let mlx5 = || MLX5.map(infiniband);
        let mut all: Vec<(String, String)> = foreign.chain(efas).collect();
        match defect {
            Some(Defect::Mlx5First) => drop(all.splice(0..0, mlx5())),
            Some(Defect::Mlx5Beside) => all.extend(mlx5()),
            _ => {}
        }
        described.verbs = all.into_iter().enumerate().collect();
        described
    }

    /// Returns true if the test must read the host as a user who is not root: root may use any node and read any file.
    pub(crate) fn read_without_privilege(&self) -> bool {
        matches!(self.defect, Some(Defect::NeuronNodeRefused(_) | Defect::VerbsNodeRefused(_))) || self.hides_links()
    }

    /// Returns true if only root may read neighbours of devices, and the tree belongs to root.
    fn hides_links(&self) -> bool {
        self.neuron_driver().is_some_and(|driver| driver < NeuronDriver::V2_28) && geteuid().is_root()
    }

    fn is(&self, defect: &Defect) -> bool {
        self.defect == Some(defect)
    }

    /// Returns true if the defect is the one that `make` returns for the address.
    fn is_of(&self, make: fn(nearfab::Bdf) -> Defect, address: &str) -> bool {
        self.is(&make(address.parse().unwrap()))
    }

    fn instance_type(&self) -> Option<&str> {
        match self.defect {
            Some(Defect::NoProduct) => None,
            Some(Defect::UnknownProduct) => Some("trn9.48xlarge"),
            _ => Some(&self.of.instance_type),
        }
    }

    fn has_efa_driver(&self) -> bool {
        let all_are_unbound = matches!(self.defect, Some(Defect::EfaVfio(_))) && self.of.efa.len() == 1;
        !self.of.efa.is_empty() && !self.is(&Defect::EfaDriverUnbound) && !all_are_unbound
    }

    /// Returns the loaded driver. The last driver for the first Inferentia is older than the usual driver.
    fn neuron_driver(&self) -> Option<NeuronDriver> {
        let usual = match self.product?.name.as_str() {
            "Inferentia" => NeuronDriver::V2_24,
            _ => NeuronDriver::V2_30,
        };
        match self.defect {
            Some(Defect::NeuronDriverUnbound) => None,
            Some(Defect::NeuronDriver(driver)) => Some(*driver),
            _ => Some(usual),
        }
    }

    pub(crate) fn host(&self, root: &str) -> Value {
        let first = (self.product.filter(|_| self.neuron_driver().is_some())).map(|product| product.cores);
        let unbound = self.of.neuron.iter().filter(|_| self.is(&Defect::NeuronDriverUnbound));
        json!({
            "schema": "host",
            "format": 1,
            "origin": {"from": "tree", "root": root},
            "instance_type": self.instance_type(),
            "numa": self.of.numa.iter().map(|numa| json!({"node": numa.node, "cpus": numa.cpus})).collect::<Value>(),
            "efa": self.efas().into_iter().filter_map(|row| self.efa(row)).collect::<Value>(),
            "neuron": (0..).zip(&self.of.neuron).filter_map(|(n, row)| self.neuron(n, row)).collect::<Value>(),
            "driverless": by_address(unbound).into_iter().map(|row| self.neuron_function(row)).collect::<Value>(),
            "problems": [],
            "efa_driver": self.has_efa_driver().then(|| json!({"version": EFA_DRIVER})),
            "neuron_driver": self.neuron_driver().map(|driver| json!({
                "version": driver.version(),
                "layout": {"kind": self.layout(driver)},
                "class_attributes": self.class_attributes(driver),
            })),
            "lnc": first.map(|cores| match cores {
                8 => json!({"size": 2, "evidence": {"by": "assumed"}}),
                _ => json!({"size": 1, "evidence": {"by": "product"}}),
            }),
            "gpus": by_address(&self.of.gpu).into_iter().map(|row| self.gpu(row)).collect::<Value>(),
            "other_rdma": self.other_rdma(),
            "rdma_namespaces": self.has_efa_driver().then_some("shared"),
            "pci_functions": self.pci_functions(),
            "unnumbered": by_address(self.unnumbered()).into_iter().map(|row| self.neuron_function(row)).collect::<Value>(),
        })
    }

    /// Returns the number of functions on the bus, including the bridges above the functions. If a device is not in the
    /// tree, a bridge with no other device below is not in the tree either. If only the bus's link to a device is
    /// missing, the bridges of the device stay.
    fn pci_functions(&self) -> usize {
        let efa_is_gone = matches!(self.defect, Some(Defect::EfaFunctionGone(_)));
        let efas = if efa_is_gone { by_address(&self.of.efa) } else { self.efas() };
        let gone = |index: u32| self.is(&Defect::NeuronFunctionGone(index));
        let neuron = (0..).zip(&self.of.neuron).filter(|&(index, _)| !gone(index)).map(|(_, row)| row);
        let places = efas.into_iter().chain(neuron).chain(&self.of.gpu).chain(&self.of.foreign);
        let all: BTreeSet<&String> = places.flat_map(|place| place.bridges.iter().chain([&place.address])).collect();
        let mlx5 = matches!(self.defect, Some(Defect::Mlx5Beside | Defect::Mlx5First));
        all.len() + if mlx5 { MLX5.len() } else { 0 } - usize::from(efa_is_gone)
    }

    /// Returns the functions that are bound to the driver and have a number that only the driver knows.
    fn unnumbered(&self) -> impl Iterator<Item = &'a Place> {
        let unknown = self.neuron_driver().is_some() && !self.is_placed() && self.of.neuron.len() > 1;
        let gone = |index: u32| self.is(&Defect::NeuronFunctionGone(index));
        let present = (0..).zip(&self.of.neuron).filter(move |&(index, _)| unknown && !gone(index));
        present.map(|(_, row)| row)
    }

    /// Returns a GPU. The NVIDIA driver numbers the GPUs that it has bound by address.
    fn gpu(&self, row: &Place) -> Value {
        let bound = |row: &Place| !self.is_of(Defect::GpuVfio, &row.address);
        let all = by_address(&self.of.gpu);
        let number = all.iter().filter(|other| bound(other)).position(|other| other.address == row.address);
        let number = number.map(|number| u32::try_from(number).unwrap());
        let (listed, has_node) = match self.defect {
            Some(Defect::ContainerGpus(gpus)) => (number.is_some_and(|n| gpus.contains(&n)), None),
            Some(Defect::ContainerGpusUnmasked(gpus)) => (true, Some(number.is_some_and(|n| gpus.contains(&n)))),
            Some(Defect::ProcMasked) => (false, None),
            _ => (number.is_some(), None),
        };
        let lists_none = self.is(&Defect::ProcMasked) || !all.iter().any(|row| bound(row));
        let access = match (listed, has_node) {
            (true, None | Some(true)) => "granted",
            _ if lists_none => "unknown",
            _ => "missing",
        };
        let driver = if bound(row) { "nvidia" } else { "vfio-pci" };
        let mut gpu = self.function(row, pci_id(0x10de, self.of.gpu_device_id.unwrap()), Some(driver));
        let number = number.filter(|_| listed);
        let uuid = number.map(|_| uuid(row.address.parse().unwrap()));
        gpu.as_object_mut().unwrap().extend([
            ("minor".to_owned(), json!(number)),
            ("uuid".to_owned(), json!(uuid)),
            ("access".to_owned(), json!(access)),
        ]);
        gpu
    }

    /// Returns the attached EFA interfaces, by address.
    fn efas(&self) -> Vec<&'a Place> {
        let all = by_address(&self.of.efa);
        match self.defect {
            Some(Defect::EfaAttached(count)) => all[all.len() - count..].to_vec(),
            _ => all,
        }
    }

    fn efa(&self, row: &Place) -> Option<Value> {
        if self.is_of(Defect::EfaFunctionGone, &row.address) {
            return None;
        }
        let id = self.of.efa_device_id.unwrap();
        let vfio = self.is_of(Defect::EfaVfio, &row.address);
        let driver = if vfio { Some("vfio-pci") } else { self.has_efa_driver().then_some("efa") };
        let mut efa = self.function(row, pci_id(0x1d0f, id), driver);
        let (uverbs, rdma) = self.rdma_of(&row.address);
        let shown = rdma.is_some() && !self.is_of(Defect::EfaAttributesGone, &row.address);
        // The emulator derives GUID and GID from bus and slot. Generation 0 has no GUID.
        let (bus, slot) = (&row.address[5..7], &row.address[8..10]);
        let guid = (shown && id != 0xefa0).then(|| format!("00{slot}:{bus}00:{}", self.card(row)));
        let gid: Ipv6Addr = format!("fe80::ff:fe{bus}:{slot}00").parse().unwrap();
        let rate = match id {
            0xefa0 | 0xefa1 => 100_000,
            0xefa2 => 200_000,
            _ => 400_000,
        };
        let port = shown.then(|| json!({"state": 4, "rate_mbps": rate, "gid": gid.to_string()}));
        let own = json!({
            "rdma": rdma, "uverbs": uverbs, "access": self.verbs_access(uverbs), "firmware": null, "node_guid": guid,
            "p2p": driver.filter(|_| !vfio).map(|_| ""), "port": port,
        });
        efa.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        Some(efa)
    }

    /// Returns the lower half of an interface's GUID: the NUMA node as domain, a bus per card, and the function. On p5 two
    /// interfaces share a card, and the first one is function 1.
    fn card(&self, row: &Place) -> String {
        let domain = row.numa.unwrap_or(0);
        let all = by_address(self.of.efa.iter().filter(|other| other.numa.unwrap_or(0) == domain));
        let position = all.iter().position(|other| other.address == row.address).unwrap();
        let (card, function) = if self.of.efa.len() == 32 { (position / 2, 1 - position % 2) } else { (position, 0) };
        format!("{domain:04x}:{:02x}0{function}", 0x10 + 8 * card)
    }

    /// Returns the number and the name of the RDMA device at an address.
    fn rdma_of(&self, address: &str) -> (Option<usize>, Option<&str>) {
        let found = self.verbs.iter().find(|(_, (_, of))| of == address);
        found.map_or((None, None), |(number, (name, _))| (Some(*number), Some(name)))
    }

    fn verbs_access(&self, number: Option<usize>) -> &'static str {
        match (number, self.defect) {
            (None, _) => "unknown",
            (Some(number), Some(Defect::VerbsNodeMissing(missing))) if number == *missing as usize => "missing",
            (Some(number), Some(Defect::VerbsNodeRefused(refused))) if number == *refused as usize => "refused",
            _ => "granted",
        }
    }

    fn other_rdma(&self) -> Value {
        let known = by_address(&self.of.foreign).into_iter();
        let mut all: Vec<(String, Value)> = known
            .map(|row| {
                let id = pci_id(row.vendor.unwrap(), row.device.unwrap());
                (row.address.clone(), self.function(row, id, Some("mlx5_core")))
            })
            .collect();
        if let Some(Defect::EfaFunctionGone(address)) = self.defect {
            all.push((address.to_string(), Value::Null));
        }
        if self.is(&Defect::Mlx5Beside) || self.is(&Defect::Mlx5First) {
            all.extend(MLX5.map(|address| {
                let numa = Some(self.of.numa[0].node);
                let (address, bridges) = (address.to_owned(), Vec::new());
                let row = Place { address, numa, bridges, links: None, vendor: None, device: None };
                (row.address.clone(), self.function(&row, pci_id(0x15b3, 0x1021), Some("mlx5_core")))
            }));
        }
        all.sort_by_key(|(address, _)| address.clone());
        all.into_iter()
            .map(|(address, function)| {
                let (uverbs, name) = self.rdma_of(&address);
                json!({"name": name, "function": function, "uverbs": uverbs, "access": self.verbs_access(uverbs)})
            })
            .collect()
    }

    fn neuron(&self, index: u32, row: &Place) -> Option<Value> {
        self.neuron_driver()?;
        let product = self.product?;
        let shown = self.shows(index);
        let (architecture, has_serial) = match product.name.as_str() {
            "Inferentia" => ("NDv1", false),
            "Trainium1" => ("NDv2", true),
            "Inferentia2" | "Trainium2" => ("NDv3", true),
            "Trainium3" => ("NDv4", true),
            other => panic!("{other}"),
        };
        // The emulator derives the serial from the number.
        let serial = (shown && has_serial).then(|| match self.defect {
            Some(Defect::NeuronOffBus(device)) if *device == index => "ffffffffffffffff".to_owned(),
            _ => format!("000000005e71a1{index:02x}"),
        });
        // Only root may read the state.
        let state = match self.defect {
            _ if !shown || (self.read_without_privilege() && geteuid().is_root()) => None,
            Some(Defect::NeuronResetFailed(device)) if *device == index => Some(2),
            Some(Defect::NeuronResetHanging(device)) if *device == index => Some(0),
            _ => Some(1),
        };
        let links = row.links.as_ref().filter(|_| shown && !self.hides_links());
        Some(json!({
            "index": index, "product": product.name, "architecture": shown.then_some(architecture), "serial": serial,
            "state": state, "cores": product.cores, "memory": product.memory, "links": links,
            "location": self.location(index, row), "access": self.neuron_access(index),
        }))
    }

    /// Returns true if the driver shows the attributes of a device in the known places.
    fn shows(&self, index: u32) -> bool {
        !self.is(&Defect::NeuronAttributesGone(index)) && self.neuron_driver() != Some(NeuronDriver::V2_31)
    }

    /// Returns the location by the table, or the location of the only function. If the function at the table's address
    /// is missing and the host has other functions, the host contradicts the table, and the location is unknown.
    fn location(&self, index: u32, row: &Place) -> Option<Value> {
        let gone = self.is(&Defect::NeuronFunctionGone(index));
        let several = self.of.neuron.len() > 1;
        let evidence = match self.is_placed() {
            true if gone && several => return None,
            true => json!({"by": "table", "instance_type": self.of.instance_type}),
            false if several => return None,
            false => json!({"by": "only_one"}),
        };
        Some(json!({
            "address": row.address,
            "evidence": evidence,
            "function": (!gone).then(|| self.neuron_function(row)),
        }))
    }

    /// Returns true if the host's table has the places of devices.
    fn is_placed(&self) -> bool {
        self.of.places_neuron() && self.instance_type() == Some(&self.of.instance_type)
    }

    fn neuron_access(&self, index: u32) -> &'static str {
        match self.defect {
            Some(Defect::NeuronNodeMissing(missing)) if *missing == index => "missing",
            Some(Defect::NeuronNodeRefused(refused)) if *refused == index => "refused",
            Some(Defect::Container(devices)) if !devices.contains(&index) => "missing",
            _ => "granted",
        }
    }

    fn neuron_function(&self, row: &Place) -> Value {
        let driver = self.neuron_driver().map(|_| "neuron-driver");
        self.function(row, pci_id(0x1d0f, self.product.unwrap().device_ids[0]), driver)
    }

    fn layout(&self, driver: NeuronDriver) -> &'static str {
        match driver {
            // The files of the first device show the layout.
            _ if !self.shows(0) => "unknown",
            NeuronDriver::V2_24 => "up_to226",
            NeuronDriver::V2_27 | NeuronDriver::V2_28 | NeuronDriver::V2_29 => "from227",
            _ => "from230",
        }
    }

    /// Returns the attributes of the class by name. From 2.30 on the attributes depend on the platform. The driver
    /// derives the platform from the instance type.
    fn class_attributes(&self, driver: NeuronDriver) -> Vec<&'static str> {
        let of_ultraserver = ["node_id_2", "node_id_4", "server_id_2", "server_id_4", "ultraserver_mode"];
        let of_all = ["current_perf_profile", "hbm_7200_capable"];
        match self.instance_type() {
            _ if driver > NeuronDriver::V2_30 => Vec::new(),
            _ if driver < NeuronDriver::V2_30 => of_ultraserver.to_vec(),
            Some("trn3.48xlarge" | "trn3-dev0.48xlarge" | "trn3-dev1.48xlarge") => {
                vec!["node_cnt", "node_id", "reservation_id", "ultraserver_mode"]
            }
            Some("trn2u.48xlarge" | "trn3p.48xlarge") => [&of_all[..], &of_ultraserver].concat(),
            _ => of_all.to_vec(),
        }
    }

    fn function(&self, row: &Place, id: String, driver: Option<&str>) -> Value {
        let is_garbage = matches!(self.defect, Some(Defect::Garbage(path)) if path.ends_with(&format!("/{}/numa_node", row.address)));
        let node = row.numa.filter(|_| !self.is(&Defect::NoNuma));
        let cpus = self.of.numa.iter().find(|numa| Some(numa.node) == node).map(|numa| numa.cpus.clone());
        let root = &row.bridges.first().unwrap_or(&row.address)[..7];
        json!({
            "address": row.address,
            "link": link(&id),
            "id": id,
            "numa": node.filter(|_| !is_garbage),
            "cpus": cpus.unwrap_or_else(|| self.all_cpus()),
            "root": format!("pci{root}"),
            "bridges": row.bridges,
            "driver": driver,
        })
    }

    /// Returns all CPUs. The kernel shows a function without a NUMA node as near every CPU.
    fn all_cpus(&self) -> String {
        let lists = self.of.numa.iter().flat_map(|numa| numa.cpus.split(','));
        let mut ranges: Vec<(u32, u32)> = lists
            .map(|range| range.split_once('-').unwrap_or((range, range)))
            .map(|(first, last)| (first.parse().unwrap(), last.parse().unwrap()))
            .collect();
        ranges.sort_unstable();
        // CPU numbers of EC2 machines have no gaps.
        assert!(ranges[0].0 == 0 && ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{ranges:?}");
        format!("0-{}", ranges.last().unwrap().1)
    }

    /// Returns the parts of each expected problem.
    pub(crate) fn problems(&self) -> Vec<Vec<String>> {
        let mut problems = Vec::new();
        let mut expect = |parts: &[&str]| problems.push(parts.iter().map(|&part| part.to_owned()).collect());
        let Some(driver) = self.neuron_driver() else { return self.garbage() };
        for (index, row) in (0..).zip(&self.of.neuron) {
            let name = format!("neuron{index} ");
            if !self.shows(index) {
                let cores = format!("its product has {}", self.product.unwrap().cores);
                expect(&[&name, "shows no cores", &cores]);
            }
            if self.is(&Defect::NeuronFunctionGone(index)) && self.is_placed() && self.of.neuron.len() > 1 {
                let table = format!("table {} has {name}at {}", self.of.instance_type, row.address);
                expect(&[&table, "where this host has no Neuron function"]);
            }
        }
        if !self.shows(0) {
            expect(&[driver.version(), "have a layout that this version of nearfab does not know"]);
        }
        problems.extend(self.garbage());
        problems
    }

    fn garbage(&self) -> Vec<Vec<String>> {
        let Some(Defect::Garbage(path)) = self.defect else { return Vec::new() };
        vec![vec![path.clone(), "expected a NUMA node number or -1, found \"first\"".to_owned()]]
    }
}

fn by_address<'a>(rows: impl IntoIterator<Item = &'a Place>) -> Vec<&'a Place> {
    let mut rows: Vec<&Place> = rows.into_iter().collect();
    rows.sort_by_key(|row| row.address.clone());
    rows
}

/// Returns bus and slot in decimal, as udev names RDMA devices.
fn bus_and_slot(address: &str) -> String {
    let number = |hex: &str| u8::from_str_radix(hex, 16).unwrap();
    format!("p{}s{}", number(&address[5..7]), number(&address[8..10]))
}

fn pci_id(vendor: u16, device: u16) -> String {
    format!("{vendor:04x}:{device:04x}")
}

/// Returns the captured link of a function (`tests/captured`). The link of Neuron devices was captured on inf2.xlarge.
/// This link is slower than its maximum.
fn link(id: &str) -> Value {
    let both =
        |speed: &str, width: &str| json!({"speed": speed, "width": width, "max_speed": speed, "max_width": width});
    match id {
        "1d0f:efa0" => both("unknown", "unknown"),
        "1d0f:efa1" => both("16.0 GT/s", "x8"),
        "1d0f:efa2" => both("32.0 GT/s", "x8"),
        "10de:3182" => both("64.0 GT/s", "x16"),
        "10de:1db5" => both("8.0 GT/s", "x16"),
        "10de:27b8" => json!({"speed": "2.5 GT/s", "width": "x8", "max_speed": "16.0 GT/s", "max_width": "x8"}),
        "1d0f:efa3" | "10de:2330" | "10de:2335" | "10de:2901" | "10de:2941" => both("32.0 GT/s", "x16"),
        "10de:20b0" | "10de:20b2" | "10de:2237" => both("16.0 GT/s", "x16"),
        "15b3:1021" => both("8.0 GT/s", "x4"),
        _ if id.starts_with("1d0f:7") => {
            json!({"speed": "16.0 GT/s", "width": "x8", "max_speed": "32.0 GT/s", "max_width": "x8"})
        }
        other => panic!("nothing is captured of {other}"),
    }
}

/// The emulator derives the UUID from the address.
fn uuid(address: Bdf) -> String {
    let place = (u64::from(address.domain()) << 16) | (u64::from(address.bus()) << 8) | u64::from(address.device());
    format!("GPU-{:08x}-6e66-4e75-8a62-{place:012x}", place * 0x9e37_79b9 % (1 << 32))
}
