//! What people read, in files that people can read: one a host in `tests/snapshots`. `TRYCMD=overwrite cargo test -p
//! nearfab-cli` writes them anew, and the console blocks of README.md with them.

use std::fmt::Write as _;
use std::path::Path;

use crate::hosts::{contain, nearfab, take_name, tree};

const VIEWS: [&str; 5] = ["list", "list -o wide", "topo", "topo matrix", "topo links"];

/// Compares each view, what is near each of the subjects, and other commands, with the host's file.
fn snapshot(name: &str, host: [&str; 2], subjects: &[&str], others: &[&str]) {
    let near = subjects.iter().map(|subject| format!("near {subject}"));
    let commands = VIEWS.iter().chain(others).map(|view| (*view).to_owned()).chain(near);
    let mut shown = String::new();
    for command in commands {
        let of_host = !command.starts_with("instances");
        let mut arguments: Vec<&str> = command.split(' ').collect();
        arguments.extend(host.iter().filter(|_| of_host));
        let output = nearfab(&arguments);
        let title = if of_host { format!("{command} {} {}", host[0], host[1]) } else { command.clone() };
        writeln!(shown, "$ nearfab {title}").unwrap();
        if let Some(status @ 1..) = output.status.code() {
            writeln!(shown, "? {status}").unwrap();
        }
        shown += &String::from_utf8(output.stdout).unwrap();
        shown += &String::from_utf8(output.stderr).unwrap();
        shown.push('\n');
    }
    // Where the tree stands is another place at each run.
    let shown = if host[0] == "--root" { shown.replace(host[1], "/tree") } else { shown };
    compare(name, &shown);
}

fn compare(name: &str, shown: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/snapshots/{name}.txt"));
    if std::env::var_os("TRYCMD").is_some_and(|wish| wish == "overwrite") {
        std::fs::write(&file, shown).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    for (number, (kept, shown)) in (1..).zip(kept.lines().zip(shown.lines())) {
        assert_eq!(kept, shown, "{}, line {number}: see CONTRIBUTING.md", file.display());
    }
    assert_eq!(kept.lines().count(), shown.lines().count(), "{}: see CONTRIBUTING.md", file.display());
    let trailing = shown.lines().find(|line| line.ends_with(' '));
    assert_eq!(trailing, None, "spaces at the end of a line");
}

/// By the table of the type.
fn of_type(name: &str, subjects: &[&str]) {
    snapshot(name, ["--instance", name], subjects, &[&format!("instances {name}")]);
}

#[test]
fn neuron_types() {
    of_type("trn1.32xlarge", &["neuron5:0", "nc5", "0000:20:19.0", "0000:20:1b.0"]);
    of_type("trn2.48xlarge", &["neuron5:0", "nc21", "neuron5", "0000:57:00.0", "0000:58:00.0", "neuron5 --by-place"]);
    of_type("trn3p.48xlarge", &["neuron0", "0000:be:00.0"]);
    of_type("inf2.24xlarge", &["neuron0", "nc1"]);
}

#[test]
fn other_types() {
    of_type("p5.48xlarge", &["0000:53:00.0", "0000:4f:00.0"]);
    of_type("p6-b200.48xlarge", &["0000:51:00.0", "0000:4f:00.0"]);
    of_type("g5.48xlarge", &["0000:00:16.0", "0000:00:15.0"]);
    of_type("c7gn.16xlarge", &["0000:00:06.0", "neuron0"]);
    of_type("m7i.large", &["neuron0"]);
}

#[test]
fn plans() {
    let mut shown = String::new();
    for command in [
        "plan -n 16 --instance trn2.48xlarge -o wide",
        "plan -n 64 --instance trn2.48xlarge",
        "run -n 4 --dry-run --instance trn2.48xlarge -- train.py",
        "plan -n 16 --instance trn1.32xlarge",
        "plan -n 12 --instance inf2.48xlarge",
        "plan -n 8 --instance p5.48xlarge",
        "plan -n 1 --instance p5.48xlarge",
        "plan -n 8 --instance g5.48xlarge",
        "plan -n 12 --instance trn2.48xlarge",
    ] {
        let output = nearfab(&command.split(' ').collect::<Vec<_>>());
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        writeln!(shown, "$ nearfab {command}\n{stdout}{stderr}").unwrap();
    }
    compare("plans", &shown);
}

#[test]
fn all_types() {
    let output = nearfab(&["instances", "-o", "wide"]);
    compare("instances", &String::from_utf8(output.stdout).unwrap());
}

/// An emulated host, changed.
fn of_tree(name: &str, instance_type: &str, change: impl FnOnce(&Path), subjects: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    tree(instance_type, dir.path());
    change(dir.path());
    snapshot(name, ["--root", dir.path().to_str().unwrap()], subjects, &[]);
}

#[test]
fn emulated_hosts() {
    of_tree("tree-trn2.48xlarge", "trn2.48xlarge", |_| (), &["nc21", "rdmap87s0"]);
    of_tree("tree-p6-b200.48xlarge", "p6-b200.48xlarge", |_| (), &["0000:51:00.0", "rdmap79s0", "ibp115s0f0"]);
}

#[test]
fn containers() {
    let subjects = ["nc0", "nc7", "nc8", "neuron9", "neuron0"];
    of_tree("container-lnc1", "trn2.48xlarge", |dir| contain(dir, &[5, 9], 1), &subjects);
    of_tree("container-lnc2", "trn2.48xlarge", |dir| contain(dir, &[5, 9], 2), &subjects);
}

#[test]
fn a_type_without_a_table() {
    of_tree("unknown-type", "trn2.48xlarge", take_name, &["0000:58:00.0", "0000:57:00.0", "neuron5"]);
}
