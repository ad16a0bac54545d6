//! CDI files: how the container runtime learns which device nodes a claim puts into a container.
//!
//! One file per claim with one CDI device per allocated device, so that a container that references one request
//! of the claim gets the devices of that request and no others. No environment variables: what is prepared here
//! does not know the container, and the last writer of a variable would win over the user.
//! Format: <https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md>.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::durable;
use crate::error::{Error, Result};
use crate::record::{Hold, Prepared, Record, check_uid, to_json};

/// Vendor and class of all CDI devices of this driver.
const KIND: &str = "nearfab.dev/claim";

/// The first version with `hostPath`; any runtime that Kubernetes 1.34 runs with knows it.
const VERSION: &str = "0.5.0";

/// File names are the kind's two parts and the claim's UID, as CDI advises for files that come and go.
const PREFIX: &str = "nearfab.dev-claim_";
const SUFFIX: &str = ".json";

/// What the kubelet hands to the container runtime for a prepared device: one name per device (and share), on
/// all the host, because the kubelet tells devices apart by it.
pub fn device_id(uid: &str, device: &Prepared) -> String {
    format!("{KIND}={}", device_name(uid, device))
}

fn device_name(uid: &str, device: &Prepared) -> String {
    match &device.share_id {
        Some(share) => format!("{}_{share}_{uid}", device.device),
        None => format!("{}_{uid}", device.device),
    }
}

/// The inverse of [`device_name`]: neither names of devices nor UIDs have a `_`.
fn hold(uid: &str, name: &str) -> Option<Hold> {
    let rest = name.strip_suffix(uid)?.strip_suffix('_')?;
    let (device, share) = rest.split_once('_').map_or((rest, None), |(device, share)| (device, Some(share)));
    // Whether it is only monitored is not in its name, so it is taken for held.
    Some(Hold { device: device.to_owned(), share_id: share.map(str::to_owned), admin_access: false })
}

/// The folder in which the container runtime looks for CDI files that come and go.
#[derive(Debug)]
pub struct CdiDir {
    dir: PathBuf,
    runtime_root: PathBuf,
}

impl CdiDir {
    /// The CDI files in `dir`, created if need be, whose device nodes the runtime finds below `runtime_root`.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn open(dir: &Path, runtime_root: &Path) -> Result<Self> {
        durable::create_dir(dir)?;
        Ok(Self { dir: dir.to_owned(), runtime_root: runtime_root.to_owned() })
    }

    /// Writes the file of a claim, or leaves it alone when it says the same already.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, record: &Record) -> Result<()> {
        let name = file_name(&record.claim.uid)?;
        durable::write(&self.dir, &name, &to_json(&self.spec(record)))
    }

    /// Removes the file of a claim. Absent is fine.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(&self, uid: &str) -> Result<()> {
        durable::remove(&self.dir, &file_name(uid)?)
    }

    /// UIDs of the claims that have a file here.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn claims(&self) -> Result<Vec<String>> {
        let names = durable::list(&self.dir, PREFIX)?;
        let uid = |name: &String| Some(name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.to_owned());
        // What is not named by a UID was not written by this driver.
        Ok(names.iter().filter_map(uid).filter(|uid| check_uid(uid).is_ok()).collect())
    }

    /// What the claim's file hands out, which is nothing when there is no file.
    ///
    /// # Errors
    /// When the file cannot be read, or is not as this driver writes it.
    pub fn holds(&self, uid: &str) -> Result<Vec<Hold>> {
        let path = self.dir.join(file_name(uid)?);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.map_err(durable::failed("read", &path))?,
        };
        let damaged = |reason: String| Error::Unreadable { path: path.clone(), reason };
        let spec: Written = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        let held = |device: &WrittenDevice| {
            hold(uid, &device.name).ok_or_else(|| damaged(format!("device {:?} is not of claim {uid}", device.name)))
        };
        spec.devices.iter().map(held).collect()
    }

    fn spec(&self, record: &Record) -> Spec {
        // Two requests may name one device, if one of them only monitors it: that is one CDI device.
        let edits: BTreeMap<_, _> = record
            .devices
            .iter()
            .map(|device| (device_name(&record.claim.uid, device), self.node(&device.node)))
            .collect();
        let devices = edits
            .into_iter()
            .map(|(name, node)| Device { name, container_edits: ContainerEdits { device_nodes: [node] } })
            .collect();
        Spec { cdi_version: VERSION, kind: KIND, devices }
    }

    fn node(&self, path: &Path) -> DeviceNode {
        let below = path.strip_prefix("/").unwrap_or(path);
        let host_path = self.runtime_root.join(below);
        DeviceNode {
            path: path.to_owned(),
            host_path: (host_path != path).then_some(host_path),
            // To open is what a container needs; without this the runtime would let it make nodes too.
            permissions: "rw",
        }
    }
}

fn file_name(uid: &str) -> Result<String> {
    check_uid(uid)?;
    Ok(format!("{PREFIX}{uid}{SUFFIX}"))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    cdi_version: &'static str,
    kind: &'static str,
    devices: Vec<Device>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    name: String,
    container_edits: ContainerEdits,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerEdits {
    device_nodes: [DeviceNode; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeviceNode {
    path: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_path: Option<PathBuf>,
    permissions: &'static str,
}

/// What is read back of a file.
#[derive(Deserialize)]
struct Written {
    devices: Vec<WrittenDevice>,
}

#[derive(Deserialize)]
struct WrittenDevice {
    name: String,
}
