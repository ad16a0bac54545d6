//! Tests of the driver's answers when the kubelet registers and calls the driver.

use std::fs;
use std::os::unix::net::UnixStream;

use nearfab::Host;
use nearfab_dra::error::Error;
use nearfab_dra::proto::dra::{Claim, Device};
use serde_json::{Value, json};
use tonic::codegen::http::Uri;

use crate::{Bed, POOL, names, until, within};

const UID: &str = "3f1c9a52-0000-4000-8000-000000000001";

/// Returns a claim as the kubelet names it.
pub(crate) fn claim(name: &str, uid: &str) -> Claim {
    Claim { namespace: "default".to_owned(), name: name.to_owned(), uid: uid.to_owned() }
}

/// Allocates devices to a claim in the API server. `devices` are pairs of request and device.
pub(crate) fn allocate(bed: &Bed, claim: &Claim, devices: &[(&str, &str)]) {
    let result = |(request, device): &(&str, &str)| json!({"request": request, "driver": "nearfab.dev", "pool": POOL, "device": device});
    store(bed, claim, devices.iter().map(result).collect());
}

/// Allocates a share of a device to a claim.
pub(crate) fn allocate_share(bed: &Bed, claim: &Claim, device: &str, id: &str) {
    store(bed, claim, vec![share(device, id)]);
}

fn share(device: &str, id: &str) -> Value {
    json!({"request": "nic", "driver": "nearfab.dev", "pool": POOL, "device": device, "shareID": id})
}

fn store(bed: &Bed, claim: &Claim, results: Vec<Value>) {
    let path = format!("/apis/resource.k8s.io/v1/namespaces/{}/resourceclaims/{}", claim.namespace, claim.name);
    let object = json!({
        "metadata": {"namespace": claim.namespace, "name": claim.name, "uid": claim.uid},
        "spec": {"devices": {}},
        "status": {"allocation": {"devices": {"results": results}}},
    });
    bed.api.put(&path, object);
}

