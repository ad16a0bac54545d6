//! The processes of the ranks, from the start of the first one to the end of the last one.

use std::io::Write;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use super::listing::{Listed, processes};
use crate::failure::{Failure, print_message};
use crate::signals::{Event, Signals, is_ignored};

/// The time that the kernel may need to end a process after SIGKILL.
const KILL_TIME: Duration = Duration::from_secs(10);

/// The processes of the ranks, in the order of the ranks.
///
/// A rank that has ended stays in the kernel's table until all ranks have ended. Until then no other process group can get its
/// number, so a signal to the group reaches only processes that the rank has started.
pub(super) struct Processes {
    all: Vec<Process>,
    signals: Signals,
    grace: Duration,
}

struct Process {
    child: Child,
    end: Option<End>,
    /// Whether a process of the rank's group, the rank included, was running at the last check.
    is_running: bool,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Exited(i32),
    Killed(Signal),
}

impl End {
    /// Returns the exit status that a shell gives for this end.
    fn status(self) -> u8 {
        match self {
            Self::Exited(code) => u8::try_from(code).unwrap_or(1),
            Self::Killed(signal) => u8::try_from(signal as i32).map_or(1, |number| 128 + number),
        }
    }

    /// Whether one of these signals ended the process, or the process is a shell that reports that one of them ended
    /// its child.
    fn is_by_any(self, signals: &[Signal]) -> bool {
        match self {
            Self::Exited(code) => signals.iter().any(|&signal| code == 128 + signal as i32),
            Self::Killed(by) => signals.contains(&by),
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Exited(code) => format!("exited with status {code}"),
            Self::Killed(signal) => format!("was killed by {signal}"),
        }
    }
}

fn cannot_watch(errno: nix::errno::Errno) -> Failure {
    Failure::launch(format!("cannot watch the ranks, and ended them: {errno}"))
}

impl Processes {
    /// Starts all ranks. If one rank cannot be started, ends the ranks that run.
    pub(super) fn start(commands: impl Iterator<Item = Command>, grace: Duration) -> Result<Self, Failure> {
        if is_ignored(Signal::SIGCHLD) {
            return Err(Failure::launch(
                "SIGCHLD is ignored because the program that started nearfab ignores it, so nearfab cannot see the end of a rank: \
                 start it as env --default-signal=CHLD nearfab run ...",
            ));
        }
        let signals = Signals::block().map_err(cannot_watch)?;
        // The processes that a rank leaves behind become children of nearfab: only a parent can see their end.
        set_child_subreaper(true).map_err(cannot_watch)?;
        let mut processes = Self { all: Vec::new(), signals, grace };
        for mut command in commands {
            let rank = processes.all.len();
            match command.spawn() {
                Ok(child) => processes.all.push(Process { child, end: None, is_running: true }),
                Err(error) => return Err(Failure::launch(format!("cannot start rank {rank}: {error}"))),
            }
        }
        Ok(processes)
    }

    /// Waits until all ranks have ended, and ends all if one fails; returns the exit status of nearfab.
    pub(super) fn supervise(mut self, err: &mut dyn Write) -> Result<u8, Failure> {
        // The signals to nearfab that ask the ranks to end: a rank that such a signal ends has not failed.
        let mut requests = Vec::new();
        let mut status = None;
        loop {
            let not_ok: Vec<(usize, End)> =
                self.check()?.into_iter().filter(|(_, end)| *end != End::Exited(0)).collect();
            let failed: Vec<(usize, End)> =
                not_ok.iter().copied().filter(|(_, end)| !end.is_by_any(&requests)).collect();
            if let Some((_, first)) = failed.first() {
                for (rank, end) in &failed {
                    let pid = self.all[*rank].child.id();
                    print_message(err, &format!("rank {rank} (process {pid}) {}", end.describe()));
                }
                self.end_all(err)?;
                return Ok(first.status());
            }
            status = status.or(not_ok.first().map(|(_, end)| end.status()));
            if self.running_ranks() == 0 {
                self.end_groups(&requests, err)?;
                return Ok(status.unwrap_or(0));
            }
            if let Event::Forward(signal) = self.signals.wait(None).map_err(cannot_watch)? {
                // Each program defines SIGUSR1 and SIGUSR2 for itself: these signals are no request to end.
                if !matches!(signal, Signal::SIGUSR1 | Signal::SIGUSR2) {
                    requests.push(signal);
                }
                self.signal(signal);
            }
        }
    }

