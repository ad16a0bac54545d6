//! From an allocation to device nodes in containers, and back: the record first, then the CDI file; in reverse
//! order when the claim is done.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::resource::v1::DeviceRequestAllocationResult;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tracing::{info, warn};

use crate::cdi::CdiDir;
use crate::claim::Claim;
use crate::device::Inventory;
use crate::error::{Error, Result};
use crate::instance::Instance;
use crate::record::{Found, Hold, Prepared, Record, Records};

/// Prepares and unprepares the claims of one node. All state is on disk.
#[derive(Debug)]
pub struct Preparer {
    pool: String,
    root: PathBuf,
    records: Records,
    cdi: CdiDir,
    serial: Arc<Mutex<Instance>>,
}

/// The right to take one step. Who holds a device must not change between looking and taking, by another call or by
/// another process; a step that outlives its call keeps the next one waiting, and the next driver.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "held is all that it must be")] OwnedMutexGuard<Instance>);

impl Preparer {
    /// For the devices found below `root` and published in `pool`.
    pub fn new(pool: String, root: PathBuf, records: Records, cdi: CdiDir, instance: Instance) -> Self {
        Self { pool, root, records, cdi, serial: Arc::new(Mutex::new(instance)) }
    }

    /// Waits until those who asked before are done: what the kubelet wants of a claim last must come last. Who gives up
    /// waiting has changed nothing.
    pub async fn turn(&self) -> Turn {
        Turn(Arc::clone(&self.serial).lock_owned().await)
    }

    /// Makes the CDI folder equal to the records, and the records to the devices as they are in `inventory`: after a
    /// crash between two steps, after someone emptied /run under running pods, after device nodes got other numbers
    /// because a kernel driver was loaded anew, and after a boot.
    ///
    /// # Errors
    /// When a folder cannot be read or a file in it not be written.
    pub fn recover(&self, _turn: Turn, inventory: &Inventory) -> Result<()> {
        let found = self.records.read()?;
        for uid in &found.outdated {
            info!(claim = uid, "dropping the record of an earlier boot");
            self.release(uid)?;
        }
        for record in &found.current {
            match with_nodes_of(inventory, record.clone()) {
                Ok(record) => self.put(&record)?,
                Err(error) => {
                    warn!(claim = %record.claim, %error, "no container of this claim can start until the device is back");
                    self.cdi.remove(&record.claim.uid)?;
                }
            }
        }
        for foreign in &found.foreign {
            warn!(record = %foreign.path.display(), "left alone: another version of this driver wrote it");
        }
        let known: BTreeSet<&String> = found
            .current
            .iter()
            .map(|record| &record.claim.uid)
            .chain(found.foreign.iter().map(|foreign| &foreign.uid))
            .chain(&found.set_aside)
            .collect();
        for uid in self.cdi.claims()? {
            if !known.contains(&uid) {
                warn!(claim = uid, "removing a CDI file of a claim that is not on record");
                self.cdi.remove(&uid)?;
            }
        }
        info!(claims = found.current.len(), "CDI files, records and devices agree");
        Ok(())
    }

    /// Prepares `claim`, whose allocation names `allocated` of this driver's devices. Doing it again changes
    /// nothing, and fails if a device is no longer there: no device, no container.
    ///
    /// # Errors
    /// When a device is not usable or held by another claim, and when a file cannot be written.
    pub fn prepare(&self, _turn: Turn, claim: Claim, allocated: &[DeviceRequestAllocationResult]) -> Result<Record> {
        // Anew each time: which node belongs to which device may have changed since the slice was published.
        let inventory = Inventory::discover(&self.root)?;
        let devices = allocated.iter().map(|result| self.resolve(result, &inventory)).collect::<Result<_>>()?;
        let record = self.records.new_record(claim, devices);
        self.refuse_held(&record, self.records.read()?)?;

        self.put(&record)?;
        info!(claim = %record.claim, devices = ?record.device_names(), "prepared");
        Ok(record)
    }

    /// Releases the claim with this UID. One that was never prepared is released already.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn unprepare(&self, _turn: Turn, claim: &Claim) -> Result<()> {
        self.release(&claim.uid)?;
        info!(%claim, "unprepared");
        Ok(())
    }

    fn put(&self, record: &Record) -> Result<()> {
        self.records.write(record)?;
        self.cdi.write(record)
    }

    fn release(&self, uid: &str) -> Result<()> {
        self.cdi.remove(uid)?;
        self.records.remove(uid)
    }

    fn resolve(&self, result: &DeviceRequestAllocationResult, inventory: &Inventory) -> Result<Prepared> {
        if result.pool != self.pool {
            return Err(Error::OtherPool {
                device: result.device.clone(),
                pool: result.pool.clone(),
                ours: self.pool.clone(),
            });
        }
        // "main/sub" is how the scheduler says which alternative of request "main" it chose.
        let request = result.request.split('/').next().unwrap_or_default();
        Ok(Prepared {
            request: request.to_owned(),
            device: result.device.clone(),
            node: inventory.node(&result.device)?,
            share_id: result.share_id.clone(),
            admin_access: result.admin_access.unwrap_or(false),
        })
    }

    /// The scheduler gives no device out twice; this is the second look, for when its knowledge was old (a pod
    /// deleted by force, a claim's status edited).
    fn refuse_held(&self, wanted: &Record, found: Found) -> Result<()> {
        let wanted_holds: Vec<Hold> = wanted.devices.iter().map(Hold::from).collect();
        let refuse = |holder: String, holds: &[Hold]| {
            let held = |wanted: &&Hold| holds.iter().any(|theirs| theirs.excludes(wanted));
            match wanted_holds.iter().find(held) {
                Some(hold) => Err(Error::Held { device: hold.device.clone(), holder }),
                None => Ok(()),
            }
        };
        let other = |uid: &str| uid != wanted.claim.uid;
        for record in found.current.iter().filter(|record| other(&record.claim.uid)) {
            let holds: Vec<Hold> = record.devices.iter().map(Hold::from).collect();
            refuse(record.claim.to_string(), &holds)?;
        }
        for foreign in found.foreign.into_iter().filter(|foreign| other(&foreign.uid)) {
            let unreadable = |reason| Error::Unreadable { path: foreign.path, reason };
            refuse(format!("with UID {}", foreign.uid), &foreign.holds.map_err(unreadable)?)?;
        }
        for uid in found.set_aside.iter().filter(|uid| other(uid)) {
            refuse(format!("with UID {uid}"), &self.cdi.holds(uid)?)?;
        }
        Ok(())
    }
}

/// The record with the nodes that its devices have now.
fn with_nodes_of(inventory: &Inventory, mut record: Record) -> Result<Record> {
    for prepared in &mut record.devices {
        prepared.node = inventory.node(&prepared.device)?;
    }
    Ok(record)
}
