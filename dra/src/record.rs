//! The record of a prepared claim: what the driver handed out, kept on disk because the driver may be replaced
//! while pods run.
//!
//! One JSON file per claim, named by the claim's UID. It is written before the CDI file and removed after it, so
//! that at any moment everything handed out is on record.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::error;

use crate::claim::Claim;
use crate::durable;
use crate::error::{Error, Result};

/// The record's format. A reader that meets another one leaves the file alone.
const VERSION: u32 = 1;

const SUFFIX: &str = ".json";
const SET_ASIDE: &str = ".json.unreadable";

/// A claim's devices as they were handed out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    version: u32,
    /// Device numbers do not survive a boot, and neither does the right to hold a device.
    boot_id: String,
    /// The claim.
    pub claim: Claim,
    /// Its devices, in the order of the allocation.
    pub devices: Vec<Prepared>,
}

/// One device of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Prepared {
    /// The request it serves, without the name of a subrequest.
    pub request: String,
    /// The device's name in the node's pool.
    pub device: String,
    /// Its device node, as a container sees it.
    pub node: PathBuf,
    /// Which share, of a device that several claims may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share_id: Option<String>,
    /// Given for monitoring, beside whoever holds the device.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admin_access: bool,
}

impl Record {
    /// Names of the claim's devices in the node's pool.
    pub fn device_names(&self) -> Vec<&str> {
        self.devices.iter().map(|device| device.device.as_str()).collect()
    }
}

/// That a claim holds a device: all that matters to other claims.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// The device's name in the node's pool.
    pub device: String,
    /// Which share of it.
    pub share_id: Option<String>,
    /// Whether the claim only monitors it.
    #[serde(default)]
    pub admin_access: bool,
}

impl Hold {
    /// Whether the two cannot belong to different claims: the same device, unless one of them only monitors it
    /// or both are shares of it.
    pub fn excludes(&self, other: &Self) -> bool {
        let shared = self.share_id.is_some() && other.share_id.is_some();
        self.device == other.device && !self.admin_access && !other.admin_access && !shared
    }
}

impl From<&Prepared> for Hold {
    fn from(prepared: &Prepared) -> Self {
        Self {
            device: prepared.device.clone(),
            share_id: prepared.share_id.clone(),
            admin_access: prepared.admin_access,
        }
    }
}

/// The folder of the records.
#[derive(Debug)]
pub struct Records {
    dir: PathBuf,
    boot_id: String,
}

/// What the folder holds.
#[derive(Debug, Default)]
pub struct Found {
    /// Records of this boot.
    pub current: Vec<Record>,
    /// Records that another version of the driver wrote. They stay as they are.
    pub foreign: Vec<Foreign>,
    /// UIDs of claims recorded before the machine was started last: nothing runs that could use them.
    pub outdated: Vec<String>,
    /// UIDs of claims whose record was damaged and set aside, now or earlier.
    pub set_aside: Vec<String>,
}

/// A record in another format.
#[derive(Debug)]
pub struct Foreign {
    /// The claim's UID.
    pub uid: String,
    /// The record's file.
    pub path: PathBuf,
    /// What was understood of it; or why too little was.
    pub holds: Result<Vec<Hold>, String>,
}

