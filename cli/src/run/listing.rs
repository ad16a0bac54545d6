//! The processes of this machine, as the kernel lists them.

use std::fs;

use nix::unistd::Pid;

/// What a process is to others.
pub(super) struct Listed {
    pub(super) pid: Pid,
    pub(super) parent: Pid,
    pub(super) group: Pid,
    /// It is listed only until its parent has asked how it ended.
    pub(super) has_ended: bool,
}

/// Those that this process may see. One that ends meanwhile may be missing.
pub(super) fn processes() -> Vec<Listed> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| parse(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))).collect()
}

/// A line as proc(5) has it: `41 (name) S 1 41 ...`, where the name may have spaces and parentheses of its own.
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
    fn a_name_may_look_like_the_rest() {
        let listed = parse("41 (a) Z 7 (b)) S 1 40 39 0 -1").unwrap();
        let numbers = [listed.pid, listed.parent, listed.group].map(Pid::as_raw);
        assert_eq!((numbers, listed.has_ended), ([41, 1, 40], false));
        assert!(parse("41 (ended) Z 1 40").unwrap().has_ended);
        assert!(parse("41 (cut) S 1").is_none() && parse("").is_none());
    }

    #[test]
    fn this_process_is_among_them() {
        let own = processes().into_iter().find(|listed| listed.pid == Pid::this()).unwrap();
        assert_eq!((own.parent, own.group, own.has_ended), (Pid::parent(), nix::unistd::getpgrp(), false));
    }
}
