//! The devices under the names of AWS's drivers, and the group ids that AWS's drivers publish.

use k8s_openapi::api::resource::v1::Device;
use nearfab::HostDevice;
use nearfab::instances::InstanceTable;

use crate::hosts::{Mode, host};
use crate::{attribute, device, names, text};

/// Facts that DRANET published on a p4d.24xlarge on EKS: kubernetes-sigs/dranet, commit f258477,
/// examples/aws_eks_examples/gpu-efa.
const DRANET: [(&str, &str, i64, &str); 4] = [
    ("pci-0000-10-1b-0", "rdmap16s27", 0, "pci0000:10"),
    ("pci-0000-20-1b-0", "rdmap32s27", 0, "pci0000:20"),
    ("pci-0000-90-1b-0", "rdmap144s27", 1, "pci0000:90"),
    ("pci-0000-a0-1b-0", "rdmap160s27", 1, "pci0000:a0"),
];

#[test]
fn interfaces_are_as_dranet_publishes_them() {
    let model = Mode::Aws.model(&host("p4d.24xlarge"));
    assert_eq!(names(&model), DRANET.map(|(name, ..)| name));
    for (name, rdma, numa, root) in DRANET {
        let device = device(&model, name);
        let published: Vec<_> = device.attributes.as_ref().unwrap().keys().map(String::as_str).collect();
        // DRANET of that date did not yet publish the NUMA node under the name that Kubernetes defines.
        let expected = [
            "numaNode",
            "pciAddress",
            "pciDevice",
            "pciSubsystem",
            "pciVendor",
            "rdma",
            "rdmaDevice",
            "resource.kubernetes.io/numaNode",
            "resource.kubernetes.io/pcieRoot",
        ];
        assert_eq!(published, expected);
        assert_eq!(text(device, "rdmaDevice"), rdma);
        assert_eq!(attribute(device, "numaNode").unwrap().int, Some(numa));
        assert_eq!(attribute(device, "rdma").unwrap().bool, Some(true));
        assert_eq!(text(device, "resource.kubernetes.io/pcieRoot"), root);
        assert_eq!(text(device, "pciSubsystem"), "efa0");
    }
}

#[test]
fn neuron_devices_are_as_awss_driver_publishes_them() {
    let model = Mode::Aws.model(&host("trn2.48xlarge"));
    let neuron = device(&model, "neuron-device-6");
    assert_eq!(attribute(neuron, "deviceId").unwrap().int, Some(6));
    assert_eq!(text(neuron, "resourceType"), "neuron_device");
    assert_eq!(text(neuron, "instanceType"), "trn2.48xlarge");
    assert_eq!(text(neuron, "neuronDriverVersion").split('.').count(), 4);
    for (name, value) in [("topology_x", 1), ("topology_y", 2), ("topology4_id", 1), ("topology8_id", 0)] {
        assert_eq!(attribute(neuron, name).unwrap().int, Some(value), "{name}");
    }
    assert_eq!(attribute(neuron, "devicegroup2_id"), None, "AWS has no groups of two");
}

/// Compares the group ids with the ids that AWS's drivers publish. AWS's own program computed the expected ids.
#[test]
fn group_ids_equal_those_of_aws() {
    let trn1 = [
        (4, &["88a3c6ad1661fe1d", "69b2225fd72a59dd", "e3c29faa0cd11323", "178a9e264a26793e"][..]),
        (8, &["86c451036f622685", "aa86c05423d6e8cd"]),
        (16, &["fb838249c99a6341"]),
    ];
    let trn2 = [
        (4, &["13713e551cd37c19", "671622785349fddf", "237e3ef7b968b4d3", "b3d6ce1919d29f8f"][..]),
        (8, &["3593812b8066a078", "614e16dab9ba2f1f"]),
        (16, &["821d14afaf11327d"]),
    ];
    for (instance_type, groups) in [("trn1.32xlarge", trn1), ("trn2.48xlarge", trn2)] {
        let table = InstanceTable::find(instance_type).unwrap();
        let host = host(instance_type);
        for mode in [Mode::Flat, Mode::Aws] {
            for device in mode.model(&host).pools.iter().flat_map(|pool| &pool.devices) {
                let index = index(table, device);
                let efa = table.neuron(HostDevice(index)).unwrap().efa.unwrap();
                assert_eq!(text(device, "resource.aws.com/devicegroup1_id"), efa.to_string(), "{}", device.name);
                for (size, ids) in groups {
                    let id = text(device, &format!("resource.aws.com/devicegroup{size}_id"));
                    assert_eq!(id, ids[index as usize / size], "{}, group of {size}", device.name);
                }
            }
        }
    }
}

/// Returns the number of a Neuron device, or of the first Neuron device that is paired with an interface.
fn index(table: &InstanceTable, device: &Device) -> u32 {
    let number = attribute(device, "index").or_else(|| attribute(device, "deviceId"));
    if let Some(number) = number.and_then(|number| number.int) {
        return u32::try_from(number).unwrap();
    }
    let address = attribute(device, "pciAddress").or_else(|| attribute(device, "resource.kubernetes.io/pciBusID"));
    let address = address.unwrap().string.clone();
    table.neuron.iter().find(|row| row.efa.map(|efa| efa.to_string()) == address).unwrap().index.0
}
