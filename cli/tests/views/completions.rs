//! The completions of each shell load in that shell, and `man` shows the pages.

use std::fs;
use std::io::ErrorKind;
use std::process::Command;

use crate::support::{nearfab, stdout};

/// Runs a program; returns its output, or prints SKIPPED and returns `None` if the program is not installed.
fn output_of(command: &mut Command) -> Option<String> {
    let program = command.get_program().to_str().unwrap().to_owned();
    match command.output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            nearfab_emu::skipped(&program, "it is not installed");
            None
        }
        output => {
            let output = output.unwrap();
            let [text, error] =
                [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            assert!(output.status.success() && error.is_empty(), "{program}: {text}{error}");
            Some(text)
        }
    }
}

/// Writes the completions of a shell into a file with this name.
fn script(shell: &str, name: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(name);
    fs::write(&file, stdout(&["completions", shell])).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (dir, file)
}

#[test]
fn bash_completes_commands() {
    let (_dir, file) = script("bash", "nearfab");
    let complete =
        r#"source "$0"; COMP_WORDS=(nearfab to); COMP_CWORD=1; _nearfab nearfab to nearfab; echo "${COMPREPLY[@]}""#;
    let Some(text) = output_of(Command::new("bash").args(["--norc", "-c", complete, &file])) else { return };
    assert_eq!(text, "topo\n");
}

#[test]
fn zsh_loads_the_completions() {
    let (dir, _) = script("zsh", "_nearfab");
    let load = "fpath=($0 $fpath); autoload -Uz compinit; compinit -u -D; autoload +X _nearfab; \
                echo ${_comps[nearfab]}; functions _nearfab | grep -c topo";
    let Some(text) = output_of(Command::new("zsh").args(["-f", "-c", load, dir.path().to_str().unwrap()])) else {
        return;
    };
    assert_eq!(text.lines().next(), Some("_nearfab"), "{text}");
}

#[test]
fn fish_completes_commands() {
    let (_dir, file) = script("fish", "nearfab.fish");
    let complete = format!("source {file}; complete --do-complete 'nearfab to'");
    let Some(text) = output_of(Command::new("fish").args(["--no-config", "--command", &complete])) else { return };
    assert!(text.starts_with("topo\t"), "{text}");
}

#[test]
fn hidden_commands_are_not_completed() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&["completions", shell]);
        assert!(script.contains("topo") && !script.contains("--parent"), "{shell}");
    }
}

#[test]
fn man_shows_a_page_for_each_command() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("man1");
    assert_eq!(stdout(&["man", folder.to_str().unwrap()]), "");
    let mut pages: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    pages.sort();
    let command = nearfab_cli::command();
    let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
    let mut expected: Vec<String> = visible.map(|command| format!("nearfab-{}.1", command.get_name())).collect();
    expected.push("nearfab.1".to_owned());
    expected.sort();
    assert_eq!(pages, expected);
    for page in pages {
        let mut man = Command::new("man");
        man.args(["--local-file", folder.join(&page).to_str().unwrap()]).env("MANPAGER", "cat").env("MANWIDTH", "100");
        let Some(text) = output_of(&mut man) else { return };
        assert!(text.contains("SYNOPSIS") && text.contains("--instance"), "{page}: {text}");
    }
}

#[test]
fn man_fails_in_a_folder_that_cannot_be_made() {
    let output = nearfab(&["man", "/proc/nowhere"]);
    assert_eq!((output.status, output.stdout.as_str()), (1, ""));
    assert!(output.stderr.contains("/proc/nowhere: "), "{}", output.stderr);
}
