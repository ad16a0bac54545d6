//! Prepares and releases claims. To prepare a claim, the driver writes the checkpoint and then the CDI file. To release
//! a claim, the driver removes the CDI file and then the checkpoint.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::resource::v1::DeviceRequestAllocationResult;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tracing::{info, warn};

use crate::cdi::CdiDir;
use crate::checkpoint::{Checkpoint, Checkpoints, Hold, PreparedDevice, StoredCheckpoints};
use crate::claim::Claim;
use crate::device::Inventory;
use crate::error::{Error, Result};
use crate::instance::InstanceLock;

/// Prepares and unprepares the claims of one node. All state is on disk.
#[derive(Debug)]
pub struct Preparer {
    pool: String,
    root: PathBuf,
    checkpoints: Checkpoints,
    cdi: CdiDir,
    lock: Arc<Mutex<InstanceLock>>,
}

/// The guard of one change to the prepared claims. No other call and no other process may change the holds on devices
/// between the check of a device and the write of its checkpoint. A change that outlives its call keeps the guard. The
/// next call and the next driver therefore wait for the end of the change.
#[derive(Debug)]
pub struct ChangeGuard(#[expect(dead_code, reason = "dropping it releases the lock")] OwnedMutexGuard<InstanceLock>);

impl Preparer {
    /// Returns a preparer for the devices that are found below `root` and published in `pool`.
    pub fn new(pool: String, root: PathBuf, checkpoints: Checkpoints, cdi: CdiDir, lock: InstanceLock) -> Self {
        Self { pool, root, checkpoints, cdi, lock: Arc::new(Mutex::new(lock)) }
    }

    /// Waits until the earlier callers have finished, in the order of the calls: the kubelet's last call for a claim
    /// must take effect last. A caller that stops waiting has changed nothing.
    pub async fn lock(&self) -> ChangeGuard {
        ChangeGuard(Arc::clone(&self.lock).lock_owned().await)
    }

    /// Makes the device nodes in the checkpoints equal to the nodes in `inventory`, and the CDI files equal to the
    /// checkpoints. The files can differ after a boot, after a crash between two steps, and after /run was emptied
    /// while pods run. The nodes can differ after a kernel driver was loaded again and numbered its device nodes
    /// differently.
    ///
    /// # Errors
    /// When a folder cannot be read, or a file in it cannot be written or removed.
    pub fn recover(&self, _guard: ChangeGuard, inventory: &Inventory) -> Result<()> {
        let stored = self.checkpoints.read()?;
        for uid in &stored.earlier_boot {
            info!(claim = uid, "removing the checkpoint of an earlier boot");
            self.release(uid)?;
        }
        for checkpoint in &stored.current {
            match with_nodes_of(inventory, checkpoint.clone()) {
                Ok(checkpoint) => self.put(&checkpoint)?,
                Err(error) => {
                    warn!(
                        claim = %checkpoint.claim,
                        %error,
                        "no container of this claim can start until the device is usable and the driver is restarted"
                    );
                    self.cdi.remove(&checkpoint.claim.uid)?;
                }
            }
        }
        for foreign in &stored.foreign {
            let path = foreign.path.display();
            warn!(checkpoint = %path, "leaving a checkpoint unchanged: another version of this driver wrote it");
        }
        let known: BTreeSet<&String> = stored
            .current
            .iter()
            .map(|checkpoint| &checkpoint.claim.uid)
            .chain(stored.foreign.iter().map(|foreign| &foreign.uid))
            .chain(&stored.damaged)
            .collect();
        for uid in self.cdi.claims()? {
            if !known.contains(&uid) {
                warn!(claim = uid, "removing a CDI file of a claim that has no checkpoint");
                self.cdi.remove(&uid)?;
            }
        }
        info!(claims = stored.current.len(), "checkpoints and CDI files are up to date");
        Ok(())
    }

    /// Prepares `claim`. The allocation of `claim` names the devices `allocated` of this driver. A second call changes
    /// nothing. A second call fails if a device is no longer usable: a container must not start without its device.
    ///
    /// # Errors
    /// When a device is not usable or another claim holds it, and when a file cannot be read or written.
    pub fn prepare(
        &self,
        _guard: ChangeGuard,
        claim: Claim,
        allocated: &[DeviceRequestAllocationResult],
    ) -> Result<Checkpoint> {
        // Each call discovers the devices: the numbers of device nodes may have changed since the slice was published.
        let inventory = Inventory::discover(&self.root)?;
        let devices = allocated.iter().map(|result| self.resolve(result, &inventory)).collect::<Result<_>>()?;
        let checkpoint = self.checkpoints.new_checkpoint(claim, devices);
        self.refuse_held(&checkpoint, self.checkpoints.read()?)?;

        self.put(&checkpoint)?;
        info!(claim = %checkpoint.claim, devices = ?checkpoint.device_names(), "prepared");
        Ok(checkpoint)
    }

    /// Releases the claim. Succeeds if the claim was never prepared.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn unprepare(&self, _guard: ChangeGuard, claim: &Claim) -> Result<()> {
        self.release(&claim.uid)?;
        info!(%claim, "unprepared");
        Ok(())
    }

    fn put(&self, checkpoint: &Checkpoint) -> Result<()> {
        self.checkpoints.write(checkpoint)?;
        self.cdi.write(checkpoint)
    }

    fn release(&self, uid: &str) -> Result<()> {
        self.cdi.remove(uid)?;
        self.checkpoints.remove(uid)
    }

    fn resolve(&self, result: &DeviceRequestAllocationResult, inventory: &Inventory) -> Result<PreparedDevice> {
        if result.pool != self.pool {
            return Err(Error::OtherPool {
                device: result.device.clone(),
                pool: result.pool.clone(),
                node_pool: self.pool.clone(),
            });
        }
        // The scheduler writes "main/sub" if it chose the subrequest "sub" of the request "main".
        let request = result.request.split('/').next().unwrap_or_default();
        Ok(PreparedDevice {
            request: request.to_owned(),
            device: result.device.clone(),
            node: inventory.node(&result.device)?,
            share_id: result.share_id.clone(),
            admin_access: result.admin_access.unwrap_or(false),
        })
    }

    /// Refuses a claim with a device that another claim holds. The scheduler allocates no device twice. But the
    /// scheduler's view of a device can be wrong after a pod was deleted by force, or after a claim's status was
    /// edited.
    fn refuse_held(&self, wanted: &Checkpoint, stored: StoredCheckpoints) -> Result<()> {
        let wanted_holds: Vec<Hold> = wanted.devices.iter().map(Hold::from).collect();
        let refuse = |holder: String, holds: &[Hold]| {
            let held = |wanted: &&Hold| holds.iter().any(|hold| hold.conflicts_with(wanted));
            match wanted_holds.iter().find(held) {
                Some(hold) => Err(Error::Held { device: hold.device.clone(), holder }),
                None => Ok(()),
            }
        };
        let is_other = |uid: &str| uid != wanted.claim.uid;
        for checkpoint in stored.current.iter().filter(|checkpoint| is_other(&checkpoint.claim.uid)) {
            let holds: Vec<Hold> = checkpoint.devices.iter().map(Hold::from).collect();
            refuse(checkpoint.claim.to_string(), &holds)?;
        }
        for foreign in stored.foreign.into_iter().filter(|foreign| is_other(&foreign.uid)) {
            let unreadable = |reason| Error::Unreadable { path: foreign.path, reason };
            refuse(format!("with UID {}", foreign.uid), &foreign.holds.map_err(unreadable)?)?;
        }
        for uid in stored.damaged.iter().filter(|uid| is_other(uid)) {
            refuse(format!("with UID {uid}"), &self.cdi.holds(uid)?)?;
        }
        Ok(())
    }
}

/// Returns the checkpoint with the device nodes that its devices have in `inventory`.
fn with_nodes_of(inventory: &Inventory, mut checkpoint: Checkpoint) -> Result<Checkpoint> {
    for prepared in &mut checkpoint.devices {
        prepared.node = inventory.node(&prepared.device)?;
    }
    Ok(checkpoint)
}
