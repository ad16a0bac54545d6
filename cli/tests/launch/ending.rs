//! The end of ranks: their exit status, the end of all if one fails, and the end with nearfab.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{RunningProcess, nearfab, text, two_nodes};

/// Prints the rank, its process and its child, and waits for a signal. The output of the command ends when both processes have ended.
const PRINT_AND_WAIT: &str = "sleep 1000 & echo $LOCAL_RANK $$ $!; wait";

fn ranks(tree: &tempfile::TempDir, options: &[&str], script: &str) -> RunningProcess {
    let mut command = nearfab();
    command.args(["run", "-n", "4", "--root"]).arg(tree.path()).args(options).args(["--", "sh", "-c", script]);
    RunningProcess::start(&mut command)
}

/// Returns the process numbers, which are the second and third word of each line.
fn pids(lines: &[String]) -> Vec<Pid> {
    let numbers = lines.iter().flat_map(|line| line.split(' ').skip(1));
    numbers.map(|number| Pid::from_raw(number.parse().unwrap())).collect()
}

/// Returns whether the process has ended. An ended process may be a zombie whose parent never waits for it.
fn has_ended(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

/// Makes a pipe with a name. A reader that also opens the pipe for writing waits until a line is written or a signal
/// comes.
fn fifo() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    (dir, fifo)
}

fn is_gone(pid: Pid) -> bool {
    kill(pid, None) == Err(Errno::ESRCH)
}

#[test]
fn killed_rank_is_reported_and_the_others_are_ended() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let mut nearfab = ranks(&tree, &[], PRINT_AND_WAIT);
    let pids = pids(&nearfab.lines(4));
    kill(pids[2 * 2], Signal::SIGKILL).unwrap();
    let (status, message) = nearfab.end();
    assert_eq!(status, Some(137), "{message}");
    assert!(message.contains(&format!("rank 2 (process {}) was killed by SIGKILL", pids[4])), "{message}");
    assert!(message.contains("ending the other ranks: 3 are running"), "{message}");
    assert_eq!(message.lines().count(), 2, "the ranks that nearfab ended are not reported: {message}");
    // No zombie is left either: nearfab was the parent, and has ended.
    assert!(pids.iter().step_by(2).all(|&pid| is_gone(pid)), "a rank is running");
}

#[test]
fn exit_status_is_that_of_the_failed_rank() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let nearfab = ranks(&tree, &[], "[ $LOCAL_RANK = 3 ] && exit 9; sleep 1000");
    let (status, message) = nearfab.end();
    assert_eq!(status, Some(9), "{message}");
    assert!(message.contains("exited with status 9"), "{message}");
}

/// The shell ignores SIGTERM, and so do its children.
#[test]
fn ranks_are_killed_after_the_grace_period() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let script = "trap '' TERM; echo $LOCAL_RANK $$; [ $LOCAL_RANK = 1 ] || exec sleep 1000; read line < $WAIT; exit 3";
    let (_dir, fifo) = fifo();
    let mut command = nearfab();
    command.args(["run", "-n", "4", "--grace", "0", "--root"]).arg(tree.path()).args(["--", "sh", "-c", script]);
    let mut nearfab = RunningProcess::start(command.env("WAIT", &fifo));
    let pids = pids(&nearfab.lines(4));
    // Now all ranks ignore SIGTERM.
    std::fs::write(&fifo, "go\n").unwrap();
    let (status, message) = nearfab.end();
    assert_eq!(status, Some(3), "{message}");
    assert!(message.contains("killing rank 0, 2, 3: still running 0 s after SIGTERM"), "{message}");
    assert!(pids.into_iter().all(is_gone));
}

#[test]
fn signals_are_passed_on_to_the_ranks() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let script = "exec 3<>$WAIT; trap 'echo usr' USR1; trap 'echo term; exit 0' TERM; echo $LOCAL_RANK; \
                  while :; do read line <&3; done";
    let (_dir, fifo) = fifo();
    let mut command = nearfab();
    command.args(["run", "-n", "2", "--root"]).arg(tree.path()).args(["--", "sh", "-c", script]);
    let mut nearfab = RunningProcess::start(command.env("WAIT", &fifo));
    assert_eq!(nearfab.lines(2), ["0", "1"]);
    nearfab.signal(Signal::SIGUSR1);
    assert_eq!(nearfab.lines(2), ["usr", "usr"]);
    nearfab.signal(Signal::SIGTERM);
    assert_eq!(nearfab.lines(2), ["term", "term"]);
    // The ranks ended with status 0 after the request.
    assert_eq!(nearfab.end(), (Some(0), String::new()));
}

#[test]
fn ranks_that_end_after_a_signal_to_nearfab_have_not_failed() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let mut nearfab = ranks(&tree, &["--grace", "1"], PRINT_AND_WAIT);
    let pids = pids(&nearfab.lines(4));
    nearfab.signal(Signal::SIGINT);
    let (status, message) = nearfab.end();
    // sleep is a background child of the shell and ignores SIGINT: nearfab sends it SIGTERM after the grace period.
    assert_eq!((status, message.as_str()), (Some(130), ""));
    assert!(pids.into_iter().all(is_gone));
}

