//! Small hosts from public reports, one folder for each: `host.sh` writes the host, `case.toml` says what the commands
//! must print.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nearfab::instances::InstanceTable;
use nearfab_emu::Defect;
use serde::Deserialize;

const NEARFAB: &str = env!("CARGO_BIN_EXE_nearfab");

/// A host, and the commands to run on it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What the host is, and where it was reported.
    about: String,
    /// The host that `host.sh` changes.
    emulated: Option<Emulated>,
    run: Vec<Run>,
}

/// An emulated host, with the names of its defects.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Emulated {
    instance: String,
    #[serde(default)]
    defects: Vec<String>,
}

/// A command line, and what it prints. Runs of spaces and line ends count as one space.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    /// The arguments. `{root}` is the folder of the host.
    command: String,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    status: i32,
    /// Texts that standard output has.
    #[serde(default)]
    has: Vec<String>,
    /// Texts that neither standard output nor standard error has.
    #[serde(default)]
    lacks: Vec<String>,
    /// Texts that standard error has.
    #[serde(default)]
    error_has: Vec<String>,
}

impl Case {
    /// Writes the host below `root`.
    fn write(&self, folder: &Path, root: &Path) {
        if let Some(Emulated { instance, defects }) = &self.emulated {
            let defects: Vec<Defect> = defects.iter().map(|name| name.parse().unwrap()).collect();
            nearfab_emu::write_tree_with(InstanceTable::find(instance).unwrap(), &defects, root).unwrap();
        }
        let script = folder.join("host.sh");
        if script.exists() {
            let made = Command::new("bash").arg(script).arg(root).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
    }
}

impl Run {
    /// Runs the command, and returns what is wrong with its output.
    fn faults(&self, root: &Path) -> Vec<String> {
        let root = root.to_str().unwrap();
        let words = self.command.split_whitespace().map(|word| word.replace("{root}", root));
        let mut command = Command::new(NEARFAB);
        command.args(words).env_clear().envs(&self.environment);
        let Output { status, stdout, stderr } = command.output().unwrap();
        let [stdout, stderr] = [stdout, stderr].map(|bytes| one_line(&String::from_utf8_lossy(&bytes)));
        let mut faults = Vec::new();
        if status.code() != Some(self.status) {
            faults.push(format!("{status}, and not {}", self.status));
        }
        let missing = |texts: &[String], shown: &str| -> Vec<String> {
            texts.iter().filter(|text| !shown.contains(&one_line(text))).map(|text| format!("lacks {text:?}")).collect()
        };
        faults.extend(missing(&self.has, &stdout));
        faults.extend(missing(&self.error_has, &stderr));
        let shows = |text: &&String| [&stdout, &stderr].iter().any(|shown| shown.contains(&one_line(text)));
        faults.extend(self.lacks.iter().filter(shows).map(|text| format!("has {text:?}")));
        if !faults.is_empty() {
            faults.push(format!("standard output: {stdout}\n  standard error: {stderr}"));
        }
        faults
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn reported_hosts_have_the_right_answers() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut folders: Vec<_> = fs::read_dir(cases).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.is_dir());
    folders.sort();
    assert!(!folders.is_empty());
    // Most of the time goes into the scripts and the commands, which are processes.
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut faults = Vec::new();
        while let Some(folder) = folders.get(next.fetch_add(1, Ordering::Relaxed)) {
            faults.extend(faults_of(folder));
        }
        faults
    };
    let workers = thread::available_parallelism().map_or(1, |number| number.get());
    let faults: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        running.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Writes the host of a case, runs its commands, and returns what is wrong with their output.
fn faults_of(folder: &Path) -> Vec<String> {
    let name = folder.file_name().unwrap().to_str().unwrap();
    let text = fs::read_to_string(folder.join("case.toml")).unwrap();
    let case: Case = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(!case.about.is_empty(), "{name}");
    let root = tempfile::tempdir().unwrap();
    case.write(folder, root.path());
    let faults = case.run.iter().flat_map(|run| {
        let wrong = run.faults(root.path());
        wrong.into_iter().map(move |fault| format!("{name}: {:?} {}: {fault}", run.environment, run.command))
    });
    faults.collect()
}
