//! Questions that may wait for ever, asked in a forked child with a deadline.

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

/// What a child said.
#[derive(Debug)]
pub(in crate::live) enum Said {
    /// What it wrote before it ended, by itself or not.
    This {
        /// Its number, as this process sees it.
        pid: Pid,
        /// What it wrote.
        bytes: Vec<u8>,
    },
    /// It was killed, because the deadline had passed.
    TooLate,
}

/// Forks a child that writes to the pipe it is given, and collects that until it is whole. The end of the pipe tells less: a child
/// that another thread forks meanwhile has it open too, for as long as it lives.
///
/// # Safety
///
/// The process may have other threads, of which the child has none: `ask` makes system calls on memory that was there
/// before, and does not allocate, take locks, or call what may.
pub(in crate::live) unsafe fn ask_in_child(
    deadline: Duration,
    ask: impl FnOnce(&mut File) -> io::Result<()>,
    is_whole: impl Fn(&[u8]) -> bool,
) -> io::Result<Said> {
    let end = Instant::now().checked_add(deadline); // What is later than any clock can show never comes.
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    let (mut reader, mut writer) = (File::from(reader), File::from(writer));
    // SAFETY: what the child does is system calls, and `ask`, for which the caller vouches.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let exit = Exit;
            // Nobody would kill it later.
            let _ = set_pdeathsig(Signal::SIGKILL);
            // Whoever asked sees from what is missing that it failed.
            let _ = ask(&mut writer);
            drop(exit);
            unreachable!("the process has ended");
        }
        ForkResult::Parent { child } => {
            drop(writer);
            let said = collect(&mut reader, end, is_whole);
            if let Ok(Some(bytes)) = said {
                reap(child);
                return Ok(Said::This { pid: child, bytes });
            }
            let _ = kill(child, Signal::SIGKILL); // Fails if it has ended just now.
            // A killed process can still have to wait for the device to let go of it.
            let reaper = thread::Builder::new().name("nearfab-reaper".to_owned());
            if let Err(error) = reaper.spawn(move || reap(child)) {
                tracing::warn!(%child, %error, "a killed child stays unreaped");
            }
            said.map(|_| Said::TooLate)
        }
    }
}

/// What is whole, or everything up to the end of the pipe; `None` if neither comes in time.
fn collect(pipe: &mut File, end: Option<Instant>, is_whole: impl Fn(&[u8]) -> bool) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 1 << 16]; // As much as a pipe holds.
    loop {
        let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
        // Rounded up, not to spin through the last millisecond.
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

/// Takes note of the child's end. A program that waits for all its children may have done so before.
fn reap(child: Pid) {
    while waitpid(child, None) == Err(Errno::EINTR) {}
}

/// Ends the child wherever it is dropped, also while a panic unwinds: what the parent has on its stack and at its exit is
/// not for the child to run.
struct Exit;

impl Drop for Exit {
    fn drop(&mut self) {
        // SAFETY: ends the process, and runs nothing of it.
        unsafe { libc::_exit(0) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_child_says_more_than_a_pipe_holds() {
        let text = vec![7; 1 << 20];
        // SAFETY: writes memory that is there.
        let said = unsafe { ask_in_child(Duration::MAX, |out| out.write_all(&text), |_| false) }.unwrap();
        let Said::This { pid, bytes } = said else { panic!("too late") };
        assert_eq!(bytes, text);
        assert_eq!(waitpid(pid, None), Err(Errno::ECHILD), "it was reaped");
    }

    /// As one that another thread forked between the making of the pipe and its closing.
    #[test]
    fn who_else_has_the_pipe_open_is_not_waited_for() {
        let (mut reader, mut writer) = std::io::pipe().map(|(a, b)| (File::from(OwnedFd::from(a)), b)).unwrap();
        for length in [3, 1 << 16] {
            writer.write_all(&vec![7; length]).unwrap();
            let end = Instant::now().checked_add(Duration::from_secs(60));
            let whole = collect(&mut reader, end, |bytes| bytes.len() == length).unwrap();
            assert_eq!(whole.map(|bytes| bytes.len()), Some(length));
        }
    }

    #[test]
    fn a_child_that_ends_early_is_no_hang() {
        // SAFETY: does nothing.
        let said = unsafe { ask_in_child(Duration::from_secs(60), |_| Err(Errno::EIO.into()), |_| false) }.unwrap();
        assert!(matches!(said, Said::This { bytes, .. } if bytes.is_empty()));
    }

    #[test]
    fn a_child_that_is_late_is_killed() {
        let (mut named, mut name) = std::io::pipe().unwrap();
        let start = Instant::now();
        // SAFETY: both are system calls.
        let said = unsafe {
            let ask = |_: &mut File| {
                name.write_all(&nix::unistd::getpid().as_raw().to_ne_bytes())?;
                loop {
                    nix::unistd::pause();
                }
            };
            ask_in_child(Duration::from_millis(100), ask, |_| false)
        };
        assert!(matches!(said.unwrap(), Said::TooLate));
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
