//! The check of device plugins and drivers of dynamic resource allocation (DRA) on one node.

use crate::system::Kubelet;

use super::finding::{Check, Finding, FindingKind};
use super::input::{Input, Skip};

const BOTH: FindingKind = FindingKind {
    id: "device-plugin-beside-dra",
    means: "A device plugin and a DRA driver both allocate the same devices, and neither sees the allocations of the other. \
            Two pods can get one device, and no error is reported. The socket of a plugin that was removed may be left over.",
    action: "Keep one of the two on each node: remove the node label or the DaemonSet selector that starts the other.",
    source: "AWS, EKS guide: the Neuron DRA driver cannot be on a node with the Neuron device plugin.",
};
const SEVERAL_DRIVERS: FindingKind = FindingKind {
    id: "dra-drivers-several",
    means: "Two DRA drivers allocate the same devices, and neither sees the allocations of the other. Two claims can get one \
            device, and no error is reported.",
    action: "Keep one of the drivers on each node.",
    source: "Kubernetes, dynamic resource allocation: a device belongs to the driver that publishes it.",
};

pub(super) const CHECK: Check =
    Check { name: "device plugins and DRA drivers", kinds: || vec![BOTH, SEVERAL_DRIVERS], run };

/// A kind of device, and the names of the plugins and drivers that allocate it.
struct Kind {
    name: &'static str,
    /// The start of the resource names of device plugins.
    resource: &'static str,
    /// A part of the socket names of device plugins.
    socket: &'static str,
    drivers: [&'static str; 2],
}

const KINDS: [Kind; 2] = [
    Kind {
        name: "Neuron devices",
        resource: "aws.amazon.com/neuron",
        socket: "neuron",
        drivers: ["neuron.aws.com", "nearfab.dev"],
    },
    Kind {
        name: "EFA interfaces",
        resource: "vpc.amazonaws.com/efa",
        socket: "efa",
        drivers: ["dra.net", "nearfab.dev"],
    },
];

fn run(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let kubelet = input.kubelet()?;
    let mut found = Vec::new();
    for kind in &KINDS {
        let plugins = plugins(kubelet, kind);
        let drivers = drivers(kubelet, kind);
        let subject = || vec![kind.name.to_owned()];
        if !plugins.is_empty() && !drivers.is_empty() {
            let seen = format!("device plugin: {}; DRA driver: {}", plugins.join(", "), drivers.join(", "));
            found.push(BOTH.problem(subject(), seen));
        }
        if drivers.len() > 1 {
            found.push(SEVERAL_DRIVERS.problem(subject(), format!("DRA drivers: {}", drivers.join(", "))));
        }
    }
    Ok(found)
}

/// Returns the device plugins: from the kubelet's checkpoint if it could be read, otherwise from the sockets.
fn plugins(kubelet: &Kubelet, kind: &Kind) -> Vec<String> {
    match &kubelet.resources {
        Some(resources) => resources.iter().filter(|name| name.starts_with(kind.resource)).cloned().collect(),
        None => kubelet.device_plugins.iter().filter(|name| name.contains(kind.socket)).cloned().collect(),
    }
}

/// Returns the registered drivers. A folder in `plugins` proves nothing: the folder stays when a driver is removed.
fn drivers(kubelet: &Kubelet, kind: &Kind) -> Vec<&'static str> {
    let registered = |driver: &&str| {
        kubelet.registered.iter().any(|socket| {
            socket.strip_prefix(driver).is_some_and(|rest| rest.starts_with('-') || rest.starts_with(".sock"))
        })
    };
    kind.drivers.into_iter().filter(|driver| registered(driver)).collect()
}
