//! Runs code in forked children, for tests of the calls that a child may make.

use std::panic::{self, AssertUnwindSafe};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

/// How long a child may run. A child may block for ever, on a lock that a thread of the parent held during the fork.
const DEADLINE: Duration = Duration::from_secs(20);

/// Forks, and fails unless the child succeeds before the deadline.
pub(crate) fn in_a_child(succeeds: impl FnOnce() -> bool) {
    // SAFETY: another thread may hold locks during the fork. The child takes only the allocator's locks, which fork
    // leaves free, and the locks of the code under test. If the child blocks on a lock, the parent ends the child after
    // the deadline.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => assert_eq!(wait(child), WaitStatus::Exited(child, 0)),
        ForkResult::Child => {
            // A panic must not return to the test harness in the child.
            let succeeded = panic::catch_unwind(AssertUnwindSafe(succeeds)).unwrap_or(false);
            // SAFETY: _exit ends the process and runs no exit handler of the test harness.
            unsafe { libc::_exit(i32::from(!succeeded)) }
        }
    }
}

/// Waits for the end of the child, and kills it after the deadline.
fn wait(child: Pid) -> WaitStatus {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)).unwrap() {
            WaitStatus::StillAlive if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            WaitStatus::StillAlive => {
                kill(child, Signal::SIGKILL).unwrap();
                return waitpid(child, None).unwrap();
            }
            ended => return ended,
        }
    }
}
