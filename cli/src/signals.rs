//! Signals as something to wait for.

use std::fs;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// What goes on to the ranks: what asks a process to end, and what it gives a meaning of its own.
const FORWARDED: [Signal; 6] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// Whether whoever started this process made it ignore this signal, as nohup does, and a shell for what it starts with `&`.
pub(crate) fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal as i32 - 1)) != 0)
}

/// What is taken. What is ignored stays so, in the ranks too.
fn taken() -> SigSet {
    FORWARDED.into_iter().filter(|&signal| !is_ignored(signal)).chain([Signal::SIGCHLD]).collect()
}

/// Lets signals come again in a process that one which took them has started.
pub(crate) fn release() -> nix::Result<()> {
    taken().thread_unblock()
}

/// Signals that come to this process do nothing but wake who waits here.
pub(crate) struct Signals {
    descriptor: SignalFd,
}

/// What there was to wait for.
pub(crate) enum Event {
    /// A child ended, or did something else.
    Child,
    /// Something that goes on to the ranks.
    Forward(Signal),
    /// Nothing, until the deadline.
    Deadline,
}

impl Signals {
    pub(crate) fn take() -> nix::Result<Self> {
        let set = taken();
        set.thread_block()?;
        let descriptor = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { descriptor })
    }

    /// Waits for the next one.
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
            // Rounded up, so that the deadline has come when it is over.
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
