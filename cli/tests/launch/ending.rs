//! How ranks end: each in its own way, all when one fails, and never later than nearfab.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Talking, nearfab, text, two_nodes};

/// Says who it is and who its own child is, and stays until it is told to end. Nobody is left to say more when its output ends.
const STAY: &str = "sleep 1000 & echo $LOCAL_RANK $$ $!; wait";

fn ranks(tree: &tempfile::TempDir, options: &[&str], script: &str) -> Talking {
    let mut command = nearfab();
    command.args(["run", "-n", "4", "--root"]).arg(tree.path()).args(options).args(["--", "sh", "-c", script]);
    Talking::start(&mut command)
}

/// The second and third word of each line are numbers of processes.
fn pids(lines: &[String]) -> Vec<Pid> {
    let numbers = lines.iter().flat_map(|line| line.split(' ').skip(1));
    numbers.map(|number| Pid::from_raw(number.parse().unwrap())).collect()
}

/// Also where nobody has asked how: its parent may be one that never does.
fn has_ended(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

/// Opened both ways it has a writer, so that reading it waits until something is written, or a signal comes.
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
fn a_rank_that_is_killed_is_reported_and_the_others_are_ended() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let mut nearfab = ranks(&tree, &[], STAY);
    let pids = pids(&nearfab.lines(4));
    kill(pids[2 * 2], Signal::SIGKILL).unwrap();
    let (status, complaint) = nearfab.end();
    assert_eq!(status, Some(137), "{complaint}");
    assert!(complaint.contains(&format!("rank 2 (process {}) was killed by SIGKILL", pids[4])), "{complaint}");
    assert!(complaint.contains("ending the other ranks, of which 3 run"), "{complaint}");
    assert_eq!(complaint.lines().count(), 2, "of those that were ended nothing is told: {complaint}");
    // No zombie either: its parent has ended, and with it whatever it had not waited for.
    assert!(pids.iter().step_by(2).all(|&pid| is_gone(pid)), "a rank is left");
}

#[test]
fn a_rank_that_fails_gives_its_status() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let nearfab = ranks(&tree, &[], "[ $LOCAL_RANK = 3 ] && exit 9; sleep 1000");
    let (status, complaint) = nearfab.end();
    assert_eq!(status, Some(9), "{complaint}");
    assert!(complaint.contains("exited with status 9"), "{complaint}");
}

/// The shell ignores SIGTERM, and so does what it starts.
#[test]
fn ranks_that_do_not_end_are_killed_after_the_grace_period() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let script = "trap '' TERM; echo $LOCAL_RANK $$; [ $LOCAL_RANK = 1 ] || exec sleep 1000; read line < $WAIT; exit 3";
    let (_dir, fifo) = fifo();
    let mut command = nearfab();
    command.args(["run", "-n", "4", "--grace", "0", "--root"]).arg(tree.path()).args(["--", "sh", "-c", script]);
    let mut nearfab = Talking::start(command.env("WAIT", &fifo));
    let pids = pids(&nearfab.lines(4));
    // All ignore the signal by now.
    std::fs::write(&fifo, "go\n").unwrap();
    let (status, complaint) = nearfab.end();
    assert_eq!(status, Some(3), "{complaint}");
    assert!(complaint.contains("not ended 0 s after SIGTERM, and killed: rank 0, 2, 3"), "{complaint}");
    assert!(pids.into_iter().all(is_gone));
}

#[test]
fn signals_go_on_to_the_ranks() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let script = "exec 3<>$WAIT; trap 'echo usr' USR1; trap 'echo term; exit 0' TERM; echo $LOCAL_RANK; \
                  while :; do read line <&3; done";
    let (_dir, fifo) = fifo();
    let mut command = nearfab();
    command.args(["run", "-n", "2", "--root"]).arg(tree.path()).args(["--", "sh", "-c", script]);
    let mut nearfab = Talking::start(command.env("WAIT", &fifo));
    assert_eq!(nearfab.lines(2), ["0", "1"]);
    nearfab.signal(Signal::SIGUSR1);
    assert_eq!(nearfab.lines(2), ["usr", "usr"]);
    nearfab.signal(Signal::SIGTERM);
    assert_eq!(nearfab.lines(2), ["term", "term"]);
    // They were asked to end and did so well.
    assert_eq!(nearfab.end(), (Some(0), String::new()));
}

#[test]
fn ranks_that_a_signal_ends_have_not_failed() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let mut nearfab = ranks(&tree, &["--grace", "1"], STAY);
    let pids = pids(&nearfab.lines(4));
    nearfab.signal(Signal::SIGINT);
    let (status, complaint) = nearfab.end();
    // A shell's child in the background, as sleep is here, ignores SIGINT: it is told to end when it has not by itself.
    assert_eq!((status, complaint.as_str()), (Some(130), ""));
    assert!(pids.into_iter().all(is_gone));
}

