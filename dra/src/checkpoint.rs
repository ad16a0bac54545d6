//! Checkpoints: the files that list the devices of each prepared claim. The checkpoints are on disk because the driver
//! may be replaced while pods run.
//!
//! The driver writes one JSON file per claim, named by the claim's UID. The driver writes the checkpoint before the CDI
//! file and removes the checkpoint after the CDI file. So each device that was handed out is in a checkpoint at any
//! moment.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::error;

use crate::claim::Claim;
use crate::durable;
use crate::error::{Error, Result};

/// The version of the checkpoint format. A driver leaves a file with another version unchanged.
const VERSION: u32 = 1;

const SUFFIX: &str = ".json";
const DAMAGED_SUFFIX: &str = ".json.unreadable";

/// A claim's devices as the driver handed them out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    version: u32,
    /// The boot in which the claim was prepared. Neither device numbers nor holds on devices survive a boot.
    boot_id: String,
    /// The claim.
    pub claim: Claim,
    /// The claim's devices, in the order of the allocation.
    pub devices: Vec<PreparedDevice>,
}

/// A device of a prepared claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreparedDevice {
    /// The request that the device satisfies, without the name of a subrequest.
    pub request: String,
    /// The device's name in the node's pool.
    pub device: String,
    /// The path of the device node inside a container.
    pub node: PathBuf,
    /// The ID of the claim's share, for a device that several claims may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_id: Option<String>,
    /// True if the claim only monitors the device (adminAccess): another claim may hold it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admin_access: bool,
}

impl Checkpoint {
    /// Returns the names of the claim's devices in the node's pool.
    pub fn device_names(&self) -> Vec<&str> {
        self.devices.iter().map(|device| device.device.as_str()).collect()
    }
}

/// A claim's hold on a device: the part of a checkpoint that matters to other claims.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// The device's name in the node's pool.
    pub device: String,
    /// The ID of the claim's share, for a device that several claims may use.
    pub share_id: Option<String>,
    /// True if the claim only monitors the device.
    #[serde(default)]
    pub admin_access: bool,
}

impl Hold {
    /// Returns true if two claims cannot have these two holds at once: both holds are on the same device, neither claim
    /// only monitors the device, and at least one hold is not a share.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let shared = self.share_id.is_some() && other.share_id.is_some();
        self.device == other.device && !self.admin_access && !other.admin_access && !shared
    }
}

impl From<&PreparedDevice> for Hold {
    fn from(prepared: &PreparedDevice) -> Self {
        Self {
            device: prepared.device.clone(),
            share_id: prepared.share_id.clone(),
            admin_access: prepared.admin_access,
        }
    }
}

/// The folder of the checkpoints.
#[derive(Debug)]
pub struct Checkpoints {
    dir: PathBuf,
    boot_id: String,
}

/// The files in the folder of the checkpoints, by what the driver can do with them.
#[derive(Debug, Default)]
pub struct StoredCheckpoints {
    /// Checkpoints of this boot.
    pub current: Vec<Checkpoint>,
    /// Checkpoints of this boot that another version of the driver wrote. The driver leaves them unchanged.
    pub foreign: Vec<ForeignCheckpoint>,
    /// UIDs of claims that were prepared in an earlier boot. No process that could use the devices of these claims
    /// still runs.
    pub earlier_boot: Vec<String>,
    /// UIDs of claims whose checkpoint was damaged and renamed, now or earlier.
    pub damaged: Vec<String>,
}

/// A checkpoint in the format of another version.
#[derive(Debug)]
pub struct ForeignCheckpoint {
    /// The claim's UID.
    pub uid: String,
    /// The checkpoint's file.
    pub path: PathBuf,
    /// The claim's holds, or the reason why the holds could not be read.
    pub holds: Result<Vec<Hold>, String>,
}

