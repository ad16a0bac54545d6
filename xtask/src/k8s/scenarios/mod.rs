//! The tests on the bed. Each scenario applies the objects that it needs, and leaves no pod, claim or driver.

mod near_pair;
mod plain_pod;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::bed::{self, Bed};
use super::components;
use super::driver;
use crate::run::{catch_interrupts, output, say, until, workspace};

const LIMIT: Duration = Duration::from_secs(60);

type Scenario = fn(&Bed) -> Result<()>;

const SCENARIOS: [(&str, Scenario); 2] = [("plain-pod", plain_pod::run), ("near-pair", near_pair::run)];

/// Runs all scenarios on the running cluster, or on one that is started for them and stopped afterwards.
///
/// # Errors
/// If the cluster does not start or stop, or at the first scenario that fails.
pub(crate) fn test() -> Result<()> {
    if let Some(reason) = bed::impossible() {
        say(format_args!("SKIPPED k8s: {reason}"));
        return Ok(());
    }
    driver::build()?;
    let bed = Bed::of_checkout()?;
    if bed.is_up()? {
        catch_interrupts()?;
        return run(&bed);
    }
    bed.up()?;
    let outcome = run(&bed);
    match bed.down() {
        Ok(()) => outcome,
        Err(left) => match outcome {
            Ok(()) => Err(left),
            Err(error) => Err(left.context(format!("stopping the cluster after: {error:#}"))),
        },
    }
}

fn run(bed: &Bed) -> Result<()> {
    let mut passed = 0;
    for (name, scenario) in SCENARIOS {
        let start = Instant::now();
        if let Err(error) = scenario(bed) {
            bed.report();
            say(format_args!("k8s: {passed} passed"));
            return Err(error.context(format!("k8s {name}")));
        }
        say(format_args!("k8s {name} ... ok ({:.1} s)", start.elapsed().as_secs_f32()));
        passed += 1;
    }
    say(format_args!("k8s: {passed} passed"));
    Ok(())
}

/// Returns the path of an object that only a scenario applies.
fn manifest(name: &str) -> PathBuf {
    workspace().join("tests/cluster/manifests").join(name)
}

/// Returns the path of an object that users of the driver apply.
fn deployed(name: &str) -> PathBuf {
    workspace().join("deploy").join(name)
}

fn apply(bed: &Bed, manifest: &Path) -> Result<()> {
    output(bed.kubectl()?.args(["apply", "--filename"]).arg(manifest)).map(drop)
}

/// Deletes the existing objects of a manifest, and returns when they are gone.
fn delete(bed: &Bed, manifest: &Path) -> Result<()> {
    let mut kubectl = bed.kubectl()?;
    kubectl.args(["delete", "--ignore-not-found", "--timeout=60s", "--filename"]);
    output(kubectl.arg(manifest)).map(drop)
}

fn wait_until_ready(bed: &Bed, pod: &str) -> Result<()> {
    let ready = until(&format!("pod {pod} becoming ready"), LIMIT, || {
        let status = &bed.get(&["pod", pod])?["status"];
        let conditions = status["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
        Ok(match conditions.iter().any(is_ready) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(status.to_string()),
        })
    });
    ready.or_else(|error| {
        let events = output(bed.kubectl()?.args(["get", "events"]))?;
        Err(error.context(events))
    })
}

/// Returns when the node has no task, cgroup, network namespace or address of a pod.
fn wait_until_node_is_empty(bed: &Bed) -> Result<()> {
    until("the node releasing all pods", LIMIT, || {
        // Tasks are running containers. The kubelet keeps the names of ended containers for up to a minute.
        let tasks = output(&mut bed.inside(components::ctr().args(["tasks", "list", "--quiet"]))?)?;
        let mut left: Vec<String> = tasks.lines().map(|line| format!("task {line}")).collect();
        left.extend(bed.cgroup().pods()?.iter().map(|pod| format!("cgroup {}", pod.display())));
        left.extend(files(&bed.path("/run/netns")?)?.iter().map(|name| format!("network {name}")));
        // The folder has a file for each address, and these two files of the plugin.
        let addresses = files(&bed.path("/var/lib/cni/networks/bed")?)?;
        let addresses = addresses.iter().filter(|name| !["lock", "last_reserved_ip.0"].contains(&name.as_str()));
        left.extend(addresses.map(|name| format!("address {name}")));
        Ok(match left.is_empty() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(left.join(", ")),
        })
    })
}

/// Returns the names in a folder, sorted; none if the folder does not exist.
fn files(folder: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| folder.display().to_string())?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
