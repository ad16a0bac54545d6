//! The processes of this machine, as the kernel lists them.

use std::fs;

use nix::unistd::Pid;

/// A process as the kernel lists it.
pub(super) struct Listed {
    pub(super) pid: Pid,
    pub(super) parent: Pid,
    pub(super) group: Pid,
    /// Whether the process is a zombie: a zombie stays listed until its parent has waited for it.
    pub(super) has_ended: bool,
}

/// Returns the processes that this process may see. A process that ends during the call may be missing.
pub(super) fn processes() -> Vec<Listed> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))).collect()
}

/// Parses a line of `/proc/PID/stat`: `41 (name) S 1 41 ...`. The name may contain spaces and parentheses.
fn parse(stat: &str) -> Option<Listed> {
    let (start, rest) = stat.rsplit_once(')')?;
    let pid = start.split_once(' ')?.0.parse().ok()?;
    let mut words = rest.split_ascii_whitespace();
    let has_ended = matches!(words.next()?, "Z" | "X" | "x");
    let mut next = || Some(Pid::from_raw(words.next()?.parse().ok()?));
    Some(Listed { pid: Pid::from_raw(pid), parent: next()?, group: next()?, has_ended })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_is_parsed() {
        let listed = parse("41 (a) Z 7 (b)) S 1 40 39 0 -1").unwrap();
        let numbers = [listed.pid, listed.parent, listed.group].map(Pid::as_raw);
        assert_eq!((numbers, listed.has_ended), ([41, 1, 40], false));
        assert!(parse("41 (ended) Z 1 40").unwrap().has_ended);
        assert!(parse("41 (cut) S 1").is_none() && parse("").is_none());
    }

    #[test]
    fn this_process_is_listed() {
        let own = processes().into_iter().find(|listed| listed.pid == Pid::this()).unwrap();
        assert_eq!((own.parent, own.group, own.has_ended), (Pid::parent(), nix::unistd::getpgrp(), false));
    }
}
