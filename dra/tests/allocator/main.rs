//! Tests of the device model by Kubernetes' own allocator, in each version that `NEARFAB_ALLOCATORS` has a program of:
//! `cargo xtask allocator` builds the programs and runs these tests.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
#![expect(clippy::print_stdout, reason = "cargo xtask allocator shows times and seeds")]

mod claims;
mod cluster;
mod exclusion;
#[path = "../hosts/mod.rs"]
mod hosts;
mod judge;
mod selectors;
mod sequences;
mod times;

use std::fs;
use std::path::PathBuf;
use std::sync::Once;

use k8s_openapi::api::resource::v1::{
    DeviceClaim, DeviceRequest, ExactDeviceRequest, ResourceClaim, ResourceClaimSpec, ResourceSlice,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use nearfab_dra::model::Model;
use nearfab_dra::model::options::ServerVersion;
use nearfab_dra::model::slices::Pool;

use judge::Judge;

/// Returns the allocator programs with their versions of Kubernetes, from the oldest to the newest; none if they are not
/// built.
fn programs() -> Vec<(ServerVersion, PathBuf)> {
    static SKIPPED: Once = Once::new();
    let Some(folder) = std::env::var_os("NEARFAB_ALLOCATORS") else {
        let reason = "NEARFAB_ALLOCATORS is not set: cargo xtask allocator sets it";
        SKIPPED.call_once(|| nearfab_emu::skipped("allocator", reason));
        return Vec::new();
    };
    let program = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        // The modules have version 0.37.2 where Kubernetes has 1.37.2.
        let version = path.file_name().unwrap().to_str().unwrap().replacen("0.", "1.", 1);
        (version.parse().unwrap(), path)
    };
    let mut programs: Vec<_> = fs::read_dir(folder).unwrap().map(program).collect();
    programs.sort();
    assert!(!programs.is_empty());
    programs
}

/// Runs a test with the allocator of each version.
fn with_each_allocator(test: impl Fn(ServerVersion, &mut Judge)) {
    for (version, program) in programs() {
        test(version, &mut Judge::start(&program));
    }
}

/// Runs a test with the allocator of each version that gets overlapping devices.
fn with_each_new_allocator(test: impl Fn(ServerVersion, &mut Judge)) {
    with_each_allocator(|version, judge| {
        if version >= ServerVersion::OVERLAPPING {
            test(version, judge);
        }
    });
}

/// Returns the slices of all pools.
fn slices(model: &Model) -> Vec<ResourceSlice> {
    model.pools.iter().flat_map(Pool::slices).collect()
}

/// Returns a claim with a UID.
fn claim(uid: &str, spec: ResourceClaimSpec) -> ResourceClaim {
    let metadata = ObjectMeta {
        name: Some(uid.to_owned()),
        namespace: Some("default".to_owned()),
        uid: Some(uid.to_owned()),
        ..Default::default()
    };
    ResourceClaim { metadata, spec: Some(spec), status: None }
}

/// Returns a claim for devices of one class.
fn claim_of(uid: &str, class: &str, count: i64) -> ResourceClaim {
    let request = DeviceRequest {
        name: "devices".to_owned(),
        exactly: Some(ExactDeviceRequest {
            device_class_name: class.to_owned(),
            count: Some(count),
            ..Default::default()
        }),
        first_available: None,
    };
    let devices = DeviceClaim { requests: Some(vec![request]), ..Default::default() };
    claim(uid, ResourceClaimSpec { devices: Some(devices) })
}
