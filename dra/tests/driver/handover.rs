//! Two drivers on one node, as during an update, and the sockets of each.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use nearfab_dra::error::Error;

use crate::serving::{allocate, claim};
use crate::{Bed, Kubelet, until, within};

fn inodes(kubelet: &Kubelet) -> [u64; 2] {
    [kubelet.plugin_socket(), kubelet.registration_socket()].map(|socket| fs::metadata(socket).unwrap().ino())
}

#[tokio::test]
async fn a_new_driver_waits_until_the_old_driver_ends_and_then_serves() {
    let bed = Bed::new();
    let kubelet = bed.kubelet();
    let old = bed.start();
    kubelet.register().await;
    let sockets = inodes(&kubelet);

    let new = bed.start();
    // A driver that did not wait would create its sockets before this call returns.
    let first = claim("first", "u-1");
    allocate(&bed, &first, &[("chip", "neuron-5")]);
    assert_eq!(kubelet.prepare(&first).await.error, "");
    assert_eq!(inodes(&kubelet), sockets, "the kubelet is connected to the old driver");

    old.stop().await;
    until("the new driver's socket", || kubelet.registration_socket().exists()).await;
    kubelet.register().await;
    let second = claim("second", "u-2");
    allocate(&bed, &second, &[("chip", "neuron-5")]);
    let error = kubelet.prepare(&second).await.error;
    assert!(error.contains("held by claim default/first"), "{error}");
    assert_eq!(kubelet.unprepare(&first).await, "");
    new.stop().await;
    assert!(!kubelet.registration_socket().exists());
    assert!(!kubelet.plugin_socket().exists());
}

#[tokio::test]
async fn a_waiting_driver_can_be_stopped() {
    let bed = Bed::new();
    let kubelet = bed.kubelet();
    let old = bed.start();
    kubelet.register().await;
    let sockets = inodes(&kubelet);
    bed.start().stop().await;
    assert_eq!(inodes(&kubelet), sockets);
    old.stop().await;
}

#[tokio::test]
async fn a_socket_that_another_process_created_stays() {
    let bed = Bed::new();
    let kubelet = bed.kubelet();
    let driver = bed.start();
    kubelet.register().await;
    let foreign = bed.path("foreign");
    fs::write(&foreign, "").unwrap();
    fs::rename(&foreign, kubelet.registration_socket()).unwrap();
    driver.stop().await;
    assert!(kubelet.registration_socket().exists());
    assert!(!kubelet.plugin_socket().exists());
}

#[tokio::test]
async fn a_driver_that_cannot_start_leaves_no_socket() {
    let bed = Bed::new();
    let kubelet = bed.kubelet();
    fs::create_dir_all(kubelet.registration_socket()).unwrap();
    let error = within("the driver's end", bed.start().ended).await.unwrap().unwrap_err();
    assert!(matches!(&error, Error::File { path, .. } if *path == kubelet.registration_socket()), "{error}");
    assert!(!kubelet.plugin_socket().exists());
}
