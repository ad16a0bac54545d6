//! Options that name a host or query its driver mean the same before and after the name of a command.

use crate::hosts::tree;
use crate::support::{error, nearfab, stdout};

const HOSTS: [[&str; 2]; 3] = [["--root", "/nowhere"], ["--instance", "trn2.48xlarge"], ["--host", "nowhere.json"]];
const CONFLICT: &str = "--root, --instance and --host each name the host to read: give one of them, with one value";

/// The commands, with the arguments that they need, and with the words after `--`.
const COMMANDS: [(&[&str], &[&str]); 18] = [
    (&["list"], &[]),
    (&["topo", "matrix"], &[]),
    (&["near", "neuron5"], &[]),
    (&["rails", "neuron5"], &[]),
    (&["doctor"], &[]),
    (&["health"], &[]),
    (&["record"], &[]),
    (&["verify"], &[]),
    (&["plan", "-n", "16"], &[]),
    (&["plan", "-n", "16", "--export", "3"], &[]),
    (&["run", "-n", "4", "--dry-run"], &["--", "true"]),
    (&["run", "-n", "4"], &["--", "true"]),
    (&["bind"], &["--", "true"]),
    (&["start", "--cpus", "0", "--parent", "1"], &["--", "true"]),
    (&["runtimes"], &[]),
    (&["instances"], &[]),
    (&["completions", "bash"], &[]),
    (&["man", "/nowhere/man"], &[]),
];

/// Returns each command line that has the two options: both before the name of the command, both after it, and one on each side.
fn places<'a>(command: (&[&'a str], &[&'a str]), one: &[&'a str], other: &[&'a str]) -> [Vec<&'a str>; 6] {
    let (words, last) = command;
    [
        [one, other, words, last].concat(),
        [other, one, words, last].concat(),
        [one, words, other, last].concat(),
        [other, words, one, last].concat(),
        [words, one, other, last].concat(),
        [words, other, one, last].concat(),
    ]
}

#[test]
fn two_hosts_are_refused_in_every_place() {
    for command in COMMANDS {
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            for arguments in places(command, &HOSTS[one], &HOSTS[other]) {
                let message = error(2, &arguments);
                assert!(message.contains(CONFLICT), "{arguments:?}: {message}");
            }
        }
        for [option, value] in HOSTS {
            let joined = format!("{option}=another");
            for arguments in places(command, &[option, value], &[&joined]) {
                let message = error(2, &arguments);
                assert!(message.contains(CONFLICT), "{arguments:?}: {message}");
            }
        }
    }
}

#[test]
fn one_host_given_twice_is_no_conflict() {
    let once = stdout(&["list", "--instance", "trn2.48xlarge"]);
    for arguments in places((&["list"], &[]), &["--instance", "trn2.48xlarge"], &["--instance=trn2.48xlarge"]) {
        assert_eq!(stdout(&arguments), once, "{arguments:?}");
    }
}

/// The words after `--` belong to the command of the ranks.
#[test]
fn options_of_the_started_command_are_left_alone() {
    let run =
        ["run", "-n", "2", "--dry-run", "--instance", "trn2.48xlarge", "--", "tool", "--instance", "x", "--root=y"];
    assert!(stdout(&run).contains("tool --instance x --root=y"));
}

/// A command that reads no host refuses the option, and does not ignore it.
#[test]
fn commands_that_read_no_host_refuse_its_options() {
    for (command, last) in COMMANDS.into_iter().skip(13) {
        for option in
            HOSTS.iter().map(|host| &host[..]).chain([&["--probe"][..], &["--probe=even-on-pods"], &["--require"]])
        {
            let name = option[0].split('=').next().unwrap();
            for arguments in [[option, command, last].concat(), [command, option, last].concat()] {
                let message = error(2, &arguments);
                assert!(message.contains(&format!("leave {name} out")), "{arguments:?}: {message}");
            }
        }
    }
}

#[test]
fn commands_that_need_a_machine_refuse_another_host() {
    let doctor: (&[&str], &[&str]) = (&["doctor", "--pid", "1"], &[]);
    for (command, last) in [COMMANDS[5], doctor, COMMANDS[11], COMMANDS[12]] {
        // A record has the health of the devices.
        let count = if command == ["health"] { 1 } else { 2 };
        for host in &HOSTS[1..=count] {
            for arguments in [[&host[..], command, last].concat(), [command, &host[..], last].concat()] {
                let message = error(2, &arguments);
                assert!(message.contains(&format!("{} names another host", host[0])), "{arguments:?}: {message}");
            }
        }
    }
}

#[test]
fn probe_needs_this_machine_and_processes_need_probe() {
    for command in &COMMANDS[..13] {
        for host in &HOSTS[1..] {
            for arguments in places(*command, host, &["--probe"]) {
                let message = error(2, &arguments);
                assert!(message.contains("--probe asks the Neuron driver of this machine"), "{arguments:?}: {message}");
            }
        }
        let (words, last) = *command;
        for arguments in [[&["--processes"], words, last].concat(), [words, &["--processes"], last].concat()] {
            assert!(error(2, &arguments).contains("give --probe too"), "{arguments:?}");
        }
        let arguments = [&["--probe"], words, &["--probe=even-on-pods"], last].concat();
        assert!(error(2, &arguments).contains("--probe and --probe=even-on-pods"), "{arguments:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    tree("trn2.48xlarge", dir.path());
    let answer = nearfab(&["--probe", "list", "--processes", "--root", dir.path().to_str().unwrap()]);
    assert_eq!(answer.status, 1, "no usage error: {}", answer.stderr);
}

/// `-o json` gives JSON before and after the name of the command.
#[test]
fn json_is_json_in_every_place() {
    let dir = tempfile::tempdir().unwrap();
    tree("trn2.48xlarge", dir.path());
    let root = ["--root", dir.path().to_str().unwrap()];
    for (command, last) in &COMMANDS[..11] {
        for arguments in places((command, last), &root, &["-o", "json"]) {
            let text = stdout(&arguments);
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{arguments:?}: {text}");
        }
    }
}
