//! Tests of the device model: what the driver publishes of a host.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod aws;
mod classes;
mod configuration;
mod defects;
mod golden;
#[path = "../hosts/mod.rs"]
mod hosts;
mod keeping;
mod limits;
mod names;
mod servers;

use k8s_openapi::api::resource::v1::{Device, DeviceAttribute};
use nearfab_dra::model::Model;

/// Returns a device of a model.
fn device<'a>(model: &'a Model, name: &str) -> &'a Device {
    let mut devices = model.pools.iter().flat_map(|pool| &pool.devices);
    devices.find(|device| device.name == name).unwrap_or_else(|| panic!("{name} is not published"))
}

/// Returns the names of the devices of a model.
fn names(model: &Model) -> Vec<&str> {
    model.pools.iter().flat_map(|pool| &pool.devices).map(|device| device.name.as_str()).collect()
}

/// Returns an attribute of a device.
fn attribute<'a>(device: &'a Device, name: &str) -> Option<&'a DeviceAttribute> {
    device.attributes.as_ref().unwrap().get(name)
}

/// Returns an attribute of a device that is a text.
fn text<'a>(device: &'a Device, name: &str) -> &'a str {
    let value = attribute(device, name).unwrap_or_else(|| panic!("{} has no {name}", device.name));
    value.string.as_deref().unwrap_or_else(|| panic!("{name} of {} is {value:?}", device.name))
}