#[tokio::test]
async fn the_kubelet_registers_the_driver() {
    let bed = Bed::new();
    let driver = bed.start();
    let info = bed.kubelet().register().await;
    assert_eq!((info.r#type.as_str(), info.name.as_str()), ("DRAPlugin", "nearfab.dev"));
    assert_eq!(info.supported_versions, ["v1.DRAPlugin"]);
    assert_eq!(info.endpoint, bed.kubelet().plugin_socket().display().to_string());
    driver.stop().await;
    assert!(names(&bed.path("kubelet/plugins_registry")).is_empty(), "the driver left its registration socket");
}

/// Shows why the socket has an `@` in its name. If a later version of the library parses the first address, the `@` can
/// be removed.
#[test]
fn a_bare_socket_path_is_not_a_valid_authority() {
    let authority =
        |socket: &str| format!("http://%2Fvar%2Flib%2Fkubelet%2Fplugins_registry%2F{socket}").parse::<Uri>();
    assert!(authority("nearfab.dev-reg.sock").is_err());
    assert!(authority("nearfab.dev@reg.sock").is_ok());
}

#[tokio::test]
async fn a_refused_driver_ends_with_the_kubelets_reason() {
    let bed = Bed::new();
    let driver = bed.start();
    bed.kubelet().register().await;
    bed.kubelet().notify(false, "no such version").await;
    let error = within("the driver's end", driver.ended).await.unwrap().unwrap_err();
    assert!(matches!(&error, Error::RegistrationRefused { reason } if reason == "no such version"), "{error}");
}

#[tokio::test]
async fn a_running_call_finishes_when_the_driver_is_stopped() {
    let bed = Bed::new();
    let driver = bed.start();
    let kubelet = bed.kubelet();
    kubelet.register().await;
    let claim = claim("late", UID);
    allocate(&bed, &claim, &[("chip", "neuron-0")]);

    let held_answers = bed.api.hold_answers().await;
    let call = tokio::spawn(async move { kubelet.prepare(&claim).await });
    until("the driver's request for the claim", || {
        bed.api.requests().iter().any(|r| r.ends_with("/resourceclaims/late"))
    })
    .await;
    drop(driver.stop);
    until("the end of the plugin socket", || UnixStream::connect(bed.kubelet().plugin_socket()).is_err()).await;
    assert!(bed.kubelet().registration_socket().exists(), "the kubelet drops the call when this socket disappears");
    drop(held_answers);

    assert_eq!(within("the answer", call).await.unwrap().error, "");
    within("the driver's end", driver.ended).await.unwrap().unwrap();
    assert!(!bed.kubelet().registration_socket().exists());
}

#[tokio::test]
async fn a_claim_is_prepared_and_released() {
    let bed = Bed::new();
    let driver = bed.start();
    let kubelet = bed.kubelet();
    kubelet.register().await;
    let claim = claim("pair", UID);
    allocate(&bed, &claim, &[("chip/large", "neuron-5"), ("nic", "efa-0000-57-00-0")]);

    let answer = kubelet.prepare(&claim).await;
    assert_eq!(answer.error, "");
    let device = |request: &str, name: &str| Device {
        request_names: vec![request.to_owned()],
        pool_name: POOL.to_owned(),
        device_name: name.to_owned(),
        cdi_device_ids: vec![format!("nearfab.dev/claim={name}_{UID}")],
        share_id: None,
    };
    assert_eq!(answer.devices, [device("chip", "neuron-5"), device("nic", "efa-0000-57-00-0")]);

    let (name, text) = bed.only_file("cdi");
    assert_eq!(name, format!("nearfab.dev-claim_{UID}.json"));
    let host = Host::from_root(&bed.host).unwrap();
    let verbs = host.find_efa("0000:57:00.0".parse().unwrap()).unwrap().node().unwrap();
    let node = |device: &str, path: String| {
        json!({
            "name": format!("{device}_{UID}"),
            "containerEdits": {"deviceNodes": [{"path": path, "permissions": "rw"}]},
        })
    };
    let expected = json!({
        "cdiVersion": "0.5.0",
        "kind": "nearfab.dev/claim",
        "devices": [
            node("efa-0000-57-00-0", verbs),
            node("neuron-5", "/dev/neuron5".to_owned()),
        ],
    });
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    let (_, checkpoint) = bed.only_file("claims");

    // The kubelet repeats a call, for instance after a restart of the kubelet.
    assert_eq!(kubelet.prepare(&claim).await, answer);
    assert_eq!(bed.only_file("cdi").1, text);
    assert_eq!(bed.only_file("claims").1, checkpoint);

    // A claim may be deleted from the API server before its release: to release a claim, the driver does not read the
    // claim.
    assert_eq!(kubelet.unprepare(&claim).await, "");
    assert!(names(&bed.path("cdi")).is_empty());
    assert!(names(&bed.path("claims")).is_empty());
    assert_eq!(kubelet.unprepare(&claim).await, "");
    driver.stop().await;
}

#[tokio::test]
async fn host_paths_of_device_nodes_are_below_the_runtime_root() {
    let bed = Bed::new();
    let mut config = bed.config();
    config.runtime_root = "/srv/tree".into();
    let driver = bed.start_with(config);
    let kubelet = bed.kubelet();
    kubelet.register().await;
    let claim = claim("one", UID);
    allocate(&bed, &claim, &[("chip", "neuron-0")]);
    assert_eq!(kubelet.prepare(&claim).await.error, "");
    let spec: Value = serde_json::from_str(&bed.only_file("cdi").1).unwrap();
    let expected = json!([{"path": "/dev/neuron0", "hostPath": "/srv/tree/dev/neuron0", "permissions": "rw"}]);
    assert_eq!(spec["devices"][0]["containerEdits"]["deviceNodes"], expected);
    driver.stop().await;
}

#[tokio::test]
async fn an_empty_request_succeeds() {
    let bed = Bed::new();
    let driver = bed.start();
    let kubelet = bed.kubelet();
    kubelet.register().await;
    assert!(kubelet.prepare_all(Vec::new()).await.is_empty());
    driver.stop().await;
}

#[tokio::test]
async fn an_error_of_one_claim_does_not_affect_the_other_claims() {
    let bed = Bed::new();
    let driver = bed.start();
    let kubelet = bed.kubelet();
    kubelet.register().await;
    let good = claim("good", UID);
    allocate(&bed, &good, &[("chip", "neuron-0")]);

    let unknown = claim("unknown", "u-2");
    let replaced = claim("replaced", "u-3");
    allocate(&bed, &claim("replaced", "u-9"), &[("chip", "neuron-1")]);
    let unallocated = claim("unallocated", "u-4");
    allocate(&bed, &unallocated, &[]);
    let foreign = claim("foreign", "u-5");
    store(
        &bed,
        &foreign,
        vec![json!({"request": "chip", "driver": "nearfab.dev", "pool": "nearfab.dev/node2", "device": "neuron-2"})],
    );
    let absent = claim("absent", "u-6");
    allocate(&bed, &absent, &[("chip", "neuron-99")]);
    let hostile = claim("hostile", "../../etc/cron.d/x");
    allocate(&bed, &hostile, &[("chip", "neuron-3")]);

    let bad = [
        (&unknown, "cannot get claim default/unknown (UID u-2): "),
        (&replaced, "was replaced: the API server has UID u-9"),
        (&unallocated, "names no device of driver nearfab.dev"),
        (&foreign, "cannot prepare neuron-2: it was allocated from pool nearfab.dev/node2"),
        (&absent, "neuron-99 cannot be used on this node: this node has no such device"),
        (&hostile, "invalid claim UID"),
    ];
    let all = bad.iter().map(|(claim, _)| (*claim).clone()).chain([good.clone()]).collect();
    let answer = kubelet.prepare_all(all).await;
    for (claim, reason) in bad {
        assert!(answer[&claim.uid].error.contains(reason), "{:?} lacks {reason:?}", answer[&claim.uid].error);
        assert!(answer[&claim.uid].devices.is_empty());
    }
    assert_eq!(answer[&good.uid].error, "");
    assert_eq!(names(&bed.path("claims")), [format!("{UID}.json")]);
    driver.stop().await;
}

#[tokio::test]
async fn a_device_without_its_node_is_not_prepared() {
    let bed = Bed::with_host(|dir| {
        fs::create_dir_all(dir.join("sys/class/neuron_device/neuron7")).unwrap();
        fs::create_dir(dir.join("dev")).unwrap();
        fs::write(dir.join("dev/neuron7"), "").unwrap();
        dir.to_owned()
    });
    let driver = bed.start();
    let kubelet = bed.kubelet();
    kubelet.register().await;
    let claim = claim("late", UID);
    allocate(&bed, &claim, &[("chip", "neuron-7")]);
    assert_eq!(kubelet.prepare(&claim).await.error, "");

    // The same claim is prepared again.
    fs::remove_file(bed.path("dev/neuron7")).unwrap();
    let error = kubelet.prepare(&claim).await.error;
    assert_eq!(error, "neuron-7 cannot be used on this node: /dev/neuron7 is missing");
    driver.stop().await;
}

#[tokio::test]
async fn a_device_that_a_claim_holds_is_refused_to_another_claim() {
    let bed = Bed::new();
    let driver = bed.start();
    let kubelet = bed.kubelet();
    kubelet.register().await;
    let first = claim("first", "u-1");
    allocate(&bed, &first, &[("chip", "neuron-4"), ("spare", "neuron-5")]);
    assert_eq!(kubelet.prepare(&first).await.error, "");

    let second = claim("second", "u-2");
    allocate(&bed, &second, &[("chip", "neuron-5")]);
    let error = kubelet.prepare(&second).await.error;
    assert!(error.starts_with("neuron-5 is held by claim default/first (UID u-1)"), "{error}");

    // A claim with adminAccess may use a device that another claim holds.
    let monitor = claim("monitor", "u-3");
    let result = json!({
        "request": "all", "driver": "nearfab.dev", "pool": POOL, "device": "neuron-5", "adminAccess": true,
    });
    store(&bed, &monitor, vec![result]);
    assert_eq!(kubelet.prepare(&monitor).await.error, "");

    assert_eq!(kubelet.unprepare(&first).await, "");
    assert_eq!(kubelet.prepare(&second).await.error, "", "the monitor does not hold the device");
    driver.stop().await;
}

#[tokio::test]
async fn each_share_keeps_its_id_and_has_its_own_cdi_name() {
    let bed = Bed::new();
    let driver = bed.start();
    let kubelet = bed.kubelet();
    kubelet.register().await;
    let claim = claim("shares", UID);
    let device = "efa-0000-57-00-0";
    store(&bed, &claim, vec![share(device, "s-1"), share(device, "s-2")]);
    let answer = kubelet.prepare(&claim).await;
    assert_eq!(answer.error, "");
    let shares: Vec<_> = answer.devices.iter().map(|device| device.share_id.as_deref()).collect();
    assert_eq!(shares, [Some("s-1"), Some("s-2")]);
    let ids: std::collections::BTreeSet<_> = answer.devices.iter().map(|device| &device.cdi_device_ids).collect();
    assert_eq!(ids.len(), 2, "the kubelet tells devices apart by their CDI names: {ids:?}");
    driver.stop().await;
}
