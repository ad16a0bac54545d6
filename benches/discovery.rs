//! Compares the cost of discovery with lstopo and with a program that only makes the same system calls.
//!
//! `cargo xtask bench` runs `discovery NEARFAB`. NEARFAB is the release build of the command line. The benchmark prints
//! a table in Markdown.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and fails if it cannot run")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nearfab::Host;
use nearfab::instances::{InstanceTable, NumaRow};
use nearfab_emu::Defect;

fn main() {
    // cargo bench adds the argument --bench.
    let nearfab = std::env::args_os().nth(1).map(PathBuf::from).filter(|path| path.is_file());
    let nearfab = nearfab.expect("usage: discovery NEARFAB; better: cargo xtask bench");
    let scratch = tempfile::tempdir().unwrap();
    let floor = compile_floor(scratch.path());

    println!(
        "| tree | `nearfab list` | `Host::from_root` | floor program | `lstopo` | lstopo : nearfab | calls | floor's \
         calls | ratio | calls, plain folder | ratio |\n|---|---|---|---|---|---|---|---|---|---|---|"
    );
    let trees = [
        ("trn2.48xlarge", "trn2.48xlarge", Variant::Whole),
        ("trn2.48xlarge, one CPU a node", "trn2.48xlarge", Variant::FewCpus),
        ("8 x trn2.48xlarge, in 8 PCI domains", "trn2.48xlarge", Variant::Eightfold),
        ("p5.48xlarge", "p5.48xlarge", Variant::Whole),
    ];
    for (name, instance_type, variant) in trees {
        let Ok(table) = InstanceTable::find(instance_type) else { continue };
        let tree = scratch.path().join(name);
        write(table, variant, &tree);
        // On a file system that allows device nodes, nearfab checks the type of a file before it opens the file.
        let plain = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let plain_tree = plain.path().join("tree");
        write(table, variant, &plain_tree);
        println!("| {name} {}", row(&nearfab, &floor, &tree, &plain_tree));
    }
    println!("\n{}", growth(&nearfab, &scratch.path().join(trees[0].0), &scratch.path().join(trees[2].0)));
}

fn list(nearfab: &Path, tree: &Path) -> Command {
    let mut command = Command::new(nearfab);
    command.args(["list", "--root"]).arg(tree);
    command
}

fn row(nearfab: &Path, floor: &Path, tree: &Path, plain_tree: &Path) -> String {
    let trace = trace(list(nearfab, tree), tree);
    let job = tree.with_extension("job");
    fs::write(&job, trace.job(tree)).unwrap();
    let floor = || {
        let mut command = Command::new(floor);
        command.arg(tree).arg(&job);
        command
    };
    let lstopo = || {
        let mut command = Command::new("lstopo-no-graphics");
        command.args(["--whole-io", "--if", "fsroot", "--of", "console", "-i"]).arg(tree);
        command
    };

    let [listed, library, least, judge] = least_times([
        &|| run(&mut list(nearfab, tree)),
        &|| drop(Host::from_root(tree).unwrap()),
        &|| run(&mut floor()),
        &|| run(&mut lstopo()),
    ]);
    let (calls, least_calls) = (trace.0.len(), self::trace(floor(), tree).0.len());
    let plain_calls = self::trace(list(nearfab, plain_tree), plain_tree).0.len();
    let times = |calls: usize| {
        let [calls, least] = [calls, least_calls].map(|calls| f64::from(u32::try_from(calls).unwrap()));
        format!("{:.2}", calls / least)
    };
    [
        millis(listed),
        millis(library),
        millis(least),
        millis(judge),
        format!("{:.1}", judge.as_secs_f64() / listed.as_secs_f64()),
        calls.to_string(),
        least_calls.to_string(),
        times(calls),
        plain_calls.to_string(),
        times(plain_calls),
    ]
    .map(|cell| format!("| {cell} "))
    .concat()
        + "|"
}

/// Returns a sentence about the cost of eight times the devices.
fn growth(nearfab: &Path, one: &Path, eight: &Path) -> String {
    let [listed, listed_eight, library, library_eight] = least_times([
        &|| run(&mut list(nearfab, one)),
        &|| run(&mut list(nearfab, eight)),
        &|| drop(Host::from_root(one).unwrap()),
        &|| drop(Host::from_root(eight).unwrap()),
    ]);
    let times = |eight: Duration, one: Duration| eight.as_secs_f64() / one.as_secs_f64();
    format!(
        "Eight times the devices cost `nearfab list` {:.1} times the time, and `Host::from_root` {:.1} times.",
        times(listed_eight, listed),
        times(library_eight, library)
    )
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// Returns the least time of each piece of work, because other load of the machine only adds time. The pieces take
/// turns, so that other load affects all pieces.
fn least_times<const N: usize>(works: [&dyn Fn(); N]) -> [Duration; N] {
    let mut least = [Duration::MAX; N];
    for _ in 0..60 {
        for (work, least) in works.iter().zip(&mut least) {
            let begin = Instant::now();
            work();
            *least = (*least).min(begin.elapsed());
        }
    }
    least
}

fn run(command: &mut Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.unwrap_or_else(|error| panic!("{command:?}: {error}")).success(), "{command:?}");
}

fn compile_floor(folder: &Path) -> PathBuf {
    let program = folder.join("floor");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/floor.c");
    run(Command::new("cc").args(["-O2", "-o"]).arg(&program).arg(source));
    program
}

