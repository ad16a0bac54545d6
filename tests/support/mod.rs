//! An emulated machine on which tests open devices, with stand-ins for vendor libraries.
//!
//! Tests in other languages use `machine.sh` and the stand-ins in `../stub` too.

pub(crate) mod tree;

use std::collections::BTreeMap;
use std::env;
use std::fmt::Debug;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

use nearfab::instances::InstanceTable;
use nearfab_emu::skipped;
use tempfile::TempDir;

const MACHINE: &str = include_str!("machine.sh");
pub(crate) const STUB: &str = include_str!("../stub/verbs.c");
const FABRIC: &str = include_str!("../stub/fabric.c");
/// The headers of the stand-ins. A compiler looks for these headers beside the stand-in's source.
const HEADERS: [(&str, &str); 2] =
    [("called.h", include_str!("../stub/called.h")), ("kept.h", include_str!("../stub/kept.h"))];
/// If this variable is set, every program of a machine runs under valgrind. `cargo xtask valgrind` sets it.
const ALWAYS_VALGRIND: &str = "NEARFAB_TEST_VALGRIND";
const VALGRIND: [&str; 5] =
    ["valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"];
const SUPPRESSIONS: &str = include_str!("valgrind.supp");
const LOG: &str = "STUB_LOG";
pub(crate) const INSIDE: &str = "NEARFAB_TEST_INSIDE";

/// A compiled library as the bytes of its file, or the compiler's errors.
type Compiled = Result<Vec<u8>, String>;

/// The libraries that were compiled in this process, by soname and source text. Most tests of a program need the same
/// stand-in.
static COMPILED: Mutex<BTreeMap<(String, String), Compiled>> = Mutex::new(BTreeMap::new());

/// An emulated trn2.48xlarge. A test changes the machine before the test runs a program on the machine.
pub(crate) struct Machine {
    /// The folder of the machine's libraries, scripts and device nodes. Every user may read this folder.
    folder: TempDir,
    /// The machine's `sys`, `proc` and the other files of the emulated tree.
    tree: TempDir,
    /// Whether programs run under valgrind.
    under_valgrind: bool,
    /// A copy of the program, if a user without privilege runs the program. This user may not be able to read the build
    /// folder.
    unprivileged_copy: Option<PathBuf>,
    environment: Vec<(&'static str, String)>,
}

/// Why a test cannot run on this system.
pub(crate) struct Skip(pub(crate) String);

/// Runs the body of the test with this name in a child process, on a trn2.48xlarge that `prepare` may change.
///
/// The child process is this test program, which runs only this test. `test` is the name as the program lists it,
/// modules included.
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
    let output = machine.run(&[test, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"]);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let passed = output.status.success() && stdout.contains("1 passed");
    assert!(passed, "on the machine: {}\n{stdout}\n{stderr}", output.status);
    stderr
        .lines()
        .filter_map(|line| line.strip_prefix("SKIPPED ")?.split_once(": "))
        .for_each(|(bed, why)| skipped(bed, why));
}

/// Returns how often the function of the stand-in was called on the machine that this process runs on.
pub(crate) fn calls(function: &str) -> usize {
    log().iter().filter(|line| line.split(' ').next() == Some(function)).count()
}

/// Returns the calls of the stand-in in their order: the function, and the device if the function has one.
pub(crate) fn log() -> Vec<String> {
    let path = env::var_os(LOG).expect("the machine has the stand-in");
    fs::read_to_string(path).expect("the log").lines().map(str::to_owned).collect()
}

/// Returns true if this process runs under valgrind. valgrind is slow, so a test should repeat less.
pub(crate) fn is_slow() -> bool {
    env::var_os(ALWAYS_VALGRIND).is_some()
}

/// Functions of a vendor library that create an object. Each row has the function, the function that destroys the
/// object, and the functions that destroy the object's children. The children must be destroyed before the object.
pub(crate) type Ends<'a> = &'a [(&'a str, &'a str, &'a [&'a str])];

/// Fails unless each object that was created since the log had `start` lines was destroyed once, after its children.
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

/// Returns all orders of the numbers below `count`.
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
        let tree = tree::tree_of(table, &[]);
        // File systems in memory often forbid device nodes.
        let (nodes, moved) = (tree.path().join("dev"), folder.path().join("dev"));
        let mv = Command::new("mv").args([&nodes, &moved]).output().expect("mv");
        assert!(mv.status.success(), "{}", complaint(&mv));
        symlink(moved, nodes).expect("a link");
        fs::create_dir(folder.path().join("lib")).expect("a folder for libraries");
        fs::write(folder.path().join("machine.sh"), MACHINE).expect("the script");
        for (name, text) in HEADERS {
            fs::write(folder.path().join(name), text).expect("a header");
        }
        let under_valgrind = is_slow();
        let machine = Self { folder, tree, under_valgrind, unprivileged_copy: None, environment: Vec::new() };