/// A signal to nearfab does not hide a later failure of a rank.
#[test]
fn rank_that_is_killed_after_a_signal_to_nearfab_is_reported() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let script = "trap '' HUP; sleep 1000 & trap 'echo hup' HUP; echo $LOCAL_RANK $$; while :; do wait; done";
    let mut nearfab = ranks(&tree, &[], script);
    let pids = pids(&nearfab.lines(4));
    nearfab.signal(Signal::SIGHUP);
    assert_eq!(nearfab.lines(4), ["hup"; 4]);
    kill(pids[1], Signal::SIGKILL).unwrap();
    let (status, message) = nearfab.end();
    assert_eq!(status, Some(137), "{message}");
    assert!(message.contains(&format!("rank 1 (process {}) was killed by SIGKILL", pids[1])), "{message}");
}

/// nohup makes nearfab ignore SIGHUP; a shell makes background commands ignore SIGINT.
#[test]
fn ranks_ignore_the_signals_that_nearfab_ignores() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let ignoring = |signal: &str, command: &[&str]| {
        let mut nearfab = std::process::Command::new("env");
        nearfab.args([&format!("--ignore-signal={signal}"), super::NEARFAB, "run", "-n", "4", "--root"]);
        RunningProcess::start(nearfab.arg(tree.path()).arg("--").args(command))
    };
    let mut nearfab = ignoring("HUP", &["sh", "-c", PRINT_AND_WAIT]);
    let pids_of_ranks = pids(&nearfab.lines(4));
    kill(pids_of_ranks[0], Signal::SIGHUP).unwrap();
    kill(pids_of_ranks[2], Signal::SIGKILL).unwrap();
    let (status, message) = nearfab.end();
    assert_eq!(status, Some(137), "{message}");
    let killed = format!("rank 1 (process {}) was killed by SIGKILL", pids_of_ranks[2]);
    assert!(message.contains(&killed), "{message}");

    // nearfab does not pass SIGHUP on to ranks that handle it either: hup would be printed before usr.
    let (_dir, fifo) = fifo();
    let script =
        "exec 3<>$0; trap 'echo hup' HUP; trap 'echo usr' USR1; echo $LOCAL_RANK; while :; do read line <&3; done";
    let mut nearfab = ignoring("HUP", &["env", "--default-signal=HUP", "sh", "-c", script, fifo.to_str().unwrap()]);
    nearfab.lines(4);
    nearfab.signal(Signal::SIGHUP);
    nearfab.signal(Signal::SIGUSR1);
    assert_eq!(nearfab.lines(4), ["usr"; 4]);
    nearfab.signal(Signal::SIGKILL);
    nearfab.end();

    // Without SIGCHLD, nearfab could not see the end of a rank.
    let (status, message) = ignoring("CHLD", &["echo", "started"]).end();
    assert_eq!(status, Some(1), "{message}");
    assert!(message.contains("env --default-signal=CHLD nearfab run"), "{message}");
}

/// The signal ends the shell at once; its child handles the signal and needs time.
#[test]
fn children_of_a_rank_have_the_grace_period() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let saves = "exec 3<>$WAIT; trap 'while grep -q \"^PPid:.$PPID\" /proc/$$/status; do :; done; sleep 0.2; echo saved; \
                 exit' TERM; echo $LOCAL_RANK $PPID; while :; do read line <&3; done";
    let (_dir, fifo) = fifo();
    let start = || {
        let mut command = nearfab();
        command.args(["run", "-n", "4", "--grace", "60", "--root"]).arg(tree.path());
        command.args(["--", "sh", "-c", "sh -c \"$0\"; exit 1", saves]).env("WAIT", &fifo);
        RunningProcess::start(&mut command)
    };

    let mut nearfab = start();
    let pids_of_shells = pids(&nearfab.lines(4));
    kill(pids_of_shells[3], Signal::SIGKILL).unwrap();
    assert_eq!(nearfab.lines(4), ["saved"; 4]);
    let (status, message) = nearfab.end();
    assert_eq!(status, Some(137), "{message}");
    assert!(!message.contains("not ended"), "{message}");

    let mut nearfab = start();
    nearfab.lines(4);
    nearfab.signal(Signal::SIGTERM);
    assert_eq!(nearfab.lines(4), ["saved"; 4]);
    assert_eq!(nearfab.end(), (Some(143), String::new()));
}

#[test]
fn ranks_do_not_outlive_nearfab() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    // A rank that outlives nearfab by mistake ends with the test.
    let script = format!("echo $LOCAL_RANK $$; exec tail -f --pid={} /dev/null", std::process::id());
    let mut nearfab = ranks(&tree, &[], &script);
    let pids = pids(&nearfab.lines(4));
    nearfab.signal(Signal::SIGKILL);
    nearfab.child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !pids.iter().all(|&pid| has_ended(pid)) {
        assert!(Instant::now() < deadline, "a rank is running");
        std::thread::yield_now();
    }
}

#[test]
fn status_is_0_if_all_ranks_succeed_and_127_without_a_command() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    assert_eq!(ranks(&tree, &[], "exit 0").end(), (Some(0), String::new()));
    let output =
        nearfab().args(["run", "-n", "4", "--root"]).arg(tree.path()).args(["--", "/nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(127));
    assert!(text(&output.stderr).contains("cannot start /nowhere: No such file or directory"));
}
