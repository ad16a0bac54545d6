//! Device plugins and drivers of dynamic resource allocation on one node.

use nearfab::system::Kubelet;

use super::case::{Case, Skip};
use super::finding::{Check, Complaint, Finding};

const BOTH: Complaint = Complaint {
    id: "device-plugin-beside-dra",
    means: "A device plugin and a DRA driver both give out the same devices, and neither knows of the other: two pods get one device \
            without a word. Sockets of a plugin that is gone may be left over.",
    action: "Keep one on each node: take the node label or the DaemonSet's selector that brings the other.",
    source: "AWS, EKS guide: the Neuron DRA driver cannot be on a node with the Neuron device plugin.",
};
const SEVERAL_DRIVERS: Complaint = Complaint {
    id: "dra-drivers-several",
    means: "Two DRA drivers give out the same devices, and neither knows of the other: two claims get one device without a word.",
    action: "Keep one on each node.",
    source: "Kubernetes, dynamic resource allocation: a device is of the driver that publishes it.",
};

pub(super) const CHECK: Check =
    Check { name: "device plugins and DRA drivers", complaints: || vec![BOTH, SEVERAL_DRIVERS], run };

/// A kind of device, and who gives it out under which name.
struct Kind {
    name: &'static str,
    /// How the resources of device plugins begin.
    resource: &'static str,
    /// A part of the file names of the plugins' sockets.
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

fn run(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    let kubelet = case.kubelet()?;
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

/// By the kubelet's checkpoint where it may be read, else by sockets.
fn plugins(kubelet: &Kubelet, kind: &Kind) -> Vec<String> {
    match &kubelet.resources {
        Some(resources) => resources.iter().filter(|name| name.starts_with(kind.resource)).cloned().collect(),
        None => kubelet.device_plugins.iter().filter(|name| name.contains(kind.socket)).cloned().collect(),
    }
}

/// The registered drivers; a folder in `plugins` stays when a driver goes.
fn drivers(kubelet: &Kubelet, kind: &Kind) -> Vec<&'static str> {
    let registered = |driver: &&str| {
        kubelet.registered.iter().any(|socket| {
            socket.strip_prefix(driver).is_some_and(|rest| rest.starts_with('-') || rest.starts_with(".sock"))
        })
    };
    kind.drivers.into_iter().filter(|driver| registered(driver)).collect()
}
