//! Ranks: their commands, their CPUs and cores, and their end.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod binding;
mod ending;
mod planned;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "these tests compare no output with files")]
mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nearfab::instances::InstanceTable;
use nearfab_emu::Defect;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) const NEARFAB: &str = env!("CARGO_BIN_EXE_nearfab");

/// Returns a command that starts nearfab without the variables and ignored signals of the launcher of the tests.
pub(crate) fn nearfab() -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal", NEARFAB]);
    for name in ["LOCAL_RANK", "LOCAL_WORLD_SIZE", "NEURON_RT_VISIBLE_CORES", "FI_PROVIDER"] {
        command.env_remove(name);
    }
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn stdout(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{command:?}: {}", text(&stderr));
    text(&stdout)
}

/// Returns an emulated host. The host has thousands of small files, which are in memory if the system has a folder in
/// memory.
pub(crate) fn tree(instance_type: &str) -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
    let table = InstanceTable::find(instance_type).unwrap();
    let small = Some(Defect::NoCoreStatistics).filter(|small| small.applies(table));
    nearfab_emu::write_tree_with(table, small.as_slice(), dir.path()).unwrap();
    dir
}

/// Returns an emulated host with two NUMA nodes, which have the CPUs 0 and 1 of this machine. Returns `None`, and prints a line, if
/// the tests may not use both CPUs.
pub(crate) fn two_nodes(bed: &str, instance_type: &str) -> Option<tempfile::TempDir> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    if !(0..2).all(|cpu| set.is_set(cpu).unwrap()) || CpuSet::count() < 2 {
        nearfab_emu::skipped(bed, "the tests may not use the CPUs 0 and 1");
        return None;
    }
    let tree = tree(instance_type);
    let system = tree.path().join("sys/devices/system");
    write(&system.join("cpu/online"), "0-1");
    for cpu in ["0", "1"] {
        write(&system.join(format!("node/node{cpu}/cpulist")), cpu);
        write(&system.join(format!("cpu/cpu{cpu}/topology/thread_siblings_list")), cpu);
    }
    Some(tree)
}

fn write(file: &Path, text: &str) {
    fs::remove_file(file).unwrap(); // The file may be read-only.
    fs::write(file, format!("{text}\n")).unwrap();
}

/// A process whose output is read line by line.
pub(crate) struct RunningProcess {
    pub(crate) child: Child,
    lines: BufReader<std::process::ChildStdout>,
    _watched: mpsc::Sender<()>,
}

/// The longest time of a process that does not hang. If a process takes longer, the test kills the process and fails.
const TIME_LIMIT: Duration = Duration::from_secs(120);

impl RunningProcess {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let (watched, watch) = mpsc::channel();
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        thread::spawn(move || {
            if watch.recv_timeout(TIME_LIMIT) == Err(RecvTimeoutError::Timeout) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
        Self { child, lines, _watched: watched }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Returns the next lines, sorted.
    pub(crate) fn lines(&mut self, count: usize) -> Vec<String> {
        let mut lines: Vec<String> = (0..count)
            .map(|_| {
                let mut line = String::new();
                assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "the process ended before it wrote all lines");
                line.trim_end().to_owned()
            })
            .collect();
        lines.sort_unstable();
        lines
    }

    /// Waits until all processes that can write to the output of this process have ended; returns the exit status and
    /// the standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.lines, &mut rest).unwrap();
        let output = self.child.wait_with_output().unwrap();
        (output.status.code(), text(&output.stderr))
    }
}
