//! Reading files as a user who is not root.

use nix::unistd::{Uid, geteuid, setfsuid};

/// Runs `work` with the file system access of a user who is not root. The other threads keep their own access.
pub(crate) fn as_unprivileged_user<T>(work: impl FnOnce() -> T) -> T {
    if !geteuid().is_root() {
        return work();
    }
    setfsuid(Uid::from_raw(65534));
    let result = work();
    setfsuid(Uid::from_raw(0));
    result
}
