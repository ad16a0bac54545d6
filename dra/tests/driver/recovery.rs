//! Tests of the driver's start after it was killed between two steps, and after a boot.

use std::fs;

use nearfab::Host;
use nearfab_dra::error::Error;
use serde_json::{Value, json};

use crate::serving::{allocate, allocate_share, claim};
use crate::{Bed, names, within, write_tree};

const CDI: [&str; 2] = ["nearfab.dev-claim_u-1.json", "nearfab.dev-claim_u-2.json"];

/// Returns a bed on which a driver prepared the claims u-1 (neuron-1) and u-2 (neuron-2) and was then killed.
async fn killed_with_two_claims() -> Bed {
    let bed = Bed::new();
    let driver = bed.start();
    let kubelet = bed.kubelet();
    kubelet.register().await;
    for number in [1, 2] {
        let claim = claim(&format!("c-{number}"), &format!("u-{number}"));
        allocate(&bed, &claim, &[("chip", &format!("neuron-{number}"))]);
        assert_eq!(kubelet.prepare(&claim).await.error, "");
    }
    driver.kill(&kubelet).await;
    assert_eq!(names(&bed.path("cdi")), CDI);
    bed
}

/// Starts a driver and waits until the kubelet has registered the driver. The driver recovers before the registration.
async fn restart(bed: &Bed) -> crate::Driver {
    let driver = bed.start();
    bed.kubelet().register().await;
    driver
}

#[tokio::test]
async fn a_missing_cdi_file_is_written_at_the_next_start() {
    let bed = killed_with_two_claims().await;
    let path = bed.path("cdi").join(CDI[0]);
    let before = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let driver = restart(&bed).await;
    assert_eq!(fs::read(&path).unwrap(), before);
    driver.stop().await;
}

#[tokio::test]
async fn a_cdi_file_without_a_checkpoint_is_removed_and_foreign_files_stay() {
    let bed = killed_with_two_claims().await;
    fs::remove_file(bed.path("claims/u-1.json")).unwrap();
    fs::write(bed.path("cdi/example.com-gpu_x.json"), "{}").unwrap();
    let driver = restart(&bed).await;
    assert_eq!(names(&bed.path("cdi")), ["example.com-gpu_x.json", CDI[1]]);
    driver.stop().await;
}

#[tokio::test]
async fn unfinished_files_are_removed() {
    let bed = killed_with_two_claims().await;
    let before = names(&bed.path("claims"));
    fs::write(bed.path("claims/u-3.json.tmp"), "{\"vers").unwrap();
    fs::write(bed.path("cdi/nearfab.dev-claim_u-3.json.tmp"), "{").unwrap();
    let driver = restart(&bed).await;
    assert_eq!(names(&bed.path("claims")), before);
    assert_eq!(names(&bed.path("cdi")), CDI);
    driver.stop().await;
}

#[tokio::test]
async fn after_a_boot_no_claim_holds_a_device() {
    let bed = killed_with_two_claims().await;
    let mut config = bed.config();
    assert_ne!(config.boot_id, "boot-2");
    config.boot_id = "boot-2".to_owned();
    let driver = bed.start_with(config);
    let kubelet = bed.kubelet();
    kubelet.register().await;
    assert!(names(&bed.path("claims")).is_empty());
    assert!(names(&bed.path("cdi")).is_empty());
    let other = claim("other", "u-3");
    allocate(&bed, &other, &[("chip", "neuron-1")]);
    assert_eq!(kubelet.prepare(&other).await.error, "");
    driver.stop().await;
}

#[tokio::test]
async fn a_damaged_checkpoint_is_renamed_and_its_claim_keeps_its_devices() {
    let bed = killed_with_two_claims().await;
    for (damage, renamed) in [("{\"version\": 1, \"boo", "u-1.json.unreadable"), ("\0\0\0", "u-1.json.unreadable+")] {
        fs::write(bed.path("claims/u-1.json"), damage).unwrap();
        let driver = restart(&bed).await;
        assert_eq!(fs::read_to_string(bed.path("claims").join(renamed)).unwrap(), damage);
        assert_eq!(names(&bed.path("cdi")), CDI, "the runtime can still restart the claim's containers");
        driver.kill(&bed.kubelet()).await;
    }

    let driver = restart(&bed).await;
    let kubelet = bed.kubelet();
    let other = claim("other", "u-3");
    allocate(&bed, &other, &[("chip", "neuron-1")]);
    let error = kubelet.prepare(&other).await.error;
    assert!(error.contains("neuron-1 is held by claim with UID u-1"), "{error}");

    // The claim can be prepared again and released. The release removes the claim's damaged checkpoints too.
    let first = claim("c-1", "u-1");
    assert_eq!(kubelet.prepare(&first).await.error, "");
    assert!(bed.path("claims/u-1.json").exists());
    assert_eq!(kubelet.unprepare(&first).await, "");
    assert_eq!(names(&bed.path("cdi")), [CDI[1]]);
    assert_eq!(names(&bed.path("claims")), ["u-2.json"]);
    assert_eq!(kubelet.prepare(&other).await.error, "");
    driver.stop().await;
}

