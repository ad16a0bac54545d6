//! Runs calls that may block for ever in a forked child, with a deadline.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, pipe2};

/// The output of a child.
#[derive(Debug)]
pub(in crate::live) enum ChildOutput {
    /// The child wrote these bytes: all of its output, or everything up to its end.
    Bytes {
        /// The child's PID in this process's PID namespace.
        pid: Pid,
        /// The bytes that the child wrote.
        bytes: Vec<u8>,
    },
    /// The deadline passed, and the child was killed.
    TimedOut,
}

/// Forks a child that runs `run`, which writes to a pipe, and reads the pipe until `is_whole` accepts the bytes.
/// Waiting for the end of the pipe would not be enough: a child that another thread forks at the same time keeps the
/// pipe open until that child ends.
///
/// # Safety
///
/// `run` makes only system calls on memory that exists before the fork. `run` neither allocates nor takes locks, and
/// calls no function that may do so: the process may have other threads, which do not exist in the child and may hold
/// any lock there.
pub(in crate::live) unsafe fn run_in_child(
    deadline: Duration,
    run: impl FnOnce(&mut File) -> io::Result<()>,
    is_whole: impl Fn(&[u8]) -> bool,
) -> io::Result<ChildOutput> {
    let end = Instant::now().checked_add(deadline); // `None`: later than the clock can show.
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    let (mut reader, mut writer) = (File::from(reader), File::from(writer));
    // SAFETY: until the child exits, it makes the system calls below and calls `run`. The system calls neither allocate
    // nor take locks, and the caller promises the same for `run`.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let exit = Exit;
            // If the parent ends, nothing else would kill a child that blocks.
            let _ = set_pdeathsig(Signal::SIGKILL);
            // The parent recognizes a failure by the missing bytes.
            let _ = run(&mut writer);
            drop(exit);
            unreachable!("the process has ended");
        }
        ForkResult::Parent { child } => {
            drop(writer);
            let output = collect(&mut reader, end, is_whole);
            if let Ok(Some(bytes)) = output {
                reap(child);
                return Ok(ChildOutput::Bytes { pid: child, bytes });
            }
            let _ = kill(child, Signal::SIGKILL); // Fails if the child has ended just now.
            // A killed process can stay blocked in the driver for a while.
            let reaper = thread::Builder::new().name("nearfab-reaper".to_owned());
            if let Err(error) = reaper.spawn(move || reap(child)) {
                tracing::warn!(%child, %error, "a killed child process is not reaped");
            }
            output.map(|_| ChildOutput::TimedOut)
        }
    }
}

/// Reads until `is_whole` accepts the bytes or the pipe ends; `None` if `end` comes first.
fn collect(pipe: &mut File, end: Option<Instant>, is_whole: impl Fn(&[u8]) -> bool) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 1 << 16]; // The capacity of a pipe.
    loop {
        let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
        // Rounded up: otherwise the last millisecond would be spent in a busy loop.
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout) {
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
            Ok(0) if left.is_zero() => return Ok(None),
            Ok(0) => continue,
            Ok(_) => {}
        }
        let count = pipe.read(&mut chunk)?;
        bytes.extend_from_slice(&chunk[..count]);
        if count == 0 || is_whole(&bytes) {
            return Ok(Some(bytes));
        }
    }
}

/// Waits for the child's end. A program that waits for all of its children may have reaped this child before.
fn reap(child: Pid) {
    while waitpid(child, None) == Err(Errno::EINTR) {}
}

/// Exits the child when it is dropped, even while a panic unwinds. The child must run neither the destructors on the
/// parent's stack nor the parent's exit handlers.
struct Exit;

impl Drop for Exit {
    fn drop(&mut self) {
        // SAFETY: the function takes any status, ends the process, and runs no exit handler.
        unsafe { libc::_exit(0) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_child_can_write_more_than_a_pipe_holds() {
        let text = vec![7; 1 << 20];
        // SAFETY: `write_all` makes system calls on memory that exists before the fork.
        let output = unsafe { run_in_child(Duration::MAX, |out| out.write_all(&text), |_| false) }.unwrap();
        let ChildOutput::Bytes { pid, bytes } = output else { panic!("timed out") };
        assert_eq!(bytes, text);
        assert_eq!(waitpid(pid, None), Err(Errno::ECHILD), "it was reaped");
    }

    /// A child that another thread forks while the pipe is open keeps the pipe open.
    #[test]
    fn output_is_read_without_waiting_for_other_holders_of_the_pipe() {
        let (mut reader, mut writer) = std::io::pipe().map(|(a, b)| (File::from(OwnedFd::from(a)), b)).unwrap();
        for length in [3, 1 << 16] {
            writer.write_all(&vec![7; length]).unwrap();
            let end = Instant::now().checked_add(Duration::from_secs(60));
            let whole = collect(&mut reader, end, |bytes| bytes.len() == length).unwrap();
            assert_eq!(whole.map(|bytes| bytes.len()), Some(length));
        }
    }

    #[test]
    fn a_child_that_ends_early_does_not_block_the_parent() {
        // SAFETY: the closure makes no call.
        let output = unsafe { run_in_child(Duration::from_secs(60), |_| Err(Errno::EIO.into()), |_| false) }.unwrap();
        assert!(matches!(output, ChildOutput::Bytes { bytes, .. } if bytes.is_empty()));
    }

    #[test]
    fn a_child_that_is_late_is_killed() {
        let (mut named, mut name) = std::io::pipe().unwrap();
        let start = Instant::now();
        // SAFETY: `write_all`, `getpid` and `pause` are system calls, on memory that exists before the fork.
        let output = unsafe {
            let run = |_: &mut File| {
                name.write_all(&nix::unistd::getpid().as_raw().to_ne_bytes())?;
                loop {
                    nix::unistd::pause();
                }
            };
            run_in_child(Duration::from_millis(100), run, |_| false)
        };
        assert!(matches!(output.unwrap(), ChildOutput::TimedOut));
        assert!(start.elapsed() >= Duration::from_millis(100));
        let mut pid = [0; 4];
        named.read_exact(&mut pid).unwrap();

        let pid = Pid::from_raw(i32::from_ne_bytes(pid));
        let give_up = Instant::now() + Duration::from_secs(60);
        while kill(pid, None).is_ok() {
            assert!(Instant::now() < give_up, "{pid} lives");
            thread::yield_now();
        }
    }
}
