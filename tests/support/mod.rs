//! What tests need to open devices where there are none: an emulated machine, and stand-ins for vendor libraries.
//!
//! `machine.sh` and what is in `../stub` serve tests in other languages as well.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Debug;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nearfab::instances::InstanceTable;
use nearfab_emu::{Defect, skipped};
use tempfile::TempDir;

const MACHINE: &str = include_str!("machine.sh");
pub(crate) const STUB: &str = include_str!("../stub/verbs.c");
const FABRIC: &str = include_str!("../stub/fabric.c");
/// What stand-ins include, beside whose text they are looked for.
const HEADERS: [(&str, &str); 2] =
    [("called.h", include_str!("../stub/called.h")), ("kept.h", include_str!("../stub/kept.h"))];
/// Set, every program of a machine runs under valgrind: `cargo xtask valgrind`.
const ALWAYS_VALGRIND: &str = "NEARFAB_TEST_VALGRIND";
const VALGRIND: [&str; 5] =
    ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"];
const SUPPRESSIONS: &str = include_str!("valgrind.supp");
const LOG: &str = "STUB_LOG";
pub(crate) const INSIDE: &str = "NEARFAB_TEST_INSIDE";

/// A machine of an instance type, to be changed before something runs on it.
pub(crate) struct Machine {
    /// Everybody may read it, whoever the tests run as.
    folder: TempDir,
    /// By valgrind.
    checked: bool,
    unprivileged: bool,
    environment: Vec<(&'static str, String)>,
}

/// Why a test cannot run here.
pub(crate) struct Skip(pub(crate) String);

/// Runs the body of the test of this name in a process of its own, on a trn2.48xlarge that `prepare` may change.
///
/// The process is the test program again, with this test alone.
pub(crate) fn on_machine(test: &str, prepare: impl FnOnce(&mut Machine) -> Result<(), Skip>, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return body();
    }
    let mut machine = match Machine::new() {
        Ok(machine) => machine,
        Err(Skip(reason)) => return skipped(test, reason),
    };
    if let Err(Skip(reason)) = prepare(&mut machine) {
        return skipped(test, reason);
    }
    let output = machine.run(&[test, "--exact", "--nocapture", "--test-threads=1"]);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let passed = output.status.success() && stdout.contains("1 passed");
    assert!(passed, "on the machine: {}\n{stdout}\n{stderr}", output.status);
    stderr
        .lines()
        .filter_map(|line| line.strip_prefix("SKIPPED ")?.split_once(": "))
        .for_each(|(bed, why)| skipped(bed, why));
}

/// How often the stand-in's function was called, on the machine that this process runs on.
pub(crate) fn calls(function: &str) -> usize {
    log().iter().filter(|line| line.split(' ').next() == Some(function)).count()
}

/// The calls of the stand-in in their order: the function, and the device if there is one.
pub(crate) fn log() -> Vec<String> {
    let path = env::var_os(LOG).expect("the machine has the stand-in");
    fs::read_to_string(path).expect("the log").lines().map(str::to_owned).collect()
}

/// Whether this process runs under valgrind, where a test should do less.
pub(crate) fn is_slow() -> bool {
    env::var_os(ALWAYS_VALGRIND).is_some()
}

/// What a function of a vendor library makes, and the one that ends it, by which that has to be ended before.
pub(crate) type Ends<'a> = &'a [(&'a str, &'a str, &'a [&'a str])];

/// Fails unless each thing made since the log had `start` lines was ended once, and after what hangs on it.
pub(crate) fn check_ends(ends: Ends<'_>, start: usize, what: impl Debug) {
    let called: Vec<String> =
        log()[start..].iter().map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect();
    let positions = |function: &str| {
        let found = called.iter().enumerate().filter(|(_, name)| *name == function);
        found.map(|(at, _)| at).collect::<Vec<_>>()
    };
    let mut made: BTreeMap<&str, usize> = BTreeMap::new();
    for &(make, end, before) in ends {
        *made.entry(end).or_default() += positions(make).len();
        for first in before {
            assert!(positions(first).last() < positions(end).first(), "{what:?}: {called:?}");
        }
    }
    assert!(made.iter().all(|(end, made)| positions(end).len() == *made), "{what:?}: {called:?}");
}

/// All orders of the numbers below `count`.
pub(crate) fn orders(count: usize) -> Vec<Vec<usize>> {
    let Some(last) = count.checked_sub(1) else { return vec![Vec::new()] };
    let insert = |order: Vec<usize>| (0..count).map(move |at| [&order[..at], &[last], &order[at..]].concat());
    orders(last).into_iter().flat_map(insert).collect()
}