/// Compares the JSON members with the names and types that version 1 of the format has had since its first release.
#[tokio::test]
async fn a_checkpoint_of_format_version_1_is_read_and_written() {
    let bed = Bed::new();
    let text = json!({
        "version": 1,
        "bootId": crate::BOOT,
        "claim": {"namespace": "default", "name": "c-1", "uid": "u-1"},
        "devices": [
            {"request": "chip", "device": "neuron-1", "node": "/dev/neuron1"},
            {"request": "all", "device": "neuron-2", "node": "/dev/neuron2", "adminAccess": true},
            {"request": "nic", "device": "efa-0000-57-00-0", "node": "/dev/infiniband/uverbs0", "shareId": "s-1"},
        ],
    });
    fs::create_dir(bed.path("claims")).unwrap();
    fs::write(bed.path("claims/u-1.json"), text.to_string()).unwrap();
    let driver = restart(&bed).await;
    let mut written: Value = serde_json::from_str(&bed.only_file("claims").1).unwrap();
    // The driver writes the present node of the interface.
    written["devices"][2]["node"] = text["devices"][2]["node"].clone();
    assert_eq!(written, text);
    let other = claim("other", "u-3");
    allocate(&bed, &other, &[("chip", "neuron-1")]);
    let error = bed.kubelet().prepare(&other).await.error;
    assert!(error.starts_with("neuron-1 is held by claim default/c-1 (UID u-1)"), "{error}");
    driver.stop().await;
}

#[tokio::test]
async fn shares_of_a_claim_with_a_damaged_checkpoint_are_still_shares() {
    let bed = Bed::new();
    let share = |uid: &str| claim(&format!("share-{uid}"), uid);
    for uid in ["u-1", "u-2"] {
        allocate_share(&bed, &share(uid), "efa-0000-57-00-0", &format!("s-{uid}"));
    }
    let driver = bed.start();
    let kubelet = bed.kubelet();
    kubelet.register().await;
    assert_eq!(kubelet.prepare(&share("u-1")).await.error, "");
    fs::write(bed.path("claims/u-1.json"), "").unwrap();
    assert_eq!(kubelet.prepare(&share("u-2")).await.error, "");
    let whole = claim("whole", "u-3");
    allocate(&bed, &whole, &[("nic", "efa-0000-57-00-0")]);
    assert_ne!(kubelet.prepare(&whole).await.error, "");
    driver.stop().await;
}

#[tokio::test]
async fn a_checkpoint_that_the_disk_cannot_read_is_not_renamed() {
    let bed = killed_with_two_claims().await;
    // Reading a folder fails even for root.
    let path = bed.path("claims/u-1.json");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let error = within("the driver's end", bed.start().ended).await.unwrap().unwrap_err();
    assert!(matches!(&error, Error::File { path: named, .. } if *named == path), "{error}");
    assert!(path.exists());
    assert_eq!(names(&bed.path("cdi")), CDI);
}

/// Changes a checkpoint to the form that a later version of the driver may write, and returns the changed checkpoint.
fn rewrite_as_foreign(bed: &Bed, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let path = bed.path("claims/u-1.json");
    let mut checkpoint: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    checkpoint["version"] = json!(2);
    change(&mut checkpoint);
    fs::write(&path, checkpoint.to_string()).unwrap();
    checkpoint.to_string().into_bytes()
}

#[tokio::test]
async fn a_checkpoint_of_another_version_stays_and_its_claim_keeps_its_devices() {
    let bed = killed_with_two_claims().await;
    let newer = rewrite_as_foreign(&bed, |checkpoint| {
        let device = checkpoint["devices"][0].as_object_mut().unwrap();
        device.remove("node").unwrap();
        device.insert("nodes".to_owned(), json!(["/dev/neuron1"]));
    });
    let driver = restart(&bed).await;
    let kubelet = bed.kubelet();
    assert_eq!(fs::read(bed.path("claims/u-1.json")).unwrap(), newer);
    assert_eq!(names(&bed.path("cdi")), CDI);
    let other = claim("other", "u-3");
    allocate(&bed, &other, &[("chip", "neuron-1")]);
    let error = kubelet.prepare(&other).await.error;
    assert!(error.contains("neuron-1 is held by claim with UID u-1"), "{error}");

    assert_eq!(kubelet.unprepare(&claim("c-1", "u-1")).await, "");
    assert_eq!(kubelet.prepare(&other).await.error, "");
    driver.stop().await;
}

