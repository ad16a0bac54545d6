//! The processes of the ranks, from their start to the end of the last one.

use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use super::listing::{Listed, processes};
use crate::failure::{Failure, complain};
use crate::signals::{Event, Signals, is_ignored};

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
    /// Whether it or somebody in its process group had not ended at the last look.
    is_left: bool,
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

    /// Whether it is what these signals bring about, in a process that does not handle them or a shell that tells of one.
    fn is_by_any(self, signals: &[Signal]) -> bool {
        match self {
            Self::Exited(code) => signals.iter().any(|&signal| code == 128 + signal as i32),
            Self::Killed(by) => signals.contains(&by),
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
        if is_ignored(Signal::SIGCHLD) {
            return Err(Failure::launch(
                "whoever started nearfab made it ignore SIGCHLD, so that the kernel tells of no rank's end: start it as env \
                 --default-signal=CHLD nearfab run ...",
            ));
        }
        let signals = Signals::take().map_err(unwatched)?;
        // Of what ranks leave behind the kernel tells only who has become its parent.
        set_child_subreaper(true).map_err(unwatched)?;
        let mut processes = Self { all: Vec::new(), signals, grace };
        for mut command in commands {
            let rank = processes.all.len();
            match command.spawn() {
                Ok(child) => processes.all.push(Process { child, end: None, is_left: true }),
                Err(error) => return Err(Failure::launch(format!("rank {rank} cannot be started: {error}"))),
            }
        }
        Ok(processes)
    }

    /// Waits for all to end, which one that fails brings about.
    pub(super) fn supervise(mut self) -> Result<ExitCode, Failure> {
        let mut asked = Vec::new();
        let mut status = None;
        loop {
            let bad: Vec<(usize, End)> = self.look()?.into_iter().filter(|(_, end)| *end != End::Exited(0)).collect();
            let failed: Vec<(usize, End)> = bad.iter().copied().filter(|(_, end)| !end.is_by_any(&asked)).collect();
            if let Some((_, first)) = failed.first() {
                for (rank, end) in &failed {
                    let pid = self.all[*rank].child.id();
                    complain(&format!("rank {rank} (process {pid}) {}", end.told()));
                }
                self.end()?;
                return Ok(first.status().into());
            }
            status = status.or(bad.first().map(|(_, end)| end.status()));
            if self.running() == 0 {
                self.end_what_is_left(&asked)?;
                return Ok(status.unwrap_or(0).into());
            }
            if let Event::Forward(signal) = self.signals.wait(None).map_err(unwatched)? {
                // The others mean what the ranks take them to mean.
                if !matches!(signal, Signal::SIGUSR1 | Signal::SIGUSR2) {
                    asked.push(signal);
                }
                self.signal(signal);
            }
        }
    }

    /// What ranks left behind that have all ended. Who asked for the end decides how long it may take.
    fn end_what_is_left(&mut self, asked: &[Signal]) -> Result<(), Failure> {
        if asked.contains(&Signal::SIGTERM) {
            self.wait_until(None)?;
        } else if asked.is_empty() || !self.wait_until(Some(Instant::now() + self.grace))? {
            self.end()?;
        }
        Ok(())
    }

    /// Asks those that run, and what any of them left behind, and after the grace period does not ask.
    fn end(&mut self) -> Result<(), Failure> {
        let others = self.running();
        if others > 0 {
            complain(&format!("ending the other ranks, of which {others} run"));
        }
        self.signal(Signal::SIGTERM);
        if self.wait_until(Some(Instant::now() + self.grace))? {
            return Ok(());
        }
        let late: Vec<String> = self.left().map(|(rank, _)| rank.to_string()).collect();
        let grace = self.grace.as_secs();
        complain(&format!("not ended {grace} s after SIGTERM, and killed: rank {}", late.join(", ")));
        self.signal(Signal::SIGKILL);
        if !self.wait_until(Some(Instant::now() + KILLED))? {
            for (rank, process) in self.left() {
                let pid = process.child.id();
                complain(&format!(
                    "rank {rank} (process group {pid}) does not end: it waits in the kernel, for a device maybe"
                ));
            }
        }
        Ok(())
    }

    /// Whether nothing was left before the deadline. Signals go on meanwhile.
    fn wait_until(&mut self, deadline: Option<Instant>) -> Result<bool, Failure> {
        loop {
            self.look()?;
            if self.left().next().is_none() {
                return Ok(true);
            }
            match self.signals.wait(deadline).map_err(unwatched)? {
                Event::Forward(signal) => self.signal(signal),
                Event::Child => {}
                Event::Deadline => return Ok(false),
            }
        }
    }

    /// Which ranks have ended since the last look, and how.
    fn look(&mut self) -> Result<Vec<(usize, End)>, Failure> {
        let mut ended = Vec::new();
        for (rank, process) in self.all.iter_mut().enumerate().filter(|(_, process)| process.end.is_none()) {
            process.end = process.ended().map_err(unwatched)?;
            ended.extend(process.end.map(|end| (rank, end)));
        }
        self.look_at_groups();
        Ok(ended)
    }

    /// Also takes what ranks left behind out of the kernel's table when it has ended.
    fn look_at_groups(&mut self) {
        let listed = processes();
        let is_rank = |pid: Pid| self.all.iter().any(|process| process.pid() == pid);
        for orphan in
            listed.iter().filter(|other| other.has_ended && other.parent == Pid::this() && !is_rank(other.pid))
        {
            // Nobody asks how it ended.
            let _ = waitpid(orphan.pid, Some(WaitPidFlag::WNOHANG));
        }
        for process in &mut self.all {
            let is_in_group = |other: &Listed| other.group == process.pid() && !other.has_ended;
            process.is_left = process.end.is_none() || listed.iter().any(is_in_group);
        }
    }

    fn running(&self) -> usize {
        self.all.iter().filter(|process| process.end.is_none()).count()
    }

    fn left(&self) -> impl Iterator<Item = (usize, &Process)> {
        self.all.iter().enumerate().filter(|(_, process)| process.is_left)
    }

    /// To every rank and what it started, also where the rank itself has ended.
    fn signal(&self, signal: Signal) {
        for process in &self.all {
            // That nobody is left is as good.
            let _ = killpg(process.pid(), signal);
        }
    }
}

/// Whatever way this ends, no rank is left.
impl Drop for Processes {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
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
}
