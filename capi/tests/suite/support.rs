//! Compiling and running C programs against the header and the library as users do.

use std::env;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nearfab_emu::skipped;
use tempfile::TempDir;

/// How a program gets the library.
#[derive(Clone, Copy)]
pub(crate) enum Linked {
    /// libnearfab.so.0, found when the program starts.
    Dynamically,
    /// libnearfab.a, with the libraries that docs/reference/c.md names.
    Statically,
}

/// A compiled C program.
pub(crate) struct Program {
    // Deletes the files when the program is done with.
    _folder: TempDir,
    file: PathBuf,
}

impl Program {
    /// Compiles a source, given relative to the top of the tree. `None`, and a word about it, where this machine has
    /// no C compiler.
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
        match linked {
            Linked::Dynamically => {
                install(folder.path());
                command
                    .arg("-L")
                    .arg(folder.path())
                    .arg("-lnearfab")
                    .arg(format!("-Wl,-rpath,{}", folder.path().display()));
            }
            Linked::Statically => {
                command.arg(built().join("libnearfab.a")).args(STATIC_LIBRARIES);
            }
        }
        run(&mut command);
        Some(Self { _folder: folder, file })
    }

    /// Runs the program to success; returns what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        run(Command::new(&self.file).args(arguments))
    }

    /// Runs the program under valgrind, which fails it for any error or leak.
    pub(crate) fn run_under_valgrind(&self, test: &str, arguments: &[&str]) {
        if !runs("valgrind") {
            skipped(test, "there is no valgrind to run it under once more");
            return;
        }
        let mut command = Command::new("valgrind");
        command.args(["--quiet", "--error-exitcode=99", "--leak-check=full", "--show-leak-kinds=all"]);
        run(command.arg("--errors-for-leak-kinds=definite,indirect,possible").arg(&self.file).args(arguments));
    }
}

/// What a static link needs besides the library; `docs/reference/c.md` tells users.
pub(crate) const STATIC_LIBRARIES: &[&str] = &["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-lc"];

/// The top of the source tree.
pub(crate) fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Runs a command to success; returns what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    stdout.into_owned()
}

/// Lays the shared library into a folder under its two names, as an installation does.
fn install(folder: &Path) {
    let library = built().join("libnearfab.so");
    for name in ["libnearfab.so", "libnearfab.so.0"] {
        symlink(&library, folder.join(name)).unwrap();
    }
}

/// Where the libraries are. Tests of a package without a Rust library do not make cargo build what it has instead.
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

fn runs(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
