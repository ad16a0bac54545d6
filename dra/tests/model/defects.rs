//! Hosts with defects and with fewer interfaces: what is published, what is not, and what each device always has.

use k8s_openapi::api::resource::v1::Device;
use nearfab::Host;
use nearfab::instances::tables;
use nearfab_dra::model::Model;
use nearfab_dra::model::options::{Options, Published, ServerVersion};
use nearfab_emu::Defect;

use crate::hosts::{Mode, NODE, WITHOUT_TABLE, host, host_with};
use crate::{attribute, device, names, text};

/// The attributes that each device of a type has, on every host.
const ALWAYS: [(&str, &[&str]); 10] = [
    ("neuron", &["index", "cores"]),
    ("neuron-half", &["index", "cores"]),
    ("neuron-core", &["index", "cores", "lnc"]),
    ("group2", &["index", "neurons", "efas", "cores"]),
    ("group4", &["index", "neurons", "efas", "cores"]),
    ("group8", &["index", "neurons", "efas", "cores"]),
    ("group16", &["index", "neurons", "efas", "cores"]),
    ("node", &["neurons", "efas", "cores"]),
    ("efa", &["generation", "resource.kubernetes.io/pciBusID"]),
    ("efa-set", &["efas"]),
];

fn defects(of: &str) -> Vec<Defect> {
    let defects = match of {
        "trn2.48xlarge" => {
            "no-numa neuron-node-missing=3 efa-vfio=0000:c9:00.0 neuron-reset-failed=2 efa-attached=5 \
                            neuron-attributes-gone=4 neuron-function-gone=5 no-product unknown-product"
        }
        "p5.48xlarge" => "no-numa efa-attached=7 efa-without-rdma=0000:4f:00.0",
        _ => "no-numa",
    };
    defects.split(' ').map(|defect| defect.parse().unwrap()).collect()
}

#[test]
fn each_device_has_what_its_type_always_has() {
    let check = |host: &Host, what: &str| {
        for mode in Mode::ALL.into_iter().filter(|mode| *mode != Mode::Aws) {
            for device in mode.model(host).pools.iter().flat_map(|pool| &pool.devices) {
                let (_, always) = ALWAYS.iter().find(|(kind, _)| *kind == text(device, "type")).unwrap();
                for name in *always {
                    assert!(
                        attribute(device, name).is_some(),
                        "{what}, {}: {} has no {name}",
                        mode.name(),
                        device.name
                    );
                }
            }
        }
    };
    for instance_type in tables().iter().map(|table| table.instance_type).chain([WITHOUT_TABLE]) {
        check(&host(instance_type), instance_type);
    }
    for instance_type in ["trn2.48xlarge", "p5.48xlarge", "trn1.32xlarge", WITHOUT_TABLE] {
        for defect in defects(instance_type) {
            check(&host_with(instance_type, std::slice::from_ref(&defect)), &format!("{instance_type} {defect:?}"));
        }
    }
}

#[test]
fn a_device_without_a_node_is_not_published_and_breaks_its_groups() {
    let defects = ["neuron-node-missing=6", "verbs-node-missing=0"].map(|defect| defect.parse().unwrap());
    let host = host_with("trn2.48xlarge", &defects);
    let broken = host.efa_interfaces().iter().find(|efa| efa.uverbs == Some(0)).unwrap().address();
    let model = Mode::Partitions.model(&host);
    let names = names(&model);
    let efa = format!("efa-{}", broken.to_string().replace([':', '.'], "-"));
    for gone in ["neuron-6", "neuron-6-half-0", "neuron-6-lnc2-core-0", "group2-3", "group4-1", "group16-0", &efa] {
        assert!(!names.contains(&gone), "{gone} is published");
    }
    assert!(names.contains(&"group2-0") && names.contains(&"neuron-7"));
    let node = device(&model, "node");
    assert_eq!((attribute(node, "neurons").unwrap().int, attribute(node, "efas").unwrap().int), (Some(15), Some(15)));
    let expected = [
        "neuron-6 is not published: /dev/neuron6 is missing".to_owned(),
        format!("{efa} is not published: /dev/infiniband/uverbs0 is missing"),
    ];
    assert_eq!(model.problems, expected);
}

