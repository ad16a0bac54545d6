//! Forked children, for tests of what they may do.

use std::panic::{self, AssertUnwindSafe};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

/// What hangs in a child hangs for ever: on a lock that a thread held which the child does not have.
const DEADLINE: Duration = Duration::from_secs(20);

/// Forks, and fails unless the child succeeds before the deadline.
pub(crate) fn in_a_child(succeeds: impl FnOnce() -> bool) {
    // SAFETY: the child takes no lock that another thread may hold, but the allocator's, which fork leaves free, and what
    // is under test.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => assert_eq!(wait(child), WaitStatus::Exited(child, 0)),
        ForkResult::Child => {
            // A panic must not bring the child back into the test harness.
            let succeeded = panic::catch_unwind(AssertUnwindSafe(succeeds)).unwrap_or(false);
            // SAFETY: ends the process, without the exit handlers of the test harness.
            unsafe { libc::_exit(i32::from(!succeeded)) }
        }
    }
}

/// How the child ends: after the deadline, by a signal.
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
