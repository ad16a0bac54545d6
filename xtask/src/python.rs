//! Builds the Python wheel, and tests it as users install it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::run::{output, visibly};
use crate::tally::Tally;

/// Returns why the wheel cannot be built and tested on this machine.
pub(crate) fn impossible() -> Option<String> {
    output(interpreter().args(["-c", "import ensurepip, venv"])).err()?;
    Some("Python 3 with venv is not installed (Debian: python3-venv)".to_owned())
}

/// Builds the wheel of `python/`, and returns its file.
///
/// # Errors
/// If Python 3 with venv is missing, the tools cannot be installed, or the build fails.
pub(crate) fn wheel(root: &Path) -> Result<PathBuf> {
    let python = environment(root, "build")?;
    let wheels = root.join("target/python/wheels");
    if wheels.exists() {
        fs::remove_dir_all(&wheels).with_context(|| format!("emptying {}", wheels.display()))?;
    }
    install(root, &python, &["maturin".as_ref()])?;
    let mut maturin = Command::new(&python);
    maturin.current_dir(root.join("python")).args(["-m", "maturin", "build", "--release", "--locked", "--out"]);
    visibly(maturin.arg(&wheels))?;
    let mut files = fs::read_dir(&wheels).with_context(|| format!("reading {}", wheels.display()))?;
    match (files.next().transpose()?, files.next()) {
        (Some(file), None) => Ok(file.path()),
        _ => bail!("expected one wheel in {}", wheels.display()),
    }
}

/// Installs the wheel into a clean environment, and runs pytest, the check of the stubs against the module, and the check of
/// types in the tests and the example. Returns the environment's interpreter, which the test of all faces reads from
/// `NEARFAB_PYTHON`.
///
/// # Errors
/// If a tool cannot be installed or a check fails.
pub(crate) fn test(root: &Path, wheel: &Path, tally: &mut Tally) -> Result<PathBuf> {
    let python = environment(root, "test")?;
    install(root, &python, &[wheel.as_os_str(), "pytest".as_ref(), "mypy".as_ref()])?;
    let tests = root.join("python/tests");
    let settings = root.join("python/pyproject.toml");
    // In the folder python/, Python would import the sources instead of the wheel.
    let module = |name: &str| {
        let mut command = Command::new(&python);
        command.current_dir(root.join("target/python")).env("PYTHONDONTWRITEBYTECODE", "1").args(["-m", name]);
        command
    };
    tally.watch("pytest", module("pytest").arg("--config-file").arg(&settings).arg(&tests))?;
    visibly(module("mypy.stubtest").arg("nearfab"))?;
    visibly(module("mypy").arg("--config-file").arg(&settings).arg(&tests).arg(root.join("examples/python")))?;
    Ok(python)
}

/// Returns the command of the Python that the environments are made with.
fn interpreter() -> Command {
    Command::new(env::var_os("PYTHON").unwrap_or_else(|| "python3".into()))
}

/// Makes a virtual environment below `target/python`, and returns its interpreter.
fn environment(root: &Path, name: &str) -> Result<PathBuf> {
    let folder = root.join("target/python").join(name);
    visibly(interpreter().args(["-m", "venv", "--clear"]).arg(&folder))?;
    Ok(folder.join("bin/python"))
}

/// Installs packages. `python/constraints.txt` has the versions of the tools.
fn install(root: &Path, python: &Path, packages: &[&OsStr]) -> Result<()> {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint"]);
    visibly(pip.arg(root.join("python/constraints.txt")).args(packages))
}
