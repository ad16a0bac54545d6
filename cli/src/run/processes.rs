//! The processes of the ranks, from their start to the end of the last one.

use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::signals::{Event, Signals};
use crate::{Failure, complain};

/// How long the kernel may take to end what was killed.
const KILLED: Duration = Duration::from_secs(10);

/// The ranks' processes, in the order of their ranks. Those that ended stay in the kernel's table until all have ended: so long
/// no other process group can get their numbers, and a signal for what one left behind reaches nobody else.
pub(super) struct Processes {
    all: Vec<Process>,
    signals: Signals,
    grace: Duration,
}

struct Process {
    child: Child,
    end: Option<End>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Exited(i32),
    Killed(Signal),
}

impl End {
    /// As a shell has it.
    fn status(self) -> u8 {
        match self {
            Self::Exited(code) => u8::try_from(code).unwrap_or(1),
            Self::Killed(signal) => u8::try_from(signal as i32).map_or(1, |number| 128 + number),
        }
    }

    fn told(self) -> String {
        match self {
            Self::Exited(code) => format!("exited with status {code}"),
            Self::Killed(signal) => format!("was killed by {signal}"),
        }
    }
}

fn unwatched(errno: nix::errno::Errno) -> Failure {
    Failure::launch(format!("the ranks cannot be watched, and were ended: {errno}"))
}

impl Processes {
    /// Starts them all, or none that stays.
    pub(super) fn start(commands: impl Iterator<Item = Command>, grace: Duration) -> Result<Self, Failure> {
        let signals = Signals::take().map_err(unwatched)?;
        let mut processes = Self { all: Vec::new(), signals, grace };
        for mut command in commands {
            let rank = processes.all.len();
            match command.spawn() {
                Ok(child) => processes.all.push(Process { child, end: None }),
                Err(error) => return Err(Failure::launch(format!("rank {rank} cannot be started: {error}"))),
            }
        }
        Ok(processes)
    }

    /// Waits for all to end, which one that fails brings about.
    pub(super) fn supervise(mut self) -> Result<ExitCode, Failure> {
        let mut asked_to_end = false;
        loop {
            let ended = self.look()?;
            let failed: Vec<usize> =
                ended.into_iter().filter(|&rank| self.all[rank].end != Some(End::Exited(0))).collect();
            if let (Some(&first), false) = (failed.first(), asked_to_end) {
                failed.iter().for_each(|&rank| complain(&self.all[rank].told(rank)));
                self.end()?;
                return Ok(self.all[first].end.map_or(1, End::status).into());
            }
            if self.running().next().is_none() {
                let bad = self.all.iter().filter_map(|process| process.end).find(|end| *end != End::Exited(0));
                return Ok(bad.map_or(0, End::status).into());
            }
            match self.signals.wait(None).map_err(unwatched)? {
                Event::Forward(signal) => {
                    // Who asked for the end decides how long it may take.
                    asked_to_end |= !matches!(signal, Signal::SIGUSR1 | Signal::SIGUSR2);
                    self.signal(signal);
                }
                Event::Child | Event::Deadline => {}
            }
        }
    }

    /// Ends those that run, and what any of them left behind.
    fn end(&mut self) -> Result<(), Failure> {
        let ended = self.ask_to_end();
        self.signal(Signal::SIGKILL);
        ended
    }

    /// Asks them, and after the grace period does not ask.
    fn ask_to_end(&mut self) -> Result<(), Failure> {
        let others = self.running().count();
        if others > 0 {
            complain(&format!("ending the other ranks, of which {others} run"));
        }
        self.signal(Signal::SIGTERM);
        if self.wait_until(Instant::now() + self.grace)? {
            return Ok(());
        }
        let late: Vec<String> = self.running().map(|rank| rank.to_string()).collect();
        let grace = self.grace.as_secs();
        complain(&format!("not ended {grace} s after SIGTERM, and killed: rank {}", late.join(", ")));
        self.signal(Signal::SIGKILL);
        if !self.wait_until(Instant::now() + KILLED)? {
            for rank in self.running() {
                let pid = self.all[rank].child.id();
                complain(&format!(
                    "rank {rank} (process {pid}) does not end: it waits in the kernel, for a device maybe"
                ));
            }
        }
        Ok(())
    }

    /// Whether all had ended before the deadline. Signals go on to them meanwhile.
    fn wait_until(&mut self, deadline: Instant) -> Result<bool, Failure> {
        loop {
            self.look()?;
            if self.running().next().is_none() {
                return Ok(true);
            }
            match self.signals.wait(Some(deadline)).map_err(unwatched)? {
                Event::Forward(signal) => self.signal(signal),
                Event::Child => {}
                Event::Deadline => return Ok(false),
            }
        }
    }

    /// Which have ended since the last look.
    fn look(&mut self) -> Result<Vec<usize>, Failure> {
        let mut ended = Vec::new();
        for (rank, process) in self.all.iter_mut().enumerate().filter(|(_, process)| process.end.is_none()) {
            process.end = process.ended().map_err(unwatched)?;
            ended.extend(process.end.map(|_| rank));
        }
        Ok(ended)
    }

    fn running(&self) -> impl Iterator<Item = usize> {
        self.all.iter().enumerate().filter(|(_, process)| process.end.is_none()).map(|(rank, _)| rank)
    }

    /// To every rank and what it started, also where the rank itself has ended.
    fn signal(&self, signal: Signal) {
        for process in &self.all {
            // That nobody is left is as good.
            let _ = killpg(process.pid(), signal);
        }
    }
}

/// Whatever way this ends, no rank is left. What one left behind that ended well is asked to end: it may be about to.
impl Drop for Processes {
    fn drop(&mut self) {
        self.signal(if self.running().next().is_none() { Signal::SIGTERM } else { Signal::SIGKILL });
        for process in &mut self.all {
            // Takes those that ended out of the kernel's table; one that does not end is not waited for.
            let _ = process.child.try_wait();
        }
    }
}

impl Process {
    fn pid(&self) -> Pid {
        // Numbers of processes are far below.
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    /// How it ended, if it has, without taking it out of the kernel's table.
    fn ended(&self) -> nix::Result<Option<End>> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        Ok(match waitid(Id::Pid(self.pid()), flags)? {
            WaitStatus::Exited(_, code) => Some(End::Exited(code)),
            WaitStatus::Signaled(_, signal, _) => Some(End::Killed(signal)),
            _ => None,
        })
    }

    fn told(&self, rank: usize) -> String {
        let how = self.end.map_or_else(String::new, End::told);
        format!("rank {rank} (process {}) {how}", self.child.id())
    }
}