/// The system calls of a program, from the first call on the tree to the first output of the program.
struct Trace(Vec<String>);

fn trace(command: Command, tree: &Path) -> Trace {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut strace = Command::new("strace");
    strace.args(["-y", "-s", "4096", "-o"]).arg(file.path()).arg(command.get_program()).args(command.get_args());
    run(&mut strace);
    let text = fs::read_to_string(file.path()).unwrap();
    let tree = tree.to_str().unwrap();
    let about_tree = |line: &&str| line.starts_with("open") && line.contains(&format!("\"{tree}\""));
    let calls = text.lines().skip_while(|line| !about_tree(line));
    Trace(calls.take_while(|line| !line.starts_with("write(1<")).map(str::to_owned).collect())
}

impl Trace {
    /// Returns the job for the floor program. The job has each access once and no links that do not exist.
    fn job(&self, tree: &Path) -> String {
        let mut seen = BTreeSet::new();
        let mut job = String::new();
        for line in &self.0 {
            let call = line.split('(').next().unwrap_or_default();
            let failed = line.contains(" = -1 ");
            let kind = match call {
                "getdents64" => 'l',
                "openat2" if !line.contains("O_DIRECTORY") && !line.contains("O_PATH") => 'r',
                "readlinkat" if !failed => 'k',
                "faccessat2" => 'a',
                _ => continue,
            };
            // readlinkat(5</the/tree/sys/bus/pci/devices>, "0000:57:00.0", …
            let argument = |begin: &str, end: &str| line.split_once(begin)?.1.split_once(end).map(|(text, _)| text);
            let Some(folder) = argument("<", ">") else { continue };
            let name = if kind == 'l' { "" } else { argument("\"", "\"").unwrap_or_default() };
            let path = Path::new(folder).join(name);
            let Ok(path) = path.strip_prefix(tree) else { continue };
            if kind == 'l' && path.starts_with("dev") {
                continue; // nearfab reads these links only to be safe: no node is a link.
            }
            if seen.insert((kind, path.to_owned())) {
                job += &format!("{kind} {}\n", path.display());
            }
        }
        job
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Variant {
    Whole,
    /// lstopo reads ten files for each CPU. nearfab reads no file for a CPU.
    FewCpus,
    Eightfold,
}

fn write(table: &'static InstanceTable, variant: Variant, tree: &Path) {
    const ONE_EACH: &[NumaRow] = &[NumaRow { node: 0, cpus: "0" }, NumaRow { node: 1, cpus: "1" }];
    let numa = if variant == Variant::FewCpus { ONE_EACH } else { table.numa };
    // Discovery does not read the statistics of cores.
    let small: Vec<Defect> = [Defect::NoCoreStatistics].into_iter().filter(|small| small.applies(table)).collect();
    nearfab_emu::write_tree_with(&InstanceTable { numa, ..*table }, &small, tree).unwrap();
    if variant == Variant::Eightfold {
        for domain in 1..8 {
            for part in ["sys/devices", "sys/bus/pci/devices", "sys/class", "dev"] {
                repeat(tree, Path::new(part), domain);
            }
        }
    }
}

/// Copies the files of devices in PCI domain 0 into another domain, with the next device numbers.
fn repeat(tree: &Path, folder: &Path, domain: u32) {
    for entry in fs::read_dir(tree.join(folder)).unwrap() {
        let path = folder.join(entry.unwrap().file_name());
        let (from, name) = (tree.join(&path), path.to_str().unwrap());
        let to = tree.join(moved(name, domain));
        let is_folder = from.is_dir() && !from.is_symlink();
        if name.starts_with("sys/devices/system") || is_of_copy(name) {
            continue;
        }
        if is_folder {
            repeat(tree, &path, domain);
        } else if to != from {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            if from.is_symlink() {
                let target = fs::read_link(&from).unwrap();
                symlink(moved(target.to_str().unwrap(), domain), to).unwrap();
            } else if name.starts_with("dev/") {
                fs::write(to, "").unwrap();
            } else {
                let content = fs::read(&from).unwrap();
                let text = String::from_utf8(content).map(|text| moved(&text, domain).into_bytes());
                fs::write(to, text.unwrap_or_else(|binary| binary.into_bytes())).unwrap();
            }
        }
    }
}

/// Returns true if [`moved`] made the name.
fn is_of_copy(name: &str) -> bool {
    (1..8).any(|domain| name.contains(&format!("000{domain}:")))
        || ["neuron", "uverbs"].iter().any(|kind| number_after(name, kind).is_some_and(|(_, number, _)| number >= 16))
}

fn moved(text: &str, domain: u32) -> String {
    let mut text = text.replace("0000:", &format!("000{domain}:")).replace("rdmap", &format!("rdmaP{domain}p"));
    for kind in ["/neuron", "/uverbs"] {
        if let Some((before, number, after)) = number_after(&text, kind) {
            text = format!("{before}{}{after}", number + 16 * domain);
        }
    }
    text
}

/// Splits a text at the first number after `kind`.
fn number_after<'a>(text: &'a str, kind: &str) -> Option<(&'a str, u32, &'a str)> {
    let begin = text
        .match_indices(kind)
        .map(|(at, _)| at + kind.len())
        .find(|&at| text[at..].starts_with(|next: char| next.is_ascii_digit()))?;
    let end = text[begin..].find(|next: char| !next.is_ascii_digit()).map_or(text.len(), |length| begin + length);
    Some((&text[..begin], text[begin..end].parse().ok()?, &text[end..]))
}
