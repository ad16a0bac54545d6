//! The whole text of some reports.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::defects::{DEFECTS, without_efa};
use crate::support::{self, stdout};
use crate::trees::{PID, limit, tree, variables};

/// Returns the text of the report about a record of the tree, with a constant name instead of the tree's path.
fn text(tree: &Path) -> String {
    let mut record: Value = serde_json::from_str(&stdout(&["record", "--root", tree.to_str().unwrap()])).unwrap();
    record["origin"] = json!({"from": "tree", "root": "/host"});
    let text = record.to_string().replace(tree.to_str().unwrap(), "/host");
    let file = tree.join("record.json");
    fs::write(&file, text).unwrap();
    support::nearfab(&["doctor", "--host", file.to_str().unwrap()]).stdout
}

#[track_caller]
fn compare(shown: &str, file: &str) {
    support::compare(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doctor").join(file), shown);
}

#[test]
fn healthy_host() {
    compare(&text(tree("trn2.48xlarge").path()), "healthy.txt");
}

#[test]
fn host_with_many_problems() {
    let tree = tree("trn2.48xlarge");
    for id in [
        "efa-node-missing",
        "efa-port-not-active",
        "huge-pages-used-up",
        "rdma-namespaces-exclusive",
        "fork-unsafe",
        "ptrace-protected",
        "neuron-ids-not-contiguous",
        "runtime-too-old-for-driver",
        "libfabric-several",
        "collectives-missing",
        "runtime-not-on-loader-path",
        "device-plugin-beside-dra",
        "host-incomplete",
    ] {
        let defect = DEFECTS.iter().find(|defect| defect.id == id).unwrap();
        (defect.make)(tree.path());
    }
    without_efa(tree.path());
    compare(&text(tree.path()), "bad.txt");
}

#[test]
fn process_with_many_problems() {
    let tree = tree("trn2.48xlarge");
    limit(tree.path(), "65536");
    (DEFECTS.iter().find(|defect| defect.id == "library-mapped-twice").unwrap().make)(tree.path());
    let bad = [
        "PATH=/usr/bin",
        "FI_PROVIDER=eaf",
        "FI_EFA_IFACE=efa_0",
        "FI_EFA_MTU_SIZE=8760",
        "FI_EFA_USE_DEVICE_RMDA=1",
        "NEURON_RT_VISIBLE_CORES=0,1,10,11,2,3",
    ];
    variables(tree.path(), &bad);
    let root = tree.path().to_str().unwrap();
    let text = stdout(&["doctor", "--pid", PID, "--root", root]);
    compare(&text.replace(root, "/host"), "process.txt");
}

#[test]
fn host_with_other_rdma_devices() {
    compare(&text(tree("p6-b200.48xlarge").path()), "p6-b200.txt");
}

#[test]
fn empty_host() {
    compare(&text(tempfile::tempdir().unwrap().path()), "empty.txt");
}
