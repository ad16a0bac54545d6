//! The device classes: the files of `deploy/` as objects. A test compares both.

use k8s_openapi::api::resource::v1::{CELDeviceSelector, DeviceClass, DeviceClassSpec, DeviceSelector};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::aws::{EFA, NEURON};
use super::unit::Kind;
use crate::DRIVER;

/// Returns the class of each kind of device: `neuron.nearfab.dev` and so on.
#[must_use]
pub fn own() -> Vec<DeviceClass> {
    Kind::ALL.iter().map(|kind| class(&format!("{}.{DRIVER}", kind.name()), selector(*kind), None)).collect()
}

/// Returns the classes for pods that ask for extended resources of AWS's device plugins. These classes stand apart from
/// the others: a cluster whose device plugins still run must not have them.
#[must_use]
pub fn extended_resources() -> Vec<DeviceClass> {
    let resources = [
        ("aws-neuron", Kind::Neuron, "aws.amazon.com/neuron"),
        ("aws-neuroncore", Kind::Core, "aws.amazon.com/neuroncore"),
        ("aws-efa", Kind::Efa, "vpc.amazonaws.com/efa"),
    ];
    let class = |(name, kind, resource): (&str, Kind, &str)| {
        class(&format!("{name}.{DRIVER}"), selector(kind), Some(resource.to_owned()))
    };
    resources.map(class).to_vec()
}

/// Returns the classes that AWS's documentation names, with AWS's selectors.
#[must_use]
pub fn aws() -> Vec<DeviceClass> {
    let efa = format!(
        "device.driver == \"{EFA}\" && device.attributes[\"{EFA}\"].pciDevice == \"Elastic Fabric Adapter (EFA)\""
    );
    vec![class(NEURON, format!("device.driver == \"{NEURON}\""), None), class("efa.networking.k8s.aws", efa, None)]
}

fn selector(kind: Kind) -> String {
    format!("device.driver == \"{DRIVER}\" && device.attributes[\"{DRIVER}\"].type == \"{}\"", kind.name())
}

fn class(name: &str, expression: String, extended_resource_name: Option<String>) -> DeviceClass {
    let selector = DeviceSelector { cel: Some(CELDeviceSelector { expression }) };
    DeviceClass {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
        spec: Some(DeviceClassSpec { selectors: Some(vec![selector]), extended_resource_name, config: None }),
    }
}
