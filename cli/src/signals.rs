//! The signals that `nearfab run` waits for.

use std::fs;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The signals that nearfab passes on to the ranks: requests to end, and the two signals that each program defines for itself.
const FORWARDED: [Signal; 6] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// Returns whether this process ignores the signal. A process inherits ignored signals from its parent: nohup ignores
/// SIGHUP, and a shell ignores SIGINT for commands that the shell starts with `&`.
pub(crate) fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal as i32 - 1)) != 0)
}

/// Returns the signals to wait for. A signal that is ignored stays ignored, in the ranks too.
fn awaited() -> SigSet {
    FORWARDED.into_iter().filter(|&signal| !is_ignored(signal)).chain([Signal::SIGCHLD]).collect()
}

/// Unblocks the signals in a rank, which inherits the blocked signals from `nearfab run`.
pub(crate) fn release() -> nix::Result<()> {
    awaited().thread_unblock()
}

/// The signals of this process. The signals are blocked, and [`Signals::wait`] receives them.
pub(crate) struct Signals {
    descriptor: SignalFd,
}

/// The end of a wait.
pub(crate) enum Event {
    /// A child ended, stopped or continued.
    Child,
    /// A signal to pass on to the ranks.
    Forward(Signal),
    /// The deadline passed without a signal.
    Deadline,
}

impl Signals {
    pub(crate) fn block() -> nix::Result<Self> {
        let set = awaited();
        set.thread_block()?;
        let descriptor = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { descriptor })
    }

    /// Waits for the next signal.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> nix::Result<Event> {
        loop {
            if let Some(signal) = self.descriptor.read_signal()? {
                let signal = i32::try_from(signal.ssi_signo).ok().and_then(|number| Signal::try_from(number).ok());
                match signal {
                    Some(signal) if FORWARDED.contains(&signal) => return Ok(Event::Forward(signal)),
                    _ => return Ok(Event::Child),
                }
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(Event::Deadline);
            }
            // Rounded up, so that the deadline has passed after the timeout.
            let milliseconds = left.map(|left| left.as_millis().saturating_add(1));
            let timeout =
                milliseconds.map_or(PollTimeout::NONE, |left| PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
            match poll(&mut [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}
