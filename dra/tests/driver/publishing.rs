//! The slice in the API server is kept as it should be, and left alone when it is.

use std::time::Duration;

use nearfab::Host;
use nearfab_dra::device::Inventory;
use nearfab_dra::slices::{Publisher, slice_spec};
use serde_json::json;
use tokio::time::Instant;

use crate::api_server::SLICES;
use crate::serving::claim;
use crate::{Bed, NODE, until};

const SLICE: &str = "/apis/resource.k8s.io/v1/resourceslices/nearfab.dev-node1";

/// A process of the driver that has just found the bed's devices.
fn publisher(bed: &Bed) -> Publisher {
    publisher_of(bed, &Inventory::discover(&bed.host).unwrap())
}

fn publisher_of(bed: &Bed, inventory: &Inventory) -> Publisher {
    Publisher::new(bed.api.client(), NODE.to_owned(), slice_spec(NODE, inventory).unwrap())
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
    // Devices of a table have no nodes, so there is nothing to hand out.
    let none = Inventory::of(&Host::from_instance("trn2.48xlarge").unwrap());
    publisher_of(&bed, &none).reconcile().await.unwrap();
    let slice = bed.api.get(SLICE).unwrap();
    assert_eq!(slice["spec"]["pool"]["generation"], 2);
    assert_eq!(slice["spec"].get("devices"), None);
    assert_eq!(bed.api.writes(), [format!("POST {SLICES}"), format!("PUT {SLICE}")]);
}

#[tokio::test]
async fn what_the_server_does_not_keep_is_not_written_again() {
    let bed = Bed::new();
    bed.api.forget("rdmaDevice");
    let mut publisher = publisher(&bed);
    publisher.reconcile().await.unwrap();
    publisher.reconcile().await.unwrap();
    assert_eq!(bed.api.writes(), [format!("POST {SLICES}")]);
}

#[tokio::test]
async fn slices_of_another_version_go_and_those_of_others_stay() {
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
async fn the_slice_of_a_node_that_was_created_anew_is_owned_by_it() {
    let bed = Bed::new();
    publisher(&bed).reconcile().await.unwrap();
    bed.api.put(&format!("/api/v1/nodes/{NODE}"), json!({"metadata": {"name": NODE, "uid": "node-uid-2"}}));
    publisher(&bed).reconcile().await.unwrap();
    let owners = bed.api.get(SLICE).unwrap()["metadata"]["ownerReferences"].clone();
    assert_eq!(owners.as_array().unwrap().len(), 1);
    assert_eq!(owners[0]["uid"], "node-uid-2");
}

#[tokio::test(start_paused = true)]
async fn a_slice_that_others_delete_or_change_comes_back() {
    let bed = Bed::new();
    let publishing = tokio::spawn(publisher(&bed).run());
    until("the slice", || bed.api.get(SLICE).is_some()).await;
    let first = bed.api.get(SLICE).unwrap();

    bed.api.delete(SLICE);
    until("the slice again", || bed.api.get(SLICE).is_some()).await;
    assert_eq!(bed.api.get(SLICE).unwrap()["spec"], first["spec"]);

    empty(&bed);
    until("the slice as it was", || is_whole(&bed)).await;
    publishing.abort();
}

#[tokio::test(start_paused = true)]
async fn with_someone_who_keeps_changing_the_slice_the_driver_takes_turns() {
    let bed = Bed::new();
    let publishing = tokio::spawn(publisher(&bed).run());
    let start = Instant::now();
    for _ in 0..10 {
        until("the slice", || bed.api.get(SLICE).is_some() && is_whole(&bed)).await;
        empty(&bed);
    }
    assert!(start.elapsed() >= 9 * Duration::from_secs(5), "10 writes in {:?}", start.elapsed());
    publishing.abort();
}

fn empty(bed: &Bed) {
    let mut changed = bed.api.get(SLICE).unwrap();
    changed["spec"]["devices"] = json!([]);
    bed.api.put(SLICE, changed);
}

fn is_whole(bed: &Bed) -> bool {
    bed.api.get(SLICE).unwrap()["spec"]["devices"].as_array().is_some_and(|devices| devices.len() == 32)
}

/// A pod on a device of a driver that its kubelet does not know yet would fail.
#[tokio::test]
async fn nothing_is_published_before_the_kubelet_knows_the_driver() {
    let bed = Bed::new();
    let driver = bed.start();
    let kubelet = bed.kubelet();
    until("the driver's socket", || kubelet.registration_socket().exists()).await;
    // A call that asks the API server for a claim: time enough for a hasty driver to ask it for slices.
    let claim = claim("absent", "uid-1");
    assert_ne!(kubelet.prepare(&claim).await.error, "");
    assert_eq!(bed.api.requests().iter().filter(|request| request.contains(SLICES)).count(), 0);
    kubelet.register().await;
    until("the slice", || bed.api.get(SLICE).is_some()).await;
    driver.stop().await;
}