impl Records {
    /// The records in `dir`, which is created if need be, for the boot named `boot_id`.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn open(dir: &Path, boot_id: String) -> Result<Self> {
        durable::create_dir(dir)?;
        Ok(Self { dir: dir.to_owned(), boot_id })
    }

    /// A record of this boot.
    pub fn new_record(&self, claim: Claim, devices: Vec<Prepared>) -> Record {
        Record { version: VERSION, boot_id: self.boot_id.clone(), claim, devices }
    }

    /// Everything on record. A damaged record is moved out of the way and kept for a person to look at: it stops
    /// neither the driver nor the other claims.
    ///
    /// # Errors
    /// When the folder or a file in it cannot be read, or a damaged one not be moved.
    pub fn read(&self) -> Result<Found> {
        let mut found = Found::default();
        for name in durable::list(&self.dir, "")? {
            if let Some((uid, _)) = name.split_once(SET_ASIDE) {
                // Another name was never a claim's.
                if check_uid(uid).is_ok() {
                    found.set_aside.push(uid.to_owned());
                }
            } else if let Some(uid) = name.strip_suffix(SUFFIX) {
                self.read_one(uid, &mut found)?;
            }
        }
        Ok(found)
    }

    /// Puts a claim on record, durably.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, record: &Record) -> Result<()> {
        durable::write(&self.dir, &file_name(&record.claim.uid)?, &to_json(record))
    }

    /// Takes a claim off the records, durably, with what was set aside of it. One that is not on record is fine.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove(&self, uid: &str) -> Result<()> {
        let name = file_name(uid)?;
        let set_aside = format!("{uid}{SET_ASIDE}");
        for present in durable::list(&self.dir, &name)? {
            if present == name || present.starts_with(&set_aside) {
                durable::remove(&self.dir, &present)?;
            }
        }
        Ok(())
    }

    fn read_one(&self, uid: &str, found: &mut Found) -> Result<()> {
        let path = self.dir.join(format!("{uid}{SUFFIX}"));
        // A disk that fails says nothing about the record.
        let text = fs::read(&path).map_err(durable::failed("read", &path))?;
        match self.parse(uid, &text) {
            Ok(Parsed::Outdated) => found.outdated.push(uid.to_owned()),
            Ok(Parsed::Current(record)) => found.current.push(record),
            Ok(Parsed::Foreign(holds)) => found.foreign.push(Foreign { uid: uid.to_owned(), path, holds }),
            Err(reason) => {
                let kept = self.set_aside(uid)?;
                error!(
                    claim = uid,
                    reason,
                    kept = %kept.display(),
                    "a claim's record is damaged and was set aside: its devices stay with its pods"
                );
                found.set_aside.push(uid.to_owned());
            }
        }
        Ok(())
    }

    fn parse(&self, uid: &str, text: &[u8]) -> Result<Parsed, String> {
        check_uid(uid).map_err(|e| e.to_string())?;
        let head: Head = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        if head.boot_id.is_some_and(|boot_id| boot_id != self.boot_id) {
            return Ok(Parsed::Outdated);
        }
        let (claim, parsed) = if head.version == VERSION {
            let record: Record = serde_json::from_slice(text).map_err(|e| e.to_string())?;
            (record.claim.clone(), Parsed::Current(record))
        } else {
            match serde_json::from_slice(text) {
                Ok(Gist { claim, devices }) => (claim, Parsed::Foreign(Ok(devices))),
                Err(error) => return Ok(Parsed::Foreign(Err(format!("its format is {}: {error}", head.version)))),
            }
        };
        if claim.uid == uid { Ok(parsed) } else { Err(format!("it is about claim {claim}")) }
    }

    fn set_aside(&self, uid: &str) -> Result<PathBuf> {
        let mut kept = format!("{uid}{SET_ASIDE}");
        while self.dir.join(&kept).exists() {
            kept.push('+');
        }
        durable::rename(&self.dir, &format!("{uid}{SUFFIX}"), &kept)?;
        Ok(self.dir.join(kept))
    }
}

enum Parsed {
    Current(Record),
    Outdated,
    Foreign(Result<Vec<Hold>, String>),
}

/// What tells whether the rest is understood, and whether it matters.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    version: u32,
    boot_id: Option<String>,
}

/// What is read of a record in another format.
#[derive(Deserialize)]
struct Gist {
    claim: Claim,
    devices: Vec<Hold>,
}

fn file_name(uid: &str) -> Result<String> {
    check_uid(uid)?;
    Ok(format!("{uid}{SUFFIX}"))
}

/// UIDs become names of files and of CDI devices, so nothing but what UIDs are made of may pass.
pub(crate) fn check_uid(uid: &str) -> Result<()> {
    let well_formed =
        !uid.is_empty() && uid.len() <= 64 && uid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if well_formed { Ok(()) } else { Err(Error::BadUid { uid: uid.to_owned() }) }
}

/// The JSON that the driver writes: indented, since people read it when something is wrong.
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain data with string keys is always JSON");
    text.push(b'\n');
    text
}
