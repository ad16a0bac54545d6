//! The driver is killed between two steps, or the machine is started anew, and everything falls into place.

use std::fs;

use nearfab::Host;
use nearfab_dra::error::Error;
use serde_json::{Value, json};

use crate::serving::{allocate, allocate_share, claim};
use crate::{Bed, names, within, write_tree};

const CDI: [&str; 2] = ["nearfab.dev-claim_u-1.json", "nearfab.dev-claim_u-2.json"];

/// A bed on which claims u-1 (neuron-1) and u-2 (neuron-2) were prepared by a driver that was then killed.
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

/// Starts a driver and waits until it is ready to be called, which is after it has recovered.
async fn restart(bed: &Bed) -> crate::Driver {
    let driver = bed.start();
    bed.kubelet().register().await;
    driver
}

#[tokio::test]
async fn killed_before_the_cdi_file_it_is_written_at_the_next_start() {
    let bed = killed_with_two_claims().await;
    let path = bed.path("cdi").join(CDI[0]);
    let before = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let driver = restart(&bed).await;
    assert_eq!(fs::read(&path).unwrap(), before);
    driver.stop().await;
}

#[tokio::test]
async fn a_cdi_file_without_a_record_goes_and_those_of_others_stay() {
    let bed = killed_with_two_claims().await;
    fs::remove_file(bed.path("claims/u-1.json")).unwrap();
    fs::write(bed.path("cdi/example.com-gpu_x.json"), "{}").unwrap();
    let driver = restart(&bed).await;
    assert_eq!(names(&bed.path("cdi")), ["example.com-gpu_x.json", CDI[1]]);
    driver.stop().await;
}

#[tokio::test]
async fn half_written_files_go() {
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
async fn after_a_boot_nothing_is_held() {
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
async fn an_unreadable_record_is_set_aside_and_nothing_is_lost() {
    let bed = killed_with_two_claims().await;
    for (damage, kept) in [("{\"version\": 1, \"boo", "u-1.json.unreadable"), ("\0\0\0", "u-1.json.unreadable+")] {
        fs::write(bed.path("claims/u-1.json"), damage).unwrap();
        let driver = restart(&bed).await;
        assert_eq!(fs::read_to_string(bed.path("claims").join(kept)).unwrap(), damage);
        assert_eq!(names(&bed.path("cdi")), CDI, "containers of the claim can still be restarted");
        driver.kill(&bed.kubelet()).await;
    }

    let driver = restart(&bed).await;
    let kubelet = bed.kubelet();
    let thief = claim("thief", "u-3");
    allocate(&bed, &thief, &[("chip", "neuron-1")]);
    let error = kubelet.prepare(&thief).await.error;
    assert!(error.contains("neuron-1 is held by claim with UID u-1"), "{error}");

    // The claim lives on: it can be prepared again and released, and then nothing is left of it.
    let first = claim("c-1", "u-1");
    assert_eq!(kubelet.prepare(&first).await.error, "");
    assert!(bed.path("claims/u-1.json").exists());
    assert_eq!(kubelet.unprepare(&first).await, "");
    assert_eq!(names(&bed.path("cdi")), [CDI[1]]);
    assert_eq!(names(&bed.path("claims")), ["u-2.json"]);
    assert_eq!(kubelet.prepare(&thief).await.error, "");
    driver.stop().await;
}

#[tokio::test]
async fn shares_of_a_claim_without_a_record_are_still_shares() {
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
async fn a_record_that_cannot_be_read_from_the_disk_is_not_taken_for_damaged() {
    let bed = killed_with_two_claims().await;
    // Reading a folder fails, also for root.
    let path = bed.path("claims/u-1.json");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let error = within("the driver's end", bed.start().ended).await.unwrap().unwrap_err();
    assert!(matches!(&error, Error::File { path: named, .. } if *named == path), "{error}");
    assert!(path.exists());
    assert_eq!(names(&bed.path("cdi")), CDI);
}

/// As a later version of the driver may write it.
fn rewrite_as_foreign(bed: &Bed, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let path = bed.path("claims/u-1.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    record["version"] = json!(2);
    change(&mut record);
    fs::write(&path, record.to_string()).unwrap();
    record.to_string().into_bytes()
}

#[tokio::test]
async fn a_record_of_another_version_stays_and_its_devices_are_held() {
    let bed = killed_with_two_claims().await;
    let newer = rewrite_as_foreign(&bed, |record| {
        let device = record["devices"][0].as_object_mut().unwrap();
        device.remove("node").unwrap();
        device.insert("nodes".to_owned(), json!(["/dev/neuron1"]));
    });
    let driver = restart(&bed).await;
    let kubelet = bed.kubelet();
    assert_eq!(fs::read(bed.path("claims/u-1.json")).unwrap(), newer);
    assert_eq!(names(&bed.path("cdi")), CDI);
    let thief = claim("thief", "u-3");
    allocate(&bed, &thief, &[("chip", "neuron-1")]);
    let error = kubelet.prepare(&thief).await.error;
    assert!(error.contains("neuron-1 is held by claim with UID u-1"), "{error}");

    assert_eq!(kubelet.unprepare(&claim("c-1", "u-1")).await, "");
    assert_eq!(kubelet.prepare(&thief).await.error, "");
    driver.stop().await;
}

#[tokio::test]
async fn while_a_record_is_not_understood_nothing_is_handed_out() {
    let bed = killed_with_two_claims().await;
    rewrite_as_foreign(&bed, |record| record["devices"] = json!("see elsewhere"));
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
async fn after_a_boot_records_of_another_version_go_too() {
    let bed = killed_with_two_claims().await;
    rewrite_as_foreign(&bed, |record| *record = json!({"version": 2, "bootId": "boot-0"}));
    let driver = restart(&bed).await;
    assert_eq!(names(&bed.path("claims")), ["u-2.json"]);
    driver.stop().await;
}

#[tokio::test]
async fn files_that_no_driver_wrote_do_not_stop_it() {
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
async fn what_was_prepared_before_the_restart_is_still_held() {
    let bed = killed_with_two_claims().await;
    let driver = restart(&bed).await;
    let thief = claim("thief", "u-3");
    allocate(&bed, &thief, &[("chip", "neuron-2")]);
    let error = bed.kubelet().prepare(&thief).await.error;
    assert!(error.contains("held by claim default/c-2"), "{error}");
    driver.stop().await;
}

/// As when the efa driver is loaded anew: the interfaces are the same, the numbers of their nodes are not.
#[tokio::test]
async fn nodes_that_moved_are_followed_and_without_one_no_container_starts() {
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
    let mine = class.join(before.rsplit('/').next().unwrap());
    let other = class.join(if mine.ends_with("uverbs1") { "uverbs2" } else { "uverbs1" });
    fs::rename(&mine, class.join("aside")).unwrap();
    fs::rename(&other, &mine).unwrap();
    fs::rename(class.join("aside"), &other).unwrap();
    let after = node();
    assert_ne!(after, before);
    restart(&bed).await.stop().await;
    let cdi: Value = serde_json::from_str(&bed.only_file("cdi").1).unwrap();
    assert_eq!(cdi["devices"][0]["containerEdits"]["deviceNodes"][0]["path"], after);
    let record: Value = serde_json::from_str(&bed.only_file("claims").1).unwrap();
    assert_eq!(record["devices"][0]["node"], after);

    fs::remove_file(bed.host.join(&after[1..])).unwrap();
    restart(&bed).await.stop().await;
    assert!(names(&bed.path("cdi")).is_empty());
    assert_eq!(names(&bed.path("claims")), ["u-1.json"], "the claim still has its device");
}