#[tokio::test]
async fn no_claim_is_prepared_while_the_holds_of_a_checkpoint_cannot_be_read() {
    let bed = killed_with_two_claims().await;
    rewrite_as_foreign(&bed, |checkpoint| checkpoint["devices"] = json!("see elsewhere"));
    let driver = restart(&bed).await;
    let kubelet = bed.kubelet();
    let other = claim("other", "u-3");
    allocate(&bed, &other, &[("chip", "neuron-7")]);
    let error = kubelet.prepare(&other).await.error;
    assert!(error.starts_with(&bed.path("claims/u-1.json").display().to_string()), "{error}");
    assert_eq!(kubelet.unprepare(&claim("c-1", "u-1")).await, "");
    assert_eq!(kubelet.prepare(&other).await.error, "");
    driver.stop().await;
}

#[tokio::test]
async fn after_a_boot_checkpoints_of_another_version_are_removed_too() {
    let bed = killed_with_two_claims().await;
    rewrite_as_foreign(&bed, |checkpoint| *checkpoint = json!({"version": 2, "bootId": "boot-0"}));
    let driver = restart(&bed).await;
    assert_eq!(names(&bed.path("claims")), ["u-2.json"]);
    driver.stop().await;
}

#[tokio::test]
async fn files_that_no_driver_wrote_do_not_stop_the_driver() {
    let bed = killed_with_two_claims().await;
    let text = fs::read_to_string(bed.path("claims/u-1.json")).unwrap().replace("\"u-1\"", "\"u 1\"");
    fs::write(bed.path("claims/u 1.json"), text).unwrap();
    fs::write(bed.path("cdi/nearfab.dev-claim_u 3.json"), "{}").unwrap();
    let driver = restart(&bed).await;
    assert_eq!(names(&bed.path("claims")), ["u 1.json.unreadable", "u-1.json", "u-2.json"]);
    assert_eq!(names(&bed.path("cdi")), ["nearfab.dev-claim_u 3.json", CDI[0], CDI[1]]);
    driver.stop().await;
}

#[tokio::test]
async fn claims_prepared_before_a_restart_keep_their_devices() {
    let bed = killed_with_two_claims().await;
    let driver = restart(&bed).await;
    let other = claim("other", "u-3");
    allocate(&bed, &other, &[("chip", "neuron-2")]);
    let error = bed.kubelet().prepare(&other).await.error;
    assert!(error.contains("held by claim default/c-2"), "{error}");
    driver.stop().await;
}

/// Loading the efa driver again can change the numbers of the verbs nodes.
#[tokio::test]
async fn renumbered_nodes_are_updated_and_a_missing_node_removes_the_cdi_file() {
    let bed = Bed::with_host(|dir| {
        let tree = dir.join("tree");
        write_tree("trn2.48xlarge", &tree);
        tree
    });
    let efa = "efa-0000-57-00-0";
    let node = || {
        let host = Host::from_root(&bed.host).unwrap();
        host.find_efa("0000:57:00.0".parse().unwrap()).unwrap().node().unwrap()
    };
    let before = node();
    let driver = bed.start();
    let kubelet = bed.kubelet();
    kubelet.register().await;
    let claim = claim("moved", "u-1");
    allocate(&bed, &claim, &[("nic", efa)]);
    assert_eq!(kubelet.prepare(&claim).await.error, "");
    driver.stop().await;

    let class = bed.host.join("sys/class/infiniband_verbs");
    let own = class.join(before.rsplit('/').next().unwrap());
    let other = class.join(if own.ends_with("uverbs1") { "uverbs2" } else { "uverbs1" });
    fs::rename(&own, class.join("aside")).unwrap();
    fs::rename(&other, &own).unwrap();
    fs::rename(class.join("aside"), &other).unwrap();
    let after = node();
    assert_ne!(after, before);
    restart(&bed).await.stop().await;
    let cdi: Value = serde_json::from_str(&bed.only_file("cdi").1).unwrap();
    assert_eq!(cdi["devices"][0]["containerEdits"]["deviceNodes"][0]["path"], after);
    let checkpoint: Value = serde_json::from_str(&bed.only_file("claims").1).unwrap();
    assert_eq!(checkpoint["devices"][0]["node"], after);

    fs::remove_file(bed.host.join(&after[1..])).unwrap();
    restart(&bed).await.stop().await;
    assert!(names(&bed.path("cdi")).is_empty());
    assert_eq!(names(&bed.path("claims")), ["u-1.json"], "the claim still holds its device");
}
