//! Tests the assumptions that no table depends on.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use super::facts::{functions, neuron_functions};
use super::findings::{Findings, Need};
use crate::error::Error;
use crate::host::Host;
use crate::scan::neuron::{CoreMap, CoreMapEvidence, NeuronDevice};
use crate::tables::instances::{Check, Product, products};
use crate::types::probe::{Architecture, DeviceAnswers, Probe};
use crate::types::{HostDevice, PhysicalCore};

const CORE_MAP: &str = "GET_LOGICAL_TO_PHYSICAL_NC_MAP";

pub(super) fn run(check: Check, host: &Host, probe: Option<&Probe>) -> Findings {
    let mut findings = Findings::default();
    match check {
        Check::LocalCpus => local_cpus(&mut findings, host),
        Check::CoreMapTorus => core_map(&mut findings, host, probe, Order::Torus("Trainium2")),
        Check::CoreMapTrn3p => core_map(&mut findings, host, probe, Order::Torus("Trainium3")),
        Check::CoreMapSwitched => core_map(&mut findings, host, probe, Order::Switched),
        Check::CoreMapFlipped => core_map(&mut findings, host, probe, Order::Flipped),
        Check::CoreMapNone => core_map_none(&mut findings, host, probe),
        Check::Architecture => architecture(&mut findings, host, probe),
        Check::ProbedAddress => probed_address(&mut findings, host, probe),
        Check::CoreQuestion => core_question(&mut findings, host, probe),
    }
    findings
}

fn local_cpus(findings: &mut Findings, host: &Host) {
    for function in functions(host) {
        let node = host.numa_nodes().iter().find(|node| Some(node.node) == function.numa);
        match node.filter(|node| !node.cpus.is_empty() && !function.cpus.is_empty()) {
            Some(node) => {
                let path = format!("/sys/bus/pci/devices/{}/local_cpulist", function.address);
                findings.compare(&path, &node.cpus, &function.cpus);
            }
            None => findings.miss(Need::OtherHost, "functions on a NUMA node with CPUs"),
        }
    }
    if functions(host).next().is_none() {
        findings.miss(Need::OtherHost, "functions on a NUMA node with CPUs");
    }
}

/// The order of cores that an assumption is about.
#[derive(Clone, Copy)]
enum Order {
    /// The order of a product in a torus, flipped or not.
    Torus(&'static str),
    /// The order of Trainium3 devices behind NeuronSwitches.
    Switched,
    /// The order on servers whose dice are flipped.
    Flipped,
}

impl Order {
    /// Returns true if the assumption is about a device with this core map.
    fn is_of(self, device: &NeuronDevice, map: &CoreMap) -> bool {
        let unless_flipped = map.evidence == CoreMapEvidence::DriverTableUnlessFlipped;
        let by_table = unless_flipped || map.evidence == CoreMapEvidence::DriverTable;
        let is = |product: &str| device.product.as_deref() == Some(product);
        match self {
            Self::Torus("Trainium3") => is("Trainium3") && unless_flipped,
            Self::Torus(product) => is(product) && by_table,
            Self::Switched => is("Trainium3") && by_table && !unless_flipped,
            Self::Flipped => unless_flipped,
        }
    }

    fn devices(self) -> &'static str {
        match self {
            Self::Torus("Trainium3") => "the cores of Trainium3 devices of a torus",
            Self::Torus(_) => "the cores of Trainium2 devices",
            Self::Switched => "the cores of Trainium3 devices behind NeuronSwitches",
            Self::Flipped => "the cores of a server of an UltraServer",
        }
    }
}

fn core_map(findings: &mut Findings, host: &Host, probe: Option<&Probe>, order: Order) {
    let maps = host.neuron_devices().iter().map(|device| (device, device.core_map(host.instance_type())));
    let maps: Vec<_> = maps.filter(|(device, map)| order.is_of(device, map)).collect();
    if maps.is_empty() {
        return findings.miss(Need::OtherHost, order.devices());
    }
    let Some(probe) = probe else { return findings.miss(Need::Probe, "the order of cores") };
    let probed = match &probe.core_map {
        Ok(Some(map)) => map,
        Ok(None) => return findings.differ(CORE_MAP, "an order of cores", "none"),
        Err(error) => return refused(findings, error),
    };
    let mut devices = Vec::new();
    for (device, map) in &maps {
        let found = Cores(probed.iter().filter(|core| core.device == device.index).map(|core| core.core).collect());
        match found.0.is_empty() {
            true => findings.miss(Need::OtherHost, format!("the cores of {}", device.index)),
            false => devices.push((device, map, found)),
        }
    }
    // All devices of a server are flipped, or none. Only servers of an UltraServer are flipped.
    let plain = devices.iter().all(|(_, map, found)| found.0 == map.order);
    let flipped = devices
        .iter()
        .all(|(_, map, found)| map.evidence == CoreMapEvidence::DriverTableUnlessFlipped && found.0 == map.flipped());
    for (device, map, found) in &devices {
        match order {
            Order::Flipped if plain => {
                findings.miss(Need::OtherHost, "flipped dice: the dice of this server are not flipped")
            }
            _ if flipped => findings.agree(),
            _ => findings.compare(&format!("{}: {CORE_MAP}", device.node()), &Cores(map.order.clone()), found),
        }
    }
}