#[test]
fn a_device_without_its_driver_is_named_with_the_remedy() {
    let problems = |defect: &str| Mode::Flat.model(&host_with("trn2.48xlarge", &[defect.parse().unwrap()])).problems;
    let neuron = problems("neuron-driver-unbound");
    assert_eq!(
        neuron.iter().filter(|problem| problem.ends_with("load the neuron kernel module")).count(),
        16,
        "{neuron:?}"
    );
    let efa = problems("efa-vfio=0000:c9:00.0");
    let reason = "it has no verbs node; check that the efa driver is bound to it and that ib_uverbs is loaded";
    assert_eq!(efa, [format!("efa-0000-c9-00-0 is not published: {reason}")]);
}

#[test]
fn a_group_counts_the_interfaces_that_are_attached() {
    let host = host_with("trn2.48xlarge", &[Defect::EfaAttached(8)]);
    let model = Mode::Partitions.model(&host);
    let efas = |name: &str| attribute(device(&model, name), "efas").unwrap().int.unwrap();
    assert_eq!(efas("group16-0"), 8);
    assert_eq!((0..4).map(|number| efas(&format!("group4-{number}"))).sum::<i64>(), 8);
}

#[test]
fn a_set_has_the_interfaces_of_one_accelerator() {
    for (instance_type, sets, efas) in
        [("p5.48xlarge", 8, 4), ("p5en.48xlarge", 8, 2), ("p6-b200.48xlarge", 8, 1), ("trn1.32xlarge", 8, 1)]
    {
        let model = Mode::EfaSets.model(&host(instance_type));
        let devices = model.pools.iter().flat_map(|pool| &pool.devices);
        let published: Vec<&Device> = devices.filter(|device| text(device, "type") == "efa-set").collect();
        assert_eq!(published.len(), sets, "{instance_type}");
        for set in published {
            assert_eq!(attribute(set, "efas").unwrap().int, Some(efas), "{instance_type}: {}", set.name);
            assert!(attribute(set, "resource.kubernetes.io/pcieRoot").is_some(), "{}: a GPU's root finds it", set.name);
        }
    }
}

#[test]
fn either_hardware_can_be_left_to_another_driver() {
    let host = host("trn2.48xlarge");
    for mode in [Mode::Flat, Mode::Partitions, Mode::Aws] {
        let model = |hardware| {
            let options = Options { hardware, ..mode.options() };
            Model::new(&host, NODE, options, ServerVersion::OVERLAPPING)
        };
        let is_efa = |name: &str| name.starts_with("efa-") || name.starts_with("pci-");
        let [neuron, efa] = [model(Published::Neuron), model(Published::Efa)];
        assert!(!names(&neuron).is_empty() && !names(&neuron).into_iter().any(is_efa));
        let others: Vec<_> = names(&efa).into_iter().filter(|name| !is_efa(name)).collect();
        assert_eq!(others, if mode == Mode::Partitions { vec!["node"] } else { vec![] });
        if mode == Mode::Partitions {
            assert_eq!(attribute(device(&neuron, "group4-0"), "efas").unwrap().int, Some(0));
        }
    }
}

#[test]
fn a_host_without_devices_has_an_empty_slice() {
    let slices: Vec<_> = Mode::Flat.model(&host("m7i.large")).pools.iter().flat_map(|pool| pool.slices()).collect();
    let expected = serde_json::json!([{
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": "nearfab.dev-node1-00"},
        "spec": {
            "driver": "nearfab.dev",
            "nodeName": "node1",
            "pool": {"name": "nearfab.dev/node1", "generation": 1, "resourceSliceCount": 1},
        },
    }]);
    assert_eq!(serde_json::to_value(slices).unwrap(), expected);
}
