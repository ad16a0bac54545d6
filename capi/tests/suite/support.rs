//! Compiles C programs against the header and the library as users do, and runs them.

use std::env;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nearfab_emu::skipped;
use tempfile::TempDir;

/// How a program is linked with the library.
#[derive(Clone, Copy)]
pub(crate) enum Linked {
    /// The loader finds libnearfab.so.0 when the program starts.
    Dynamically,
    /// The program contains libnearfab.a and needs the libraries that docs/reference/c.md names.
    Statically,
    /// The program is not linked with the library and loads libnearfab.so.0 itself.
    AtRunTime,
}

/// A compiled C program.
pub(crate) struct Program {
    /// The folder of the program and the library. Dropping the `Program` deletes the folder.
    folder: TempDir,
    file: PathBuf,
}

impl Program {
    /// Compiles the source at a path below the top of the source tree. Returns `None` and reports the test as skipped
    /// if this machine has no C compiler.
    pub(crate) fn compile(test: &str, source: &str, linked: Linked) -> Option<Self> {
        let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        if !runs(&compiler) {
            skipped(test, format!("there is no C compiler {compiler}"));
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("program");
        let mut command = Command::new(compiler);
        command.args(["-std=c99", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g"]);
        command.arg("-pthread").arg("-I").arg(top().join("include")).arg("-o").arg(&file).arg(top().join(source));
        install(folder.path());
        match linked {
            Linked::Dynamically => {
                command
                    .arg("-L")
                    .arg(folder.path())
                    .arg("-lnearfab")
                    .arg(format!("-Wl,-rpath,{}", folder.path().display()));
            }
            Linked::Statically => {
                command.arg(built().join("libnearfab.a")).args(STATIC_LIBRARIES);
            }
            Linked::AtRunTime => {
                command.arg("-ldl");
            }
        }
        run(&mut command);
        Some(Self { folder, file })
    }

    /// Returns the path of the shared library, for a program that loads the library itself.
    pub(crate) fn library(&self) -> String {
        self.folder.path().join("libnearfab.so.0").to_str().unwrap().to_owned()
    }

    /// Runs the program, fails unless it succeeds, and returns its output.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        run(Command::new(&self.file).args(arguments))
    }

    /// Runs the program under valgrind, and fails if valgrind finds an error or a leak.
    pub(crate) fn run_under_valgrind(&self, test: &str, arguments: &[&str]) {
        if !runs("valgrind") {
            skipped(test, "valgrind is not installed, so the program ran without it only");
            return;
        }
        let mut command = Command::new("valgrind");
        command.args(["--quiet", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=all"]);
        run(command.arg("--errors-for-leak-kinds=definite,indirect,possible").arg(&self.file).args(arguments));
    }
}

/// The libraries that a static link needs besides libnearfab.a. `docs/reference/c.md` lists them for users.
pub(crate) const STATIC_LIBRARIES: &[&str] = &["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc"];

/// Returns the top of the source tree.
pub(crate) fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Runs a command, fails unless it succeeds, and returns its output.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    stdout.into_owned()
}

/// Makes links to the shared library in a folder, with the two names that an installation has.
fn install(folder: &Path) {
    let library = built().join("libnearfab.so");
    for name in ["libnearfab.so", "libnearfab.so.0"] {
        symlink(&library, folder.join(name)).unwrap();
    }
}

/// Builds the libraries and returns their folder. Cargo builds no cdylib or staticlib for the tests of a package.
fn built() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--offline", "--package", "nearfab-capi", "--manifest-path"]);
        run(cargo.arg(top().join("Cargo.toml")).arg("--target-dir").arg(target));
        target.join("debug")
    })
}

/// Runs readelf on the shared library and returns its output. Returns `None` and reports the test as skipped if this
/// machine has no readelf.
pub(crate) fn read_elf(test: &str, options: &[&str]) -> Option<String> {
    if !runs("readelf") {
        skipped(test, "there is no readelf (Debian: binutils)");
        return None;
    }
    Some(run(Command::new("readelf").env("LC_ALL", "C").args(options).arg(built().join("libnearfab.so"))))
}

/// Returns true if a program is installed.
fn runs(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