/// What ranks do with a signal does not hide that one of them fails later.
#[test]
fn a_rank_that_is_killed_after_a_signal_is_reported_too() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let script = "trap '' HUP; sleep 1000 & trap 'echo hup' HUP; echo $LOCAL_RANK $$; while :; do wait; done";
    let mut nearfab = ranks(&tree, &[], script);
    let pids = pids(&nearfab.lines(4));
    nearfab.signal(Signal::SIGHUP);
    assert_eq!(nearfab.lines(4), ["hup"; 4]);
    kill(pids[1], Signal::SIGKILL).unwrap();
    let (status, complaint) = nearfab.end();
    assert_eq!(status, Some(137), "{complaint}");
    assert!(complaint.contains(&format!("rank 1 (process {}) was killed by SIGKILL", pids[1])), "{complaint}");
}

/// As nohup does, and a shell for what it starts in the background.
#[test]
fn what_nearfab_was_made_to_ignore_ranks_ignore() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let ignoring = |signal: &str, command: &[&str]| {
        let mut nearfab = std::process::Command::new("env");
        nearfab.args([&format!("--ignore-signal={signal}"), super::NEARFAB, "run", "-n", "4", "--root"]);
        Talking::start(nearfab.arg(tree.path()).arg("--").args(command))
    };
    let mut nearfab = ignoring("HUP", &["sh", "-c", STAY]);
    let pids_of_ranks = pids(&nearfab.lines(4));
    kill(pids_of_ranks[0], Signal::SIGHUP).unwrap();
    kill(pids_of_ranks[2], Signal::SIGKILL).unwrap();
    let (status, complaint) = nearfab.end();
    assert_eq!(status, Some(137), "{complaint}");
    let killed = format!("rank 1 (process {}) was killed by SIGKILL", pids_of_ranks[2]);
    assert!(complaint.contains(&killed), "{complaint}");

    // Nor does it go on to ranks that would not ignore it. It would come before the other.
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

    // The kernel would tell nearfab of no rank's end.
    let (status, complaint) = ignoring("CHLD", &["echo", "started"]).end();
    assert_eq!(status, Some(1), "{complaint}");
    assert!(complaint.contains("env --default-signal=CHLD nearfab run"), "{complaint}");
}

/// A shell ends at once by a signal that what it waits for handles.
#[test]
fn what_runs_below_a_shell_has_the_grace_period_too() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    let saves = "exec 3<>$WAIT; trap 'while grep -q \"^PPid:.$PPID\" /proc/$$/status; do :; done; sleep 0.2; echo saved; \
                 exit' TERM; echo $LOCAL_RANK $PPID; while :; do read line <&3; done";
    let (_dir, fifo) = fifo();
    let start = || {
        let mut command = nearfab();
        command.args(["run", "-n", "4", "--grace", "60", "--root"]).arg(tree.path());
        command.args(["--", "sh", "-c", "sh -c \"$0\"; exit 1", saves]).env("WAIT", &fifo);
        Talking::start(&mut command)
    };

    let mut nearfab = start();
    let pids_of_shells = pids(&nearfab.lines(4));
    kill(pids_of_shells[3], Signal::SIGKILL).unwrap();
    assert_eq!(nearfab.lines(4), ["saved"; 4]);
    let (status, complaint) = nearfab.end();
    assert_eq!(status, Some(137), "{complaint}");
    assert!(!complaint.contains("not ended"), "{complaint}");

    let mut nearfab = start();
    nearfab.lines(4);
    nearfab.signal(Signal::SIGTERM);
    assert_eq!(nearfab.lines(4), ["saved"; 4]);
    assert_eq!(nearfab.end(), (Some(143), String::new()));
}

#[test]
fn ranks_do_not_outlive_nearfab() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    // Ranks that are left by mistake end with the test.
    let script = format!("echo $LOCAL_RANK $$; exec tail -f --pid={} /dev/null", std::process::id());
    let mut nearfab = ranks(&tree, &[], &script);
    let pids = pids(&nearfab.lines(4));
    nearfab.signal(Signal::SIGKILL);
    nearfab.child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !pids.iter().all(|&pid| has_ended(pid)) {
        assert!(Instant::now() < deadline, "a rank is left");
        std::thread::yield_now();
    }
}

#[test]
fn all_ranks_may_end_well() {
    let Some(tree) = two_nodes("launch", "trn2.48xlarge") else { return };
    assert_eq!(ranks(&tree, &[], "exit 0").end(), (Some(0), String::new()));
    let output =
        nearfab().args(["run", "-n", "4", "--root"]).arg(tree.path()).args(["--", "/nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(127));
    assert!(text(&output.stderr).contains("/nowhere cannot be started: No such file or directory"));
}