impl Machine {
    pub(crate) fn new() -> Result<Self, Skip> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).expect("its permissions");
        let table = InstanceTable::find("trn2.48xlarge").expect("its table");
        let tree = folder.path().join("tree");
        nearfab_emu::write_tree_with(table, &[Defect::NoCoreStatistics], &tree).expect("its tree");
        fs::create_dir(folder.path().join("lib")).expect("a folder for libraries");
        fs::write(folder.path().join("machine.sh"), MACHINE).expect("the script");
        for (name, text) in HEADERS {
            fs::write(folder.path().join(name), text).expect("a header");
        }
        fs::copy(env::current_exe().expect("this program"), folder.path().join("test")).expect("a copy of it");
        let machine = Self { folder, checked: is_slow(), unprivileged: false, environment: Vec::new() };

        let check = machine.script().arg("--check").output().expect("sh");
        if check.status.success() { Ok(machine) } else { Err(Skip(complaint(&check))) }
    }

    /// A file of the machine, such as `dev/infiniband/uverbs0`.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.folder.path().join("tree").join(path)
    }

    /// A library that programs on the machine find before those of the system.
    pub(crate) fn library(&self, soname: &str) -> PathBuf {
        self.folder.path().join("lib").join(soname)
    }

    /// Compiles the stand-in for libibverbs and libefa, and gives the machine both.
    pub(crate) fn add_stub(&mut self) -> Result<(), Skip> {
        let headers = "#include <infiniband/verbs.h>\n#include <infiniband/efadv.h>\n";
        self.compile("headers", headers)
            .map_err(|_| Skip("no C compiler, or no headers of libibverbs (Debian: libibverbs-dev)".to_owned()))?;
        self.compile("libibverbs.so.1", STUB).unwrap_or_else(|errors| panic!("{errors}"));
        symlink("libibverbs.so.1", self.library("libefa.so.1")).expect("a link");
        self.keep_log();
        Ok(())
    }

    /// Compiles the stand-in for libfabric, and gives the machine it.
    pub(crate) fn add_fabric(&mut self) -> Result<(), Skip> {
        self.compile("headers", "#include <rdma/fabric.h>\ntypedef int nothing;\n")
            .map_err(|_| Skip("no C compiler, or no headers of libfabric (Debian: libfabric-dev)".to_owned()))?;
        self.compile("libfabric.so.1", FABRIC).unwrap_or_else(|errors| panic!("{errors}"));
        self.keep_log();
        Ok(())
    }

    /// Of the calls of stand-ins. Made here, because the program may run as somebody else.
    pub(crate) fn keep_log(&mut self) {
        let log = self.folder.path().join("log");
        fs::write(&log, "").expect("a log");
        fs::set_permissions(&log, Permissions::from_mode(0o666)).expect("its permissions");
        self.set(LOG, log.to_str().expect("a temporary folder with a name in UTF-8"));
    }

    /// For a test with more calls than a file should have lines.
    pub(crate) fn forget_log(&mut self) {
        self.environment.retain(|(name, _)| *name != LOG);
    }

    /// Compiles a library for the machine; the error is the compiler's.
    pub(crate) fn compile(&self, soname: &str, text: &str) -> Result<(), String> {
        let source = self.folder.path().join("source.c");
        fs::write(&source, text).expect("the source");
        let mut compiler = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
        compiler.args(["-std=c11", "-g", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]);
        compiler.arg(format!("-Wl,-soname,{soname}")).arg("-o").arg(self.library(soname)).arg(source);
        match compiler.output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// An environment variable for the program.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.environment.push((name, value.to_owned()));
    }

    /// Runs the program without privilege.
    pub(crate) fn drop_privilege(&mut self) {
        self.unprivileged = true;
    }

    /// Runs the program under valgrind, where that is installed.
    pub(crate) fn check_memory(&mut self) -> Result<(), Skip> {
        if !is_installed("valgrind") {
            return Err(Skip("valgrind is not installed".to_owned()));
        }
        self.checked = true;
        Ok(())
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.script();
        if self.unprivileged {
            command.arg("--unprivileged");
        }
        command.arg(self.file(""));
        if self.checked {
            let file = self.folder.path().join("valgrind.supp");
            fs::write(&file, SUPPRESSIONS).expect("the suppressions");
            command.args(VALGRIND).arg(format!("--suppressions={}", file.display()));
        }
        command.arg(self.folder.path().join("test")).args(arguments);
        command.env(INSIDE, "1").env("LD_LIBRARY_PATH", self.library(""));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.output().expect("sh")
    }

    fn script(&self) -> Command {
        let mut command = Command::new("sh");
        command.arg(self.folder.path().join("machine.sh"));
        command
    }
}

/// Whether a program is installed.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| Path::new(&folder).join(program).exists())
}

/// Whether the system's loader knows a library, as its own list tells.
pub(crate) fn is_library_known(soname: &str) -> bool {
    let list = Command::new("sh").args(["-c", "PATH=$PATH:/usr/sbin:/sbin ldconfig -p"]).output().expect("sh");
    assert!(list.status.success(), "{}", complaint(&list));
    String::from_utf8_lossy(&list.stdout).contains(soname)
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}