impl Checkpoints {
    /// Opens the checkpoints in `dir` for the boot named `boot_id`. Creates `dir` if it does not exist.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn open(dir: &Path, boot_id: String) -> Result<Self> {
        durable::create_dir(dir)?;
        Ok(Self { dir: dir.to_owned(), boot_id })
    }

    /// Returns a new checkpoint of this boot. Does not write the checkpoint.
    pub fn new_checkpoint(&self, claim: Claim, devices: Vec<PreparedDevice>) -> Checkpoint {
        Checkpoint { version: VERSION, boot_id: self.boot_id.clone(), claim, devices }
    }

    /// Reads all checkpoints. Renames a damaged checkpoint, so that the checkpoint stops neither the driver nor the
    /// other claims, and a person can look at the file.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be read, or a damaged checkpoint cannot be renamed.
    pub fn read(&self) -> Result<StoredCheckpoints> {
        let mut stored = StoredCheckpoints::default();
        for name in durable::list(&self.dir, "")? {
            if let Some((uid, _)) = name.split_once(DAMAGED_SUFFIX) {
                // A file whose name is not a UID belongs to no claim.
                if check_uid(uid).is_ok() {
                    stored.damaged.push(uid.to_owned());
                }
            } else if let Some(uid) = name.strip_suffix(SUFFIX) {
                self.read_one(uid, &mut stored)?;
            }
        }
        Ok(stored)
    }

    /// Writes a claim's checkpoint durably.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, checkpoint: &Checkpoint) -> Result<()> {
        durable::write(&self.dir, &file_name(&checkpoint.claim.uid)?, &to_json(checkpoint))
    }

    /// Removes a claim's checkpoint and damaged checkpoints durably. Succeeds if the claim has no checkpoint.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove(&self, uid: &str) -> Result<()> {
        let name = file_name(uid)?;
        let damaged = format!("{uid}{DAMAGED_SUFFIX}");
        for present in durable::list(&self.dir, &name)? {
            if present == name || present.starts_with(&damaged) {
                durable::remove(&self.dir, &present)?;
            }
        }
        Ok(())
    }

    fn read_one(&self, uid: &str, stored: &mut StoredCheckpoints) -> Result<()> {
        let path = self.dir.join(format!("{uid}{SUFFIX}"));
        // A read error comes from the disk and does not show that the checkpoint is damaged.
        let text = fs::read(&path).map_err(durable::failed("read", &path))?;
        match self.parse(uid, &text) {
            Ok(Parsed::EarlierBoot) => stored.earlier_boot.push(uid.to_owned()),
            Ok(Parsed::Current(checkpoint)) => stored.current.push(checkpoint),
            Ok(Parsed::Foreign(holds)) => stored.foreign.push(ForeignCheckpoint { uid: uid.to_owned(), path, holds }),
            Err(reason) => {
                let renamed = self.rename_damaged(uid)?;
                error!(
                    claim = uid,
                    reason,
                    renamed = %renamed.display(),
                    "the checkpoint of a claim is damaged: it was renamed, and the claim keeps its devices"
                );
                stored.damaged.push(uid.to_owned());
            }
        }
        Ok(())
    }

    fn parse(&self, uid: &str, text: &[u8]) -> Result<Parsed, String> {
        check_uid(uid).map_err(|e| e.to_string())?;
        let header: Header = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        if header.boot_id.is_some_and(|boot_id| boot_id != self.boot_id) {
            return Ok(Parsed::EarlierBoot);
        }
        let (claim, parsed) = if header.version == VERSION {
            let checkpoint: Checkpoint = serde_json::from_slice(text).map_err(|e| e.to_string())?;
            (checkpoint.claim.clone(), Parsed::Current(checkpoint))
        } else {
            match serde_json::from_slice(text) {
                Ok(ForeignContent { claim, devices }) => (claim, Parsed::Foreign(Ok(devices))),
                Err(error) => {
                    let reason = format!("its format version is {}: {error}", header.version);
                    return Ok(Parsed::Foreign(Err(reason)));
                }
            }
        };
        if claim.uid == uid { Ok(parsed) } else { Err(format!("it belongs to claim {claim}")) }
    }

    /// Renames a damaged checkpoint and returns its new path.
    fn rename_damaged(&self, uid: &str) -> Result<PathBuf> {
        let mut new_name = format!("{uid}{DAMAGED_SUFFIX}");
        while self.dir.join(&new_name).exists() {
            new_name.push('+');
        }
        durable::rename(&self.dir, &format!("{uid}{SUFFIX}"), &new_name)?;
        Ok(self.dir.join(new_name))
    }
}

enum Parsed {
    Current(Checkpoint),
    EarlierBoot,
    Foreign(Result<Vec<Hold>, String>),
}

/// The members that every version of the format has. With these members the driver decides whether to read the rest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    version: u32,
    boot_id: Option<String>,
}

/// The members that the driver reads from a checkpoint of another version.
#[derive(Deserialize)]
struct ForeignContent {
    claim: Claim,
    devices: Vec<Hold>,
}

fn file_name(uid: &str) -> Result<String> {
    check_uid(uid)?;
    Ok(format!("{uid}{SUFFIX}"))
}

/// Refuses a text that cannot be a UID. UIDs become parts of file names and of CDI device names, so only the characters
/// of UIDs may pass.
pub(crate) fn check_uid(uid: &str) -> Result<()> {
    let well_formed =
        !uid.is_empty() && uid.len() <= 64 && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if well_formed { Ok(()) } else { Err(Error::BadUid { uid: uid.to_owned() }) }
}

/// Returns the JSON text of a file of the driver. The text is indented, since people read these files after a failure.
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain data with string keys is always JSON");
    text.push(b'\n');
    text
}
