//! Tests that the driver restores a changed slice in the API server, and writes nothing to an unchanged slice.

use std::time::Duration;

use nearfab::Host;
use nearfab_dra::device::Inventory;
use nearfab_dra::model::Model;
use nearfab_dra::model::options::{Options, ServerVersion};
use nearfab_dra::slices::{Publisher, only_slice};
use serde_json::json;
use tokio::time::Instant;

use crate::api_server::SLICES;
use crate::serving::claim;
use crate::{Bed, NODE, until};

const SLICE: &str = "/apis/resource.k8s.io/v1/resourceslices/nearfab.dev-node1-00";

/// Returns the publisher of a driver that has just discovered the bed's devices.
fn publisher(bed: &Bed) -> Publisher {
    publisher_of(bed, &Inventory::discover(&bed.host).unwrap())
}

fn publisher_of(bed: &Bed, inventory: &Inventory) -> Publisher {
    let model = Model::new(&inventory.host, NODE, Options::default(), ServerVersion::OVERLAPPING);
    Publisher::new(bed.api.client(), NODE.to_owned(), only_slice(&model).unwrap())
}

#[tokio::test]
async fn the_slice_is_owned_by_the_node() {
    let bed = Bed::new();
    publisher(&bed).reconcile().await.unwrap();
    let slice = bed.api.get(SLICE).unwrap();
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": "node-uid", "controller": true}]);
    assert_eq!(slice["metadata"]["ownerReferences"], owner);
    assert_eq!(slice["spec"]["nodeName"], NODE);
    assert_eq!(slice["spec"]["devices"].as_array().unwrap().len(), 32);
}

#[tokio::test]
async fn nothing_is_written_when_nothing_changed() {
    let bed = Bed::new();
    publisher(&bed).reconcile().await.unwrap();
    publisher(&bed).reconcile().await.unwrap();
    assert_eq!(bed.api.writes(), [format!("POST {SLICES}")]);
}

#[tokio::test]
async fn a_change_raises_the_generation() {
    let bed = Bed::new();
    publisher(&bed).reconcile().await.unwrap();
    // Devices from a table have no nodes, so the driver publishes none.
    let none = Inventory { host: Host::from_instance("trn2.48xlarge").unwrap() };
    publisher_of(&bed, &none).reconcile().await.unwrap();
    let slice = bed.api.get(SLICE).unwrap();
    assert_eq!(slice["spec"]["pool"]["generation"], 2);
    assert_eq!(slice["spec"].get("devices"), None);
    assert_eq!(bed.api.writes(), [format!("POST {SLICES}"), format!("PUT {SLICE}")]);
}

#[tokio::test]
async fn an_attribute_that_the_server_drops_is_not_written_again() {
    let bed = Bed::new();
    bed.api.drop_attribute("rdmaDevice");
    let mut publisher = publisher(&bed);
    publisher.reconcile().await.unwrap();
    publisher.reconcile().await.unwrap();
    assert_eq!(bed.api.writes(), [format!("POST {SLICES}")]);
}

#[tokio::test]
async fn slices_of_another_driver_version_are_deleted_and_foreign_slices_stay() {
    let bed = Bed::new();
    let slice = |driver: &str, node: &str| {
        json!({
            "metadata": {"name": "old"},
            "spec": {
                "driver": driver, "nodeName": node,
                "pool": {"name": node, "generation": 7, "resourceSliceCount": 1},
            },
        })
    };
    bed.api.put(&format!("{SLICES}/old"), slice("nearfab.dev", NODE));
    bed.api.put(&format!("{SLICES}/other-driver"), slice("example.com", NODE));
    bed.api.put(&format!("{SLICES}/other-node"), slice("nearfab.dev", "node2"));
    publisher(&bed).reconcile().await.unwrap();
    assert_eq!(bed.api.writes(), [format!("DELETE {SLICES}/old"), format!("POST {SLICES}")]);
}

#[tokio::test]
async fn a_recreated_node_becomes_the_owner_of_the_slice() {
    let bed = Bed::new();
    publisher(&bed).reconcile().await.unwrap();
    bed.api.put(&format!("/api/v1/nodes/{NODE}"), json!({"metadata": {"name": NODE, "uid": "node-uid-2"}}));
    publisher(&bed).reconcile().await.unwrap();
    let owners = bed.api.get(SLICE).unwrap()["metadata"]["ownerReferences"].clone();
    assert_eq!(owners.as_array().unwrap().len(), 1);
    assert_eq!(owners[0]["uid"], "node-uid-2");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_or_changed_slice_is_restored() {
    let bed = Bed::new();
    let publishing = tokio::spawn(publisher(&bed).run());
    until("the slice", || bed.api.get(SLICE).is_some()).await;
    let first = bed.api.get(SLICE).unwrap();

    bed.api.delete(SLICE);
    until("the slice again", || bed.api.get(SLICE).is_some()).await;
    assert_eq!(bed.api.get(SLICE).unwrap()["spec"], first["spec"]);

    remove_devices(&bed);
    until("the slice with all devices", || has_all_devices(&bed)).await;
    publishing.abort();
}

#[tokio::test(start_paused = true)]
async fn repeated_changes_to_the_slice_are_repaired_at_most_every_five_seconds() {
    let bed = Bed::new();
    let publishing = tokio::spawn(publisher(&bed).run());
    let start = Instant::now();
    for _ in 0..10 {
        until("the slice", || bed.api.get(SLICE).is_some() && has_all_devices(&bed)).await;
        remove_devices(&bed);
    }
    assert!(start.elapsed() >= 9 * Duration::from_secs(5), "10 writes in {:?}", start.elapsed());
    publishing.abort();
}

fn remove_devices(bed: &Bed) {
    let mut changed = bed.api.get(SLICE).unwrap();
    changed["spec"]["devices"] = json!([]);
    bed.api.put(SLICE, changed);
}

fn has_all_devices(bed: &Bed) -> bool {
    bed.api.get(SLICE).unwrap()["spec"]["devices"].as_array().is_some_and(|devices| devices.len() == 32)
}

/// A pod with a device of a driver that the kubelet has not registered would fail.
#[tokio::test]
async fn nothing_is_published_before_the_kubelet_registered_the_driver() {
    let bed = Bed::new();
    let driver = bed.start();
    let kubelet = bed.kubelet();
    until("the driver's socket", || kubelet.registration_socket().exists()).await;
    // This call reads a claim from the API server. A driver that did not wait would list slices before this call
    // returns.
    let claim = claim("absent", "uid-1");
    assert_ne!(kubelet.prepare(&claim).await.error, "");
    assert_eq!(bed.api.requests().iter().filter(|request| request.contains(SLICES)).count(), 0);
    kubelet.register().await;
    until("the slice", || bed.api.get(SLICE).is_some()).await;
    driver.stop().await;
}