        let check = machine.script().arg("--check").output().expect("sh");
        if check.status.success() { Ok(machine) } else { Err(Skip(complaint(&check))) }
    }

    /// Returns the path of a file of the machine, such as `dev/infiniband/uverbs0`.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.tree.path().join(path)
    }

    /// Returns the path of a library that programs on the machine find before the libraries of the system.
    pub(crate) fn library(&self, soname: &str) -> PathBuf {
        self.folder.path().join("lib").join(soname)
    }

    /// Compiles the stand-in for libibverbs and libefa, and adds both to the machine.
    pub(crate) fn add_stub(&mut self) -> Result<(), Skip> {
        let headers = "#include <infiniband/verbs.h>\n#include <infiniband/efadv.h>\n";
        self.compile("headers", headers)
            .map_err(|_| Skip("no C compiler, or no headers of libibverbs (Debian: libibverbs-dev)".to_owned()))?;
        self.compile("libibverbs.so.1", STUB).unwrap_or_else(|errors| panic!("{errors}"));
        symlink("libibverbs.so.1", self.library("libefa.so.1")).expect("a link");
        self.keep_log();
        Ok(())
    }

    /// Compiles the stand-in for libfabric, and adds it to the machine.
    pub(crate) fn add_fabric(&mut self) -> Result<(), Skip> {
        self.compile("headers", "#include <rdma/fabric.h>\ntypedef int nothing;\n")
            .map_err(|_| Skip("no C compiler, or no headers of libfabric (Debian: libfabric-dev)".to_owned()))?;
        self.compile("libfabric.so.1", FABRIC).unwrap_or_else(|errors| panic!("{errors}"));
        self.keep_log();
        Ok(())
    }

    /// Makes stand-ins log their calls. Creates the log, because a program without privilege could not create it.
    pub(crate) fn keep_log(&mut self) {
        let log = self.folder.path().join("log");
        fs::write(&log, "").expect("a log");
        fs::set_permissions(&log, Permissions::from_mode(0o666)).expect("its permissions");
        self.set(LOG, log.to_str().expect("a temporary folder with a name in UTF-8"));
    }

    /// Makes stand-ins log no calls, for a test with millions of calls.
    pub(crate) fn forget_log(&mut self) {
        self.environment.retain(|(name, _)| *name != LOG);
    }

    /// Compiles a library and adds the library to the machine. The error has the compiler's messages.
    pub(crate) fn compile(&self, soname: &str, text: &str) -> Result<(), String> {
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        let library = compiled.entry((soname.to_owned(), text.to_owned())).or_insert_with(|| {
            self.run_compiler(soname, text)?;
            Ok(fs::read(self.library(soname)).expect("the library"))
        });
        let library = library.as_ref().map_err(String::clone)?;
        fs::write(self.library(soname), library).expect("a copy of the library");
        Ok(())
    }

    fn run_compiler(&self, soname: &str, text: &str) -> Result<(), String> {
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

    /// Sets an environment variable of programs on the machine.
    pub(crate) fn set(&mut self, name: &'static str, value: &str) {
        self.environment.push((name, value.to_owned()));
    }

    /// Makes programs run without privilege.
    pub(crate) fn drop_privilege(&mut self) {
        let copy = self.folder.path().join("test");
        fs::copy(env::current_exe().expect("this program"), &copy).expect("a copy of this program");
        self.unprivileged_copy = Some(copy);
    }

    /// Makes programs run under valgrind. Returns `Skip` if valgrind is not installed.
    pub(crate) fn check_memory(&mut self) -> Result<(), Skip> {
        if !is_installed("valgrind") {
            return Err(Skip("valgrind is not installed".to_owned()));
        }
        self.under_valgrind = true;
        Ok(())
    }

    /// Runs this program on the machine.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.script();
        if self.unprivileged_copy.is_some() {
            command.arg("--unprivileged");
        }
        command.arg(self.file(""));
        if self.under_valgrind {
            let file = self.folder.path().join("valgrind.supp");
            fs::write(&file, SUPPRESSIONS).expect("the suppressions");
            command.args(VALGRIND).arg(format!("--suppressions={}", file.display()));
        }
        let program = self.unprivileged_copy.clone();
        command.arg(program.unwrap_or_else(|| env::current_exe().expect("this program"))).args(arguments);
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

/// Returns true if a program is installed.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| Path::new(&folder).join(program).exists())
}

/// Returns true if the list of the system's loader has a library.
pub(crate) fn is_library_known(soname: &str) -> bool {
    let list = Command::new("sh").args(["-c", "PATH=$PATH:/usr/sbin:/sbin ldconfig -p"]).output().expect("sh");
    assert!(list.status.success(), "{}", complaint(&list));
    String::from_utf8_lossy(&list.stdout).contains(soname)
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}