    /// Ends the processes that the ranks left behind, after all ranks have ended.
    ///
    /// After SIGTERM, waits without a limit: the sender of SIGTERM decides how long to wait. After another request,
    /// waits for the grace period and then ends the processes. Without a request, ends the processes at once.
    fn end_groups(&mut self, requests: &[Signal], err: &mut dyn Write) -> Result<(), Failure> {
        if requests.contains(&Signal::SIGTERM) {
            self.wait_until(None)?;
        } else if requests.is_empty() || !self.wait_until(Some(Instant::now() + self.grace))? {
            self.end_all(err)?;
        }
        Ok(())
    }

    /// Sends SIGTERM to all ranks and to the processes that they started, and SIGKILL after the grace period.
    fn end_all(&mut self, err: &mut dyn Write) -> Result<(), Failure> {
        let others = self.running_ranks();
        if others > 0 {
            print_message(err, &format!("ending the other ranks: {others} are running"));
        }
        self.signal(Signal::SIGTERM);
        if self.wait_until(Some(Instant::now() + self.grace))? {
            return Ok(());
        }
        let late: Vec<String> = self.running_groups().map(|(rank, _)| rank.to_string()).collect();
        let grace = self.grace.as_secs();
        print_message(err, &format!("killing rank {}: still running {grace} s after SIGTERM", late.join(", ")));
        self.signal(Signal::SIGKILL);
        if !self.wait_until(Some(Instant::now() + KILL_TIME))? {
            for (rank, process) in self.running_groups() {
                let pid = process.child.id();
                print_message(
                    err,
                    &format!(
                        "rank {rank} (process group {pid}) did not end after SIGKILL: it waits in the kernel, perhaps for a device"
                    ),
                );
            }
        }
        Ok(())
    }

    /// Waits until no process of a rank is running; returns false at the deadline. Passes signals on while it waits.
    fn wait_until(&mut self, deadline: Option<Instant>) -> Result<bool, Failure> {
        loop {
            self.check()?;
            if self.running_groups().next().is_none() {
                return Ok(true);
            }
            match self.signals.wait(deadline).map_err(cannot_watch)? {
                Event::Forward(signal) => self.signal(signal),
                Event::Child => {}
                Event::Deadline => return Ok(false),
            }
        }
    }

    /// Returns the ranks that have ended since the last check, and how they ended.
    fn check(&mut self) -> Result<Vec<(usize, End)>, Failure> {
        let mut ended = Vec::new();
        for (rank, process) in self.all.iter_mut().enumerate().filter(|(_, process)| process.end.is_none()) {
            process.end = process.ended().map_err(cannot_watch)?;
            ended.extend(process.end.map(|end| (rank, end)));
        }
        self.check_groups();
        Ok(ended)
    }

    /// Updates which process groups are running, and removes the ended processes that ranks left behind from the kernel's table.
    fn check_groups(&mut self) {
        let listed = processes();
        let is_rank = |pid: Pid| self.all.iter().any(|process| process.pid() == pid);
        for orphan in
            listed.iter().filter(|other| other.has_ended && other.parent == Pid::this() && !is_rank(other.pid))
        {
            // Only the exit status of a rank counts, and this process is not a rank.
            let _ = waitpid(orphan.pid, Some(WaitPidFlag::WNOHANG));
        }
        for process in &mut self.all {
            let is_in_group = |other: &Listed| other.group == process.pid() && !other.has_ended;
            process.is_running = process.end.is_none() || listed.iter().any(is_in_group);
        }
    }

    fn running_ranks(&self) -> usize {
        self.all.iter().filter(|process| process.end.is_none()).count()
    }

    fn running_groups(&self) -> impl Iterator<Item = (usize, &Process)> {
        self.all.iter().enumerate().filter(|(_, process)| process.is_running)
    }

    /// Sends a signal to the process group of each rank, also if the rank itself has ended.
    fn signal(&self, signal: Signal) {
        for process in &self.all {
            // An empty group is no error: all of its processes have ended.
            let _ = killpg(process.pid(), signal);
        }
    }
}

/// Kills all ranks, so that no rank outlives nearfab, also after an error.
impl Drop for Processes {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        for process in &mut self.all {
            // Removes a rank that has ended from the kernel's table, and does not wait for one that does not end.
            let _ = process.child.try_wait();
        }
    }
}

impl Process {
    fn pid(&self) -> Pid {
        // Linux numbers processes up to 2^22, so the conversion never fails.
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    /// Returns how the process ended, or `None` while it runs. Leaves the process in the kernel's table.
    fn ended(&self) -> nix::Result<Option<End>> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        Ok(match waitid(Id::Pid(self.pid()), flags)? {
            WaitStatus::Exited(_, code) => Some(End::Exited(code)),
            WaitStatus::Signaled(_, signal, _) => Some(End::Killed(signal)),
            _ => None,
        })
    }
}
