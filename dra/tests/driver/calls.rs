//! Calls that meet or are given up. No socket is between the tests and the plugin, and time stands still: it goes on only
//! when nothing else can.

use std::sync::Arc;
use std::time::Duration;

use nearfab_dra::cdi::CdiDir;
use nearfab_dra::instance::Instance;
use nearfab_dra::plugin::Plugin;
use nearfab_dra::prepare::Preparer;
use nearfab_dra::proto::dra::dra_plugin_server::DraPlugin as _;
use nearfab_dra::proto::dra::{Claim, NodePrepareResourcesRequest, NodeUnprepareResourcesRequest};
use nearfab_dra::record::Records;
use tokio::time::Instant;
use tonic::Request;

use crate::serving::{allocate, claim};
use crate::{Bed, NODE, names};

async fn plugin(bed: &Bed) -> (Arc<Preparer>, Arc<Plugin>) {
    let config = bed.config();
    let instance = Instance::only(&config.kubelet_dir).await.unwrap();
    let records = Records::open(&config.state_dir, config.boot_id).unwrap();
    let cdi = CdiDir::open(&config.cdi_dir, &config.runtime_root).unwrap();
    let preparer = Arc::new(Preparer::new(NODE.to_owned(), config.root, records, cdi, instance));
    let plugin = Plugin::new(bed.api.client(), NODE.to_owned(), Arc::clone(&preparer));
    (preparer, Arc::new(plugin))
}

fn prepare(claims: &[Claim]) -> Request<NodePrepareResourcesRequest> {
    Request::new(NodePrepareResourcesRequest { claims: claims.to_vec() })
}

fn unprepare(claims: &[Claim]) -> Request<NodeUnprepareResourcesRequest> {
    Request::new(NodeUnprepareResourcesRequest { claims: claims.to_vec() })
}

/// Returns when all that is under way waits for something.
async fn settled() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_kubelet_wants_last_is_done_last() {
    let bed = Bed::new();
    let (preparer, plugin) = plugin(&bed).await;
    let claims = [claim("short", "u-1")];
    allocate(&bed, &claims[0], &[("chip", "neuron-1")]);
    let disk_is_slow = preparer.turn().await;
    let first = tokio::spawn({
        let (plugin, request) = (Arc::clone(&plugin), prepare(&claims));
        async move { plugin.node_prepare_resources(request).await }
    });
    settled().await;
    let last = tokio::spawn(async move { plugin.node_unprepare_resources(unprepare(&claims)).await });
    settled().await;
    drop(disk_is_slow);
    assert_eq!(first.await.unwrap().unwrap().into_inner().claims["u-1"].error, "");
    assert_eq!(last.await.unwrap().unwrap().into_inner().claims["u-1"].error, "");
    assert!(names(&bed.path("claims")).is_empty());
    assert!(names(&bed.path("cdi")).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_given_up_while_it_waited_changes_nothing() {
    let bed = Bed::new();
    let (preparer, plugin) = plugin(&bed).await;
    let claims = [claim("late", "u-1")];
    allocate(&bed, &claims[0], &[("chip", "neuron-1")]);
    let disk_is_slow = preparer.turn().await;
    let call = tokio::spawn(async move { plugin.node_prepare_resources(prepare(&claims)).await.map(drop) });
    settled().await;
    assert!(bed.api.requests().iter().any(|request| request.ends_with("/resourceclaims/late")));
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    drop(disk_is_slow);
    let _all_that_came_before_is_done = preparer.turn().await;
    assert!(names(&bed.path("claims")).is_empty());
}

/// The kubelet gives up after 45 s, and then nobody reads the reason.
#[tokio::test(start_paused = true)]
async fn a_silent_api_server_does_not_cost_each_claim_anew() {
    let bed = Bed::new();
    let (_preparer, plugin) = plugin(&bed).await;
    let claims = ["u-1", "u-2", "u-3"].map(|uid| claim(&format!("c-{uid}"), uid));
    let _silence = bed.api.hold().await;
    let start = Instant::now();
    let answer = plugin.node_prepare_resources(prepare(&claims)).await.unwrap().into_inner();
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    for claim in &claims {
        let error = &answer.claims[&claim.uid].error;
        assert!(error.starts_with(&format!("cannot get claim default/{}", claim.name)), "{error}");
        assert!(error.ends_with("no answer from the API server within 30 s"), "{error}");
    }
}