/// Handles a question that failed: a malformed answer differs from the expectation; every other failure leaves the
/// value unknown.
fn refused(findings: &mut Findings, error: &Error) {
    match error {
        Error::Malformed { path, expected, found } => findings.differ(path.display().to_string(), expected, found),
        other => findings.miss(Need::OtherHost, other.to_string()),
    }
}

#[derive(PartialEq)]
struct Cores(Vec<PhysicalCore>);

impl Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, core)| write!(f, "{}{}", if i == 0 { "" } else { "," }, core.0))
    }
}

fn core_map_none(findings: &mut Findings, host: &Host, probe: Option<&Probe>) {
    let has_none = |device: &NeuronDevice| device.core_map(host.instance_type()).evidence == CoreMapEvidence::Product;
    if !host.neuron_devices().iter().any(has_none) {
        return findings.miss(Need::OtherHost, "Inferentia, Inferentia2 or Trainium1 devices");
    }
    match probe.map(|probe| &probe.core_map) {
        None => findings.miss(Need::Probe, "whether the driver reports an order of cores"),
        Some(Ok(None)) => findings.agree(),
        Some(Ok(Some(map))) => findings.differ(CORE_MAP, "none", format!("an order of {} cores", map.len())),
        Some(Err(error)) => refused(findings, error),
    }
}

/// Returns the driver's answers for each device whose node was opened.
fn answers<'a>(
    findings: &mut Findings,
    host: &Host,
    probe: Option<&'a Probe>,
    what: &str,
) -> Vec<(HostDevice, &'a DeviceAnswers)> {
    if host.neuron_devices().is_empty() {
        findings.miss(Need::OtherHost, "Neuron devices");
        return Vec::new();
    }
    let Some(probe) = probe else {
        findings.miss(Need::Probe, what);
        return Vec::new();
    };
    let mut answers = Vec::new();
    for device in &probe.devices {
        match &device.answers {
            Ok(given) => answers.push((device.device, given)),
            Err(error) => findings.miss(Need::OtherHost, error.to_string()),
        }
    }
    answers
}

fn architecture(findings: &mut Findings, host: &Host, probe: Option<&Probe>) {
    for (index, answers) in answers(findings, host, probe, "the driver's number of the architecture") {
        let product = host.find_neuron(index).ok().and_then(product);
        match (product, &answers.driver) {
            (Some(product), Ok(info)) => {
                let expected = Architecture::from(product.architecture);
                let path = format!("/dev/{index}: DRIVER_INFO_GET");
                if expected == info.architecture {
                    findings.agree();
                } else {
                    findings.differ(
                        path,
                        format!("{expected:?} for {}", product.name),
                        format!("{:?}", info.architecture),
                    );
                }
            }
            (None, _) => findings.miss(Need::OtherHost, format!("a known product of {index}")),
            (_, Err(error)) => refused(findings, error),
        }
    }
}

fn product(device: &NeuronDevice) -> Option<&'static Product> {
    products().iter().find(|product| device.product.as_deref() == Some(product.name))
}

/// Checks that each probed address is the address of a Neuron function of this host, and that no two devices have one
/// address.
fn probed_address(findings: &mut Findings, host: &Host, probe: Option<&Probe>) {
    let answers = answers(findings, host, probe, "the address of each device");
    let present: BTreeSet<_> = neuron_functions(host).map(|function| function.address).collect();
    let mut seen = BTreeSet::new();
    for (index, answers) in answers {
        let path = format!("/dev/{index}: DEVICE_BDF_EXT");
        match &answers.address {
            Err(error) => refused(findings, error),
            Ok(_) if present.is_empty() => findings.miss(Need::OtherHost, "the functions of Neuron devices"),
            Ok(address) if !present.contains(address) => {
                findings.differ(path, "a Neuron function of this host", address)
            }
            Ok(address) if !seen.insert(*address) => {
                findings.differ(path, "another function for each device", address);
            }
            Ok(_) => findings.agree(),
        }
    }
}

fn core_question(findings: &mut Findings, host: &Host, probe: Option<&Probe>) {
    for (_, answers) in answers(findings, host, probe, "the answer for each core") {
        for core in &answers.cores {
            match &core.state {
                Ok(_) => findings.agree(),
                Err(error) => refused(findings, error),
            }
        }
    }
}
