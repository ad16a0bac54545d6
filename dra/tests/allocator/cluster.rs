//! What is in the cluster beside the driver's devices: the classes, and the devices of the NVIDIA driver.

use std::collections::BTreeMap;

use k8s_openapi::api::resource::v1::{
    CELDeviceSelector, Device, DeviceAttribute, DeviceClass, DeviceSelector, ResourceSlice,
};
use nearfab::{Gpu, Host};
use nearfab_dra::model::classes;
use nearfab_dra::model::slices::Pool;

use crate::hosts::NODE;

/// Returns what an NVIDIA driver publishes of the GPUs of a host: claims for a GPU and the interface near it name both
/// drivers.
pub(crate) fn gpu_slices(host: &Host) -> Vec<ResourceSlice> {
    let text = |value: String| DeviceAttribute { string: Some(value), ..Default::default() };
    let mut gpus: Vec<_> = host.gpus().iter().collect();
    gpus.sort_by_key(|gpu| gpu.address());
    let device = |(number, gpu): (usize, &&Gpu)| Device {
        name: format!("gpu-{number}"),
        attributes: Some(BTreeMap::from([
            ("resource.kubernetes.io/pciBusID".to_owned(), text(gpu.address().to_string())),
            ("resource.kubernetes.io/pcieRoot".to_owned(), text(gpu.function.root.unwrap().to_string())),
        ])),
        ..Default::default()
    };
    let pool = Pool {
        driver: "gpu.nvidia.com",
        name: NODE.to_owned(),
        node: NODE.to_owned(),
        counters: Vec::new(),
        devices: gpus.iter().enumerate().map(device).collect(),
    };
    if pool.devices.is_empty() { Vec::new() } else { pool.slices() }
}

/// Returns every device class: of the driver, of AWS's documentation, and of the NVIDIA driver.
pub(crate) fn all_classes() -> Vec<DeviceClass> {
    let mut gpu = classes::aws().remove(0);
    gpu.metadata.name = Some("gpu.nvidia.com".to_owned());
    let expression = "device.driver == \"gpu.nvidia.com\"".to_owned();
    gpu.spec.as_mut().unwrap().selectors = Some(vec![DeviceSelector { cel: Some(CELDeviceSelector { expression }) }]);
    [classes::own(), classes::extended_resources(), classes::aws(), vec![gpu]].concat()
}
