//! A pod claims one Neuron device and the EFA interface near it, and gets these and no other device.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::{LIMIT, apply, delete, deployed, files, manifest, wait_until_node_is_empty, wait_until_ready};
use crate::k8s::NODE;
use crate::k8s::bed::Bed;
use crate::k8s::components::{CDI, KUBELET};
use crate::k8s::driver::{self, Driver};
use crate::run::{output, until, workspace};

const POD: &str = "near-pair";

/// The device nodes that the container runtime gives to every container.
const STANDARD: [&str; 8] =
    ["/dev/console", "/dev/full", "/dev/null", "/dev/pts/ptmx", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero"];

/// Attributes by device name.
type Devices = BTreeMap<String, Value>;

pub(super) fn run(bed: &Bed) -> Result<()> {
    let pod = manifest("near-pair.yaml");
    let [access, classes] = ["rbac.yaml", "deviceclasses.yaml"].map(deployed);
    delete(bed, &pod)?;
    // Slices of an earlier driver would look like slices of this driver.
    output(bed.kubectl()?.args(["delete", "resourceslices", "--all"]))?;
    // The objects of `access` stay: applying the objects again changes nothing, and deleting a namespace takes long.
    apply(bed, &access)?;
    apply(bed, &classes)?;

    let mut driver = Driver::start(bed)?;
    let outcome = claim_and_release(bed, &mut driver, &pod);
    if outcome.is_err() {
        // The driver must still run to unprepare the claim: without it the pod would stay and break the next run.
        delete(bed, &pod).with_context(|| format!("cleaning up after {outcome:?}"))?;
    }
    drop(driver);
    outcome?;
    until("the driver removing its registration", LIMIT, || {
        let sockets = files(&bed.path(&format!("{KUBELET}/plugins_registry"))?)?;
        Ok(if sockets.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(format!("{sockets:?}")) })
    })
}

fn claim_and_release(bed: &Bed, driver: &mut Driver, pod: &Path) -> Result<()> {
    let devices = published(bed, driver)?;
    check_published(&devices)?;

    apply(bed, pod)?;
    wait_until_ready(bed, POD)?;
    let nodes = allocated_nodes(bed, &devices)?;
    check_containers(bed, &nodes)?;
    let held = held(bed)?;
    ensure!(held.len() == 3, "expected a claim, its checkpoint and its CDI file, and found {held:?}");

    delete(bed, pod)?;
    until("removing the claim, its checkpoint and its CDI file", LIMIT, || {
        let held = self::held(bed)?;
        Ok(if held.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(format!("{held:?}")) })
    })?;
    wait_until_node_is_empty(bed)
}

/// Returns the devices in the node's pool, as soon as the pool has a device.
fn published(bed: &Bed, driver: &mut Driver) -> Result<Devices> {
    until("the driver publishing its devices", LIMIT, || {
        driver.check()?;
        let slices = bed.get(&["resourceslices"])?;
        let mut devices = Devices::new();
        for slice in list(&slices["items"]) {
            let spec = &slice["spec"];
            ensure!(spec["driver"] == "nearfab.dev" && spec["nodeName"] == NODE, "a foreign slice: {spec}");
            for device in list(&spec["devices"]) {
                devices.insert(text(&device["name"])?, device["attributes"].clone());
            }
        }
        Ok(match devices.is_empty() {
            true => ControlFlow::Continue("no ResourceSlice with devices".to_owned()),
            false => ControlFlow::Break(devices),
        })
    })
}

/// Checks that every device of the machine is published with its place and its groups.
fn check_published(devices: &Devices) -> Result<()> {
    for (kind, expected) in [("neuron", 16), ("efa", 16)] {
        let count = devices.values().filter(|device| device["type"]["string"] == kind).count();
        ensure!(count == expected, "expected {expected} devices of type {kind}, and {count} are published");
    }
    for (name, attributes) in devices {
        let numa = &attributes["resource.kubernetes.io/numaNode"]["int"];
        ensure!(numa.is_i64(), "{name} has no numaNode: {attributes}");
        for attribute in [
            "resource.kubernetes.io/pcieRoot",
            "resource.aws.com/devicegroup1_id",
            "devicegroup2_id",
            "resource.aws.com/devicegroup4_id",
            "resource.aws.com/devicegroup8_id",
            "resource.aws.com/devicegroup16_id",
        ] {
            attribute_text(attributes, attribute).with_context(|| name.clone())?;
        }
    }
    Ok(())
}

