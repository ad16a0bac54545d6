//! Calls that run at the same time or are cancelled. The tests call the plugin without a socket. The clock of these
//! tests is paused: the clock advances only when every task waits.

use std::sync::Arc;
use std::time::Duration;

use nearfab_dra::cdi::CdiDir;
use nearfab_dra::checkpoint::Checkpoints;
use nearfab_dra::instance::InstanceLock;
use nearfab_dra::plugin::Plugin;
use nearfab_dra::prepare::Preparer;
use nearfab_dra::proto::dra::dra_plugin_server::DraPlugin as _;
use nearfab_dra::proto::dra::{Claim, NodePrepareResourcesRequest, NodeUnprepareResourcesRequest};
use tokio::time::Instant;
use tonic::Request;

use crate::serving::{allocate, claim};
use crate::{Bed, POOL, names};

async fn plugin(bed: &Bed) -> (Arc<Preparer>, Arc<Plugin>) {
    let config = bed.config();
    let lock = InstanceLock::acquire(&config.kubelet_dir).await.unwrap();
    let checkpoints = Checkpoints::open(&config.state_dir, config.boot_id).unwrap();
    let cdi = CdiDir::open(&config.cdi_dir, &config.runtime_root).unwrap();
    let preparer = Arc::new(Preparer::new(POOL.to_owned(), config.root, checkpoints, cdi, lock));
    let plugin = Plugin::new(bed.api.client(), POOL.to_owned(), Arc::clone(&preparer));
    (preparer, Arc::new(plugin))
}

fn prepare(claims: &[Claim]) -> Request<NodePrepareResourcesRequest> {
    Request::new(NodePrepareResourcesRequest { claims: claims.to_vec() })
}

fn unprepare(claims: &[Claim]) -> Request<NodeUnprepareResourcesRequest> {
    Request::new(NodeUnprepareResourcesRequest { claims: claims.to_vec() })
}

/// Returns when every other task waits.
async fn until_all_tasks_wait() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_call_for_a_claim_takes_effect_last() {
    let bed = Bed::new();
    let (preparer, plugin) = plugin(&bed).await;
    let claims = [claim("short", "u-1")];
    allocate(&bed, &claims[0], &[("chip", "neuron-1")]);
    let slow_change = preparer.lock().await;
    let first = tokio::spawn({
        let (plugin, request) = (Arc::clone(&plugin), prepare(&claims));
        async move { plugin.node_prepare_resources(request).await }
    });
    until_all_tasks_wait().await;
    let last = tokio::spawn(async move { plugin.node_unprepare_resources(unprepare(&claims)).await });
    until_all_tasks_wait().await;
    drop(slow_change);
    assert_eq!(first.await.unwrap().unwrap().into_inner().claims["u-1"].error, "");
    assert_eq!(last.await.unwrap().unwrap().into_inner().claims["u-1"].error, "");
    assert!(names(&bed.path("claims")).is_empty());
    assert!(names(&bed.path("cdi")).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_changes_nothing() {
    let bed = Bed::new();
    let (preparer, plugin) = plugin(&bed).await;
    let claims = [claim("late", "u-1")];
    allocate(&bed, &claims[0], &[("chip", "neuron-1")]);
    let slow_change = preparer.lock().await;
    let call = tokio::spawn(async move { plugin.node_prepare_resources(prepare(&claims)).await.map(drop) });
    until_all_tasks_wait().await;
    assert!(bed.api.requests().iter().any(|request| request.ends_with("/resourceclaims/late")));
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    drop(slow_change);
    let _earlier_calls_are_finished = preparer.lock().await;
    assert!(names(&bed.path("claims")).is_empty());
}

/// The kubelet abandons a call after 45 s and then drops the reason.
#[tokio::test(start_paused = true)]
async fn all_claims_of_a_call_share_one_deadline_for_the_api_server() {
    let bed = Bed::new();
    let (_preparer, plugin) = plugin(&bed).await;
    let claims = ["u-1", "u-2", "u-3"].map(|uid| claim(&format!("c-{uid}"), uid));
    let _no_answers = bed.api.hold_answers().await;
    let start = Instant::now();
    let answer = plugin.node_prepare_resources(prepare(&claims)).await.unwrap().into_inner();
    assert!(start.elapsed() < Duration::from_secs(40), "{:?}", start.elapsed());
    for claim in &claims {
        let error = &answer.claims[&claim.uid].error;
        assert!(error.starts_with(&format!("cannot get claim default/{}", claim.name)), "{error}");
        assert!(error.ends_with("no answer from the API server within 30 s"), "{error}");
    }
}
