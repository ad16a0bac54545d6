//! CDI files, which list the device nodes of a claim for the container runtime.
//!
//! Each claim has one file with one CDI device per allocated device. So a container that references one request of the
//! claim gets only the devices of that request. The files set no environment variables: the driver does not know the
//! container when it prepares a claim, and a variable from a CDI file would replace the user's own. Format:
//! <https://github.com/cncf-tags/container-device-interface/blob/main/SPEC.md>.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, Hold, PreparedDevice, check_uid, to_json};
use crate::durable;
use crate::error::{Error, Result};

/// The vendor and class of all CDI devices of this driver.
const KIND: &str = "nearfab.dev/claim";

/// The first CDI version with `hostPath`. Every container runtime that Kubernetes 1.34 supports reads it.
const VERSION: &str = "0.5.0";

/// A file's name contains the vendor, the class and the claim's UID, as CDI advises for files that are created and
/// removed at run time.
const PREFIX: &str = "nearfab.dev-claim_";
const SUFFIX: &str = ".json";

/// Returns the CDI name that the kubelet hands to the container runtime for a prepared device. Each device and share
/// has a unique name on the host, because the kubelet distinguishes devices by this name.
pub fn device_id(uid: &str, device: &PreparedDevice) -> String {
    format!("{KIND}={}", device_name(uid, device))
}

fn device_name(uid: &str, device: &PreparedDevice) -> String {
    match &device.share_id {
        Some(share) => format!("{}_{share}_{uid}", device.device),
        None => format!("{}_{uid}", device.device),
    }
}

/// Reads a hold from a name that [`device_name`] made. Neither device names nor UIDs contain a `_`.
fn parse_device_name(uid: &str, name: &str) -> Option<Hold> {
    let rest = name.strip_suffix(uid)?.strip_suffix('_')?;
    let (device, share) = rest.split_once('_').map_or((rest, None), |(device, share)| (device, Some(share)));
    // The name does not show whether the claim only monitors the device, so the device counts as held.
    Some(Hold { device: device.to_owned(), share_id: share.map(str::to_owned), admin_access: false })
}

/// The folder in which the container runtime looks for CDI files.
#[derive(Debug)]
pub struct CdiDir {
    dir: PathBuf,
    runtime_root: PathBuf,
}

impl CdiDir {
    /// Opens the CDI files in `dir`. Creates `dir` if the folder does not exist. The container runtime finds the device
    /// nodes below `runtime_root`.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn open(dir: &Path, runtime_root: &Path) -> Result<Self> {
        durable::create_dir(dir)?;
        Ok(Self { dir: dir.to_owned(), runtime_root: runtime_root.to_owned() })
    }

    /// Writes the file of a claim. Writes nothing if the file already has this content.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, checkpoint: &Checkpoint) -> Result<()> {
        let name = file_name(&checkpoint.claim.uid)?;
        durable::write(&self.dir, &name, &to_json(&self.spec(checkpoint)))
    }

    /// Removes the file of a claim. Succeeds if the claim has no file.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(&self, uid: &str) -> Result<()> {
        durable::remove(&self.dir, &file_name(uid)?)
    }

    /// Returns the UIDs of the claims that have a file in this folder.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn claims(&self) -> Result<Vec<String>> {
        let names = durable::list(&self.dir, PREFIX)?;
        let uid = |name: &String| Some(name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.to_owned());
        // This driver writes only files with a UID in the name, so other files are not claims of this driver.
        Ok(names.iter().filter_map(uid).filter(|uid| check_uid(uid).is_ok()).collect())
    }

    /// Returns the holds on the devices that the claim's file hands out. Returns no hold if the claim has no file.
    ///
    /// # Errors
    /// When the file cannot be read, or does not have the form that this driver writes.
    pub fn holds(&self, uid: &str) -> Result<Vec<Hold>> {
        let path = self.dir.join(file_name(uid)?);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.map_err(durable::failed("read", &path))?,
        };
        let damaged = |reason: String| Error::Unreadable { path: path.clone(), reason };
        let spec: SpecOnDisk = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        let hold = |device: &DeviceOnDisk| {
            let foreign = || damaged(format!("device {:?} does not belong to claim {uid}", device.name));
            parse_device_name(uid, &device.name).ok_or_else(foreign)
        };
        spec.devices.iter().map(hold).collect()
    }

    fn spec(&self, checkpoint: &Checkpoint) -> Spec {
        // Two requests may name the same device if one of them only monitors it. The file lists the device once.
        let edits: BTreeMap<_, _> = checkpoint
            .devices
            .iter()
            .map(|device| (device_name(&checkpoint.claim.uid, device), self.device_node(&device.node)))
            .collect();
        let devices = edits
            .into_iter()
            .map(|(name, node)| Device { name, container_edits: ContainerEdits { device_nodes: [node] } })
            .collect();
        Spec { cdi_version: VERSION, kind: KIND, devices }
    }

    fn device_node(&self, path: &Path) -> DeviceNode {
        let below = path.strip_prefix("/").unwrap_or(path);
        let host_path = self.runtime_root.join(below);
        DeviceNode {
            path: path.to_owned(),
            host_path: (host_path != path).then_some(host_path),
            // A container only opens the node. Without this limit the runtime would also let the container make nodes.
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

/// The parts of a CDI file that the driver reads back.
#[derive(Deserialize)]
struct SpecOnDisk {
    devices: Vec<DeviceOnDisk>,
}

#[derive(Deserialize)]
struct DeviceOnDisk {
    name: String,
}