/// Returns the device nodes of the allocated devices, read from the machine's tree and its instance table.
fn allocated_nodes(bed: &Bed, devices: &Devices) -> Result<BTreeSet<String>> {
    let claims = bed.get(&["resourceclaims"])?;
    let [claim] = list(&claims["items"]) else { bail!("expected one claim: {claims}") };
    let results = &claim["status"]["allocation"]["devices"]["results"];
    let of_request = |request: &str| {
        let result = list(results).iter().find(|result| result["request"] == request);
        let result = result.with_context(|| format!("nothing is allocated for {request}: {results}"))?;
        let name = text(&result["device"])?;
        devices.get(&name).with_context(|| format!("{name} is allocated and not published"))
    };
    let (neuron, efa) = (of_request("neuron")?, of_request("efa")?);
    ensure!(list(results).len() == 2, "more devices are allocated than the claim requests: {results}");

    let group = attribute_text(neuron, "resource.aws.com/devicegroup1_id")?;
    let efa_group = attribute_text(efa, "resource.aws.com/devicegroup1_id")?;
    ensure!(group == efa_group, "the devices are not near each other: {neuron} {efa}");
    let index = neuron["index"]["int"].as_u64().with_context(|| format!("no index: {neuron}"))?;
    let address = paired_efa(index)?;
    ensure!(
        attribute_text(efa, "resource.kubernetes.io/pciBusID")? == address,
        "Neuron device {index} is paired with {address}, and allocated beside {efa}"
    );

    let verbs = driver::tree(bed).join(format!("sys/bus/pci/devices/{address}/infiniband_verbs"));
    let verbs = files(&verbs)?;
    let [verbs] = verbs.as_slice() else { bail!("{address} has not one verbs device: {verbs:?}") };
    Ok([format!("/dev/neuron{index}"), format!("/dev/infiniband/{verbs}")].into())
}

/// Returns the paired interface from the instance table, read without nearfab.
fn paired_efa(index: u64) -> Result<String> {
    #[derive(Deserialize)]
    struct Table {
        neuron: Vec<Row>,
    }
    #[derive(Deserialize)]
    struct Row {
        index: u64,
        efa: String,
    }
    let file = workspace().join("data/instances").join(format!("{}.toml", driver::INSTANCE));
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let table: Table = toml::from_str(&text).with_context(|| file.display().to_string())?;
    let row = table.neuron.into_iter().find(|row| row.index == index);
    Ok(row.with_context(|| format!("{} has no device {index}", file.display()))?.efa)
}

/// Checks that the worker has the device nodes, that the sidecar does not have them, and that the two containers do not
/// differ otherwise.
fn check_containers(bed: &Bed, nodes: &BTreeSet<String>) -> Result<()> {
    let of_sidecar = device_nodes(bed, "sidecar")?;
    let standard: BTreeSet<String> = STANDARD.map(str::to_owned).into();
    ensure!(of_sidecar.is_subset(&standard), "the sidecar has no claim, and its /dev has {of_sidecar:?}");
    let of_worker = device_nodes(bed, "worker")?;
    let expected: BTreeSet<String> = of_sidecar.union(nodes).cloned().collect();
    ensure!(of_worker == expected, "expected {expected:?} in the worker's /dev, and it has {of_worker:?}");
    for node in nodes {
        // A node can exist while the container's device rules refuse it.
        exec(bed, "worker", &["sh", "-c", &format!(": <> {node}")])
            .with_context(|| format!("the worker cannot open {node}"))?;
    }
    let [worker, sidecar] = ["worker", "sidecar"].map(|container| lines(bed, container, &["env"]));
    let (worker, sidecar) = (worker?, sidecar?);
    ensure!(worker == sidecar, "the worker's environment is {worker:?}, the sidecar's {sidecar:?}");
    Ok(())
}

fn device_nodes(bed: &Bed, container: &str) -> Result<BTreeSet<String>> {
    lines(bed, container, &["find", "/dev", "-type", "c", "-o", "-type", "b"])
}

fn lines(bed: &Bed, container: &str, command: &[&str]) -> Result<BTreeSet<String>> {
    Ok(exec(bed, container, command)?.lines().map(str::to_owned).collect())
}

fn exec(bed: &Bed, container: &str, command: &[&str]) -> Result<String> {
    output(bed.kubectl()?.args(["exec", POD, "--container", container, "--"]).args(command))
}

/// Returns the existing parts of a claim: the object, the driver's checkpoint, the CDI file.
fn held(bed: &Bed) -> Result<Vec<String>> {
    let claims = bed.get(&["resourceclaims"])?;
    let mut held = Vec::new();
    for claim in list(&claims["items"]) {
        held.push(format!("claim {}", text(&claim["metadata"]["uid"])?));
    }
    held.extend(files(&driver::checkpoints(bed))?.iter().map(|name| format!("checkpoint {name}")));
    held.extend(files(&bed.path(CDI)?)?.iter().map(|name| format!("CDI file {name}")));
    Ok(held)
}

fn attribute_text(attributes: &Value, name: &str) -> Result<String> {
    text(&attributes[name]["string"]).with_context(|| format!("attribute {name}"))
}

fn text(value: &Value) -> Result<String> {
    let text = value.as_str().filter(|text| !text.is_empty());
    Ok(text.with_context(|| format!("expected a text, and found {value}"))?.to_owned())
}

/// Returns the elements of an array; none for another value.
fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
