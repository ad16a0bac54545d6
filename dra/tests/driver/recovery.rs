//! The driver is killed between two steps, or the machine is started anew, and everything falls into place.

use std::fs;

use crate::serving::{allocate, claim};
use crate::{BOOT, Bed, names};

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

    // The claim lives on: it can be prepared again and released.
    let driver = restart(&bed).await;
    let first = claim("c-1", "u-1");
    assert_eq!(bed.kubelet().prepare(&first).await.error, "");
    assert!(bed.path("claims/u-1.json").exists());
    assert_eq!(bed.kubelet().unprepare(&first).await, "");
    assert_eq!(names(&bed.path("cdi")), [CDI[1]]);
    driver.stop().await;
}

#[tokio::test]
async fn a_record_of_an_unknown_format_is_set_aside() {
    let bed = killed_with_two_claims().await;
    let path = bed.path("claims/u-1.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(BOOT));
    let newer = text.replace("\"version\": 1", "\"version\": 2");
    assert_ne!(newer, text);
    fs::write(&path, &newer).unwrap();
    let driver = restart(&bed).await;
    assert_eq!(fs::read_to_string(bed.path("claims/u-1.json.unreadable")).unwrap(), newer);
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
