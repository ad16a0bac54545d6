//! What is tested on the bed: each scenario brings what it needs, and leaves no pod, claim or driver.

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

/// Runs all scenarios, on the bed that is up or on one that is brought up for them and taken down after.
///
/// # Errors
/// When the bed does not come up or go down, or at the first scenario that fails.
pub(crate) fn test() -> Result<()> {
    if let Some(reason) = bed::impossible() {
        say(format_args!("SKIPPED k8s: {reason}"));
        return Ok(());
    }
    driver::build()?;
    let bed = Bed::here()?;
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
            Err(error) => Err(left.context(format!("taking the cluster down after: {error:#}"))),
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

/// An object of a scenario's own.
fn manifest(name: &str) -> PathBuf {
    workspace().join("tests/cluster/manifests").join(name)
}

/// An object that users of the driver apply.
fn deployed(name: &str) -> PathBuf {
    workspace().join("deploy").join(name)
}

fn apply(bed: &Bed, manifest: &Path) -> Result<()> {
    output(bed.kubectl()?.args(["apply", "--filename"]).arg(manifest)).map(drop)
}

/// Deletes what there is of a manifest, and returns when it is gone.
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

/// Returns when the node holds nothing of any pod any more.
fn wait_until_node_is_empty(bed: &Bed) -> Result<()> {
    until("the node letting go of all pods", LIMIT, || {
        // Tasks are what runs; the kubelet keeps the names of what ran for up to a minute longer.
        let tasks = output(&mut bed.inside(components::ctr().args(["tasks", "list", "--quiet"]))?)?;
        let mut left: Vec<String> = tasks.lines().map(|line| format!("task {line}")).collect();
        left.extend(bed.cgroup().pods()?.iter().map(|pod| format!("cgroup {}", pod.display())));
        left.extend(files(&bed.path("/run/netns")?)?.iter().map(|name| format!("network {name}")));
        // Beside the addresses it gave, its own two files.
        let addresses = files(&bed.path("/var/lib/cni/networks/bed")?)?;
        let addresses = addresses.iter().filter(|name| !["lock", "last_reserved_ip.0"].contains(&name.as_str()));
        left.extend(addresses.map(|name| format!("address {name}")));
        Ok(match left.is_empty() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(left.join(", ")),
        })
    })
}

/// The names in a folder, sorted; of one that does not exist, none.
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
