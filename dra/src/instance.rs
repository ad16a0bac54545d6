//! One driver at a time on a node.
//!
//! During an update the new driver starts while the old one still serves. Both would change the same records and
//! take each other's sockets, so the new one waits for a lock that the old one holds. The kernel gives it back when a
//! process ends, however it ends.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use tracing::info;

use crate::durable::{create_dir, failed};
use crate::error::Result;

/// How often to look whether the other driver has gone: `flock` cannot be waited for and given up.
const POLL: Duration = Duration::from_millis(100);

/// The right to be this node's driver, until it is dropped.
#[derive(Debug)]
pub struct Instance(#[expect(dead_code, reason = "open is all that it must be")] File);

impl Instance {
    /// Waits, without limit, until no other driver uses `dir`, which is created if need be.
    ///
    /// # Errors
    /// When the lock file cannot be made or locked.
    pub async fn only(dir: &Path) -> Result<Self> {
        create_dir(dir)?;
        let path = dir.join("lock");
        // Never removed: one who waits has it open, and would then hold a lock that nobody else sees.
        let file = File::options().create(true).append(true).open(&path).map_err(failed("open", &path))?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            if !told {
                info!(lock = %path.display(), "another driver serves this node; waiting until it has gone");
                told = true;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
