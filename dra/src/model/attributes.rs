//! The attributes and capacities of the driver's own devices.
//!
//! A selector that reads a missing attribute stops its pod on all nodes. So the attributes that selectors of the device
//! classes and of the documentation read are on every device of their kind, whatever the host shows. The other
//! attributes are for constraints (`matchAttribute`) and for selectors with `?`, which pass over a device without them.
//! `docs/kubernetes.md` has the table of attributes, with the reason for each.

use std::collections::BTreeMap;

use k8s_openapi::api::resource::v1::{
    CapacityRequestPolicy, CapacityRequestPolicyRange, DeviceAttribute, DeviceCapacity,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use nearfab::instances::GroupSize;
use nearfab::{Bdf, HostDevice, NeuronDevice, PciFunction};

use super::hardware::Hardware;
use super::unit::Unit;

/// Attributes by name. A name without a domain belongs to the driver.
pub type Attributes = BTreeMap<String, DeviceAttribute>;

/// Capacities by name.
pub type Capacities = BTreeMap<String, DeviceCapacity>;

/// The queue pairs of a shared EFA interface: the number that the driver gives out, and the number for a claim that asks
/// for none. 32 claims with the usual number fit.
const QUEUE_PAIRS: (u32, u32) = (256, 8);

/// Returns a number as the value of an attribute.
pub fn int(value: impl Into<i64>) -> DeviceAttribute {
    DeviceAttribute { int: Some(value.into()), ..Default::default() }
}

/// Returns a text of at most 64 bytes as the value of an attribute.
pub fn text(value: impl Into<String>) -> DeviceAttribute {
    DeviceAttribute { string: Some(value.into()), ..Default::default() }
}

/// Returns a semantic version as the value of an attribute.
pub fn version(value: impl Into<String>) -> DeviceAttribute {
    DeviceAttribute { version: Some(value.into()), ..Default::default() }
}

/// Adds an attribute.
pub fn put(attributes: &mut Attributes, name: &str, value: DeviceAttribute) {
    attributes.insert(name.to_owned(), value);
}

/// Returns the attributes of a unit.
#[must_use]
pub fn attributes(hardware: &Hardware<'_>, unit: Unit) -> Attributes {
    let mut attributes = Attributes::new();
    put(&mut attributes, "type", text(unit.kind().name()));
    match unit {
        Unit::Neuron(device) => of_neuron(hardware, device, |cores| cores, &mut attributes),
        Unit::Half { device, .. } => of_neuron(hardware, device, |cores| cores / 2, &mut attributes),
        Unit::Core { device, lnc, .. } => {
            of_neuron(hardware, device, |_| lnc, &mut attributes);
            put(&mut attributes, "lnc", int(lnc));
        }
        Unit::Group { size, number } => {
            put(&mut attributes, "index", int(number));
            of_many(hardware, unit, &mut attributes);
            let first = HostDevice(number * size.devices());
            let id = |wider| (wider >= size).then(|| hardware.host().device_group(first, wider)).flatten();
            attributes.extend(groups(id));
        }
        Unit::Node => of_many(hardware, unit, &mut attributes),
        Unit::Efa(address) => {
            if let Some(efa) = hardware.interface(address) {
                put(&mut attributes, "generation", int(efa.generation()));
                if let Some(rdma) = &efa.rdma {
                    put(&mut attributes, "rdmaDevice", text(rdma));
                }
                attributes.extend(place(address, Some(&efa.function)));
            }
            attributes.extend(groups(|size| hardware.host().efa_group(address, size)));
        }
        Unit::EfaSet(_) => of_set(hardware, unit, &mut attributes),
    }
    attributes
}

/// Returns the capacities of a unit.
///
/// Only a claim for a shared interface consumes a capacity. A shared interface has no other capacities than these two,
/// because Kubernetes takes the full value of a capacity without a request from each claim.
#[must_use]
pub fn capacities(hardware: &Hardware<'_>, unit: Unit, is_shared: bool) -> Capacities {
    match unit {
        Unit::Neuron(device) => {
            let memory = hardware.device(device).and_then(|device| device.memory);
            let capacity = |memory| DeviceCapacity { value: binary_quantity(memory), request_policy: None };
            memory.map(|memory| ("memory".to_owned(), capacity(memory))).into_iter().collect()
        }
        // Sysfs does not show the bandwidth of an interface, so a claim asks for a part of it. A claim that asks for no
        // part has the whole interface.
        Unit::Efa(_) if is_shared => Capacities::from([
            ("bandwidthPercent".to_owned(), shared_capacity(100, 100)),
            ("queuePairs".to_owned(), shared_capacity(QUEUE_PAIRS.0, QUEUE_PAIRS.1)),
        ]),
        _ => Capacities::new(),
    }
}

fn shared_capacity(total: u32, default: u32) -> DeviceCapacity {
    let quantity = |value: u32| Quantity(value.to_string());
    let range = CapacityRequestPolicyRange { min: quantity(1), max: Some(quantity(total)), step: Some(quantity(1)) };
    DeviceCapacity {
        value: quantity(total),
        request_policy: Some(CapacityRequestPolicy {
            default: Some(quantity(default)),
            valid_range: Some(range),
            valid_values: None,
        }),
    }
}

/// Returns a number of bytes with the largest binary suffix that divides it, such as `96Gi`.
fn binary_quantity(bytes: u64) -> Quantity {
    let suffixes = [(1 << 40, "Ti"), (1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")];
    let divides = |(unit, _): &&(u64, &str)| bytes > 0 && bytes.is_multiple_of(*unit);
    Quantity(match suffixes.iter().find(divides) {
        Some((unit, suffix)) => format!("{}{suffix}", bytes / unit),
        None => bytes.to_string(),
    })
}

/// Adds the attributes of a Neuron device or of a part of one. `cores` gets the number of the device's cores.
fn of_neuron(hardware: &Hardware<'_>, index: HostDevice, cores: impl Fn(u32) -> u32, attributes: &mut Attributes) {
    put(attributes, "index", int(index.0));
    let Some(device) = hardware.device(index) else { return };
    put(attributes, "cores", int(cores(device.cores)));
    if let Some(product) = &device.product {
        put(attributes, "product", text(product));
    }
    let driver = hardware.host().neuron_driver().and_then(|driver| semantic(driver.version.as_deref()?));
    if let Some(driver) = driver {
        put(attributes, "driverVersion", version(driver));
    }
    if let Some(address) = device.address() {
        attributes.extend(place(address, device.function()));
    }
    attributes.extend(groups(|size| hardware.host().device_group(index, size)));
}

/// Adds the attributes of several devices that are allocated as one: how many of each they are, and their NUMA node.
fn of_many(hardware: &Hardware<'_>, unit: Unit, attributes: &mut Attributes) {
    let pieces = hardware.pieces(unit);
    let neuron: Vec<&NeuronDevice> = pieces.cores.keys().filter_map(|index| hardware.device(*index)).collect();
    let efa = pieces.efa.iter().filter_map(|address| hardware.interface(*address));
    let efa: Vec<&PciFunction> = efa.map(|efa| &efa.function).collect();
    put(attributes, "neurons", count(neuron.len()));
    put(attributes, "efas", count(efa.len()));
    put(attributes, "cores", int(neuron.iter().map(|device| device.cores).sum::<u32>()));
    let functions = neuron.iter().map(|device| device.function()).chain(efa.into_iter().map(Some));
    // A device whose place is unknown may be anywhere.
    if let Some(functions) = functions.collect::<Option<Vec<_>>>() {
        attributes.extend(common_place(&functions));
    }
}

/// Adds the attributes of a set of interfaces.
fn of_set(hardware: &Hardware<'_>, unit: Unit, attributes: &mut Attributes) {
    let set = hardware.pieces(unit).efa;
    let present: Vec<_> = set.iter().filter_map(|address| hardware.interface(*address)).collect();
    put(attributes, "efas", count(present.len()));
    let functions: Vec<&PciFunction> = present.iter().map(|efa| &efa.function).collect();
    attributes.extend(common_place(&functions));
    attributes.extend(groups(|size| common(set.iter().map(|address| hardware.host().efa_group(*address, size)))));
}

fn count(number: usize) -> DeviceAttribute {
    int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// Returns the location of a device, under the attribute names that Kubernetes defines for all drivers.
fn place(address: Bdf, function: Option<&PciFunction>) -> Attributes {
    let mut attributes = function.map(|function| common_place(&[function])).unwrap_or_default();
    put(&mut attributes, "resource.kubernetes.io/pciBusID", text(address.to_string()));
    attributes
}

/// Returns the location that all functions have in common.
pub fn common_place(functions: &[&PciFunction]) -> Attributes {
    let mut attributes = Attributes::new();
    if let Some(root) = common(functions.iter().map(|function| function.root)) {
        put(&mut attributes, "resource.kubernetes.io/pcieRoot", text(root.to_string()));
    }
    if let Some(node) = common(functions.iter().map(|function| function.numa)) {
        put(&mut attributes, "resource.kubernetes.io/numaNode", int(node));
    }
    attributes
}

/// Returns the value of all; `None` if the values differ or one is unknown.
fn common<T: PartialEq>(mut values: impl Iterator<Item = Option<T>>) -> Option<T> {
    let first = values.next()??;
    values.all(|value| value.as_ref() == Some(&first)).then_some(first)
}

/// Returns the groups of a device, under the attribute names that claims for AWS's drivers use. AWS has no groups of
/// two, so their name is the driver's own.
pub fn groups(id: impl Fn(GroupSize) -> Option<String>) -> Attributes {
    let name = |size| match size {
        GroupSize::One => "resource.aws.com/devicegroup1_id",
        GroupSize::Two => "devicegroup2_id",
        GroupSize::Four => "resource.aws.com/devicegroup4_id",
        GroupSize::Eight => "resource.aws.com/devicegroup8_id",
        GroupSize::Sixteen => "resource.aws.com/devicegroup16_id",
    };
    GroupSize::ALL.iter().filter_map(|&size| Some((name(size).to_owned(), text(id(size)?)))).collect()
}

/// Returns the first three numbers of a version of the Neuron driver, such as `2.26.5.0`. With the fourth number it is
/// no semantic version.
fn semantic(version: &str) -> Option<String> {
    let numbers: Vec<u32> = version.split('.').take(3).map(|number| number.parse().ok()).collect::<Option<_>>()?;
    let [major, minor, patch] = numbers[..] else { return None };
    Some(format!("{major}.{minor}.{patch}"))
}
