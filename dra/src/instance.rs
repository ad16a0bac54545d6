//! The lock that lets one driver at a time serve a node.
//!
//! During an update the new driver starts while the old driver still serves. Two drivers would change the same
//! checkpoints and take each other's sockets. So the new driver waits for a lock that the old driver holds. The kernel
//! releases the lock when the process of the old driver ends for any reason.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use tracing::info;

use crate::durable::{create_dir, failed};
use crate::error::Result;

/// The time between two attempts to take the lock. The driver polls, because a thread that waits in `flock` could not
/// be stopped.
const POLL: Duration = Duration::from_millis(100);

/// The lock of the only driver that serves this node. Dropping an `InstanceLock` releases the lock.
#[derive(Debug)]
pub struct InstanceLock(#[expect(dead_code, reason = "the open file holds the lock")] File);

impl InstanceLock {
    /// Waits, without limit, until no other driver uses `dir`. Creates `dir` if it does not exist.
    ///
    /// # Errors
    /// When the lock file cannot be created or locked.
    pub async fn acquire(dir: &Path) -> Result<Self> {
        create_dir(dir)?;
        let path = dir.join("lock");
        // The file is never removed. A waiting driver has the file open, and would otherwise lock a file that no other
        // driver opens.
        let file = File::options().create(true).append(true).open(&path).map_err(failed("open", &path))?;
        let mut logged = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            if !logged {
                info!(lock = %path.display(), "another driver serves this node: waiting until it ends");
                logged = true;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
