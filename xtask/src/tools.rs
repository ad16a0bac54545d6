//! Programs that the commands need, and the Debian packages that bring them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{say, visibly};

/// A program somebody has to install.
pub(crate) struct Tool {
    /// A name to look for where programs are, or an absolute path.
    pub(crate) program: &'static str,
    /// The Debian package that has it.
    pub(crate) package: &'static str,
}

/// What the Kubernetes bed runs besides what it builds itself (for which see [`crate::k8s`]).
pub(crate) const CLUSTER: &[Tool] = &[
    tool("runc", "runc"),
    tool("/usr/lib/cni/ptp", "containernetworking-plugins"),
    tool("/usr/lib/cni/host-local", "containernetworking-plugins"),
    tool("ip", "iproute2"),
    tool("openssl", "openssl"),
    tool("/bin/busybox", "busybox-static"),
    tool("gcc", "gcc"),
    tool("unshare", "util-linux"),
    tool("nsenter", "util-linux"),
    tool("setpriv", "util-linux"),
];

/// What the other tests use.
pub(crate) const TESTS: &[Tool] = &[
    tool("/usr/aarch64-linux-gnu/include/stdio.h", "libc6-dev-arm64-cross"),
    tool("/usr/include/infiniband/efadv.h", "libibverbs-dev"),
    tool("/usr/include/rdma/fabric.h", "libfabric-dev"),
    tool("/usr/lib/python3.11/ensurepip/__init__.py", "python3-venv"),
    tool("/usr/lib/x86_64-linux-gnu/libclang-14.so.1", "libclang1-14"),
    // The compiler's own headers, which no package of the library brings along.
    tool("/usr/lib/llvm-14/lib/clang/14.0.6/include/stddef.h", "libclang-common-14-dev"),
    tool("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    tool("cc", "gcc"),
    tool("debootstrap", "debootstrap"),
    tool("fi_info", "libfabric-bin"),
    tool("git", "git"),
    tool("ibv_devices", "ibverbs-utils"),
    tool("lstopo-no-graphics", "hwloc-nox"),
    tool("mpirun", "openmpi-bin"),
    tool("pkg-config", "pkg-config"),
    tool("strace", "strace"),
    tool("unshare", "util-linux"),
    tool("valgrind", "valgrind"),
];

/// What the benchmarks run and are watched with.
pub(crate) const BENCH: &[Tool] = &[
    tool("cc", "gcc"),
    tool("lstopo-no-graphics", "hwloc-nox"),
    tool("strace", "strace"),
    tool("unshare", "util-linux"),
];

/// What puts bugs into a copy of the sources.
pub(crate) const SEEDED: &[Tool] = &[tool("git", "git"), tool("patch", "patch")];

/// What looks for errors of memory.
pub(crate) const VALGRIND: &[Tool] = &[tool("valgrind", "valgrind")];

/// What makes a bare Debian root.
pub(crate) const BARE: &[Tool] = &[tool("debootstrap", "debootstrap"), tool("unshare", "util-linux")];

/// A program from the registry of Rust packages.
pub(crate) struct Crate {
    name: &'static str,
    version: &'static str,
}

/// Judges licences, bans and sources of dependencies.
pub(crate) const CARGO_DENY: Crate = Crate { name: "cargo-deny", version: "0.20.2" };
/// Runs the fuzz targets.
pub(crate) const CARGO_FUZZ: Crate = Crate { name: "cargo-fuzz", version: "0.13.2" };
/// Makes the C header.
pub(crate) const CBINDGEN: Crate = Crate { name: "cbindgen", version: "0.29.4" };

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package }
}

/// Fails with the packages to install when a program is missing.
///
/// # Errors
/// Names one command that installs them all.
pub(crate) fn require(tools: &[Tool]) -> Result<()> {
    let packages = missing_packages(&[tools]);
    if packages.is_empty() {
        return Ok(());
    }
    bail!("programs are missing; on Debian, as root: apt-get install {}", packages.join(" "))
}

/// The packages of the programs that are missing, each once, in order.
pub(crate) fn missing_packages(lists: &[&[Tool]]) -> Vec<&'static str> {
    let missing = lists.iter().flat_map(|tools| tools.iter()).filter(|tool| !is_installed(tool.program));
    let packages: BTreeSet<&str> = missing.map(|tool| tool.package).collect();
    packages.into_iter().collect()
}

/// Whether a program is on the search path, or the file of an absolute path is there.
pub(crate) fn is_installed(program: &str) -> bool {
    // Joining an absolute path gives that path.
    search_path().iter().any(|folder| folder.join(program).is_file())
}

/// The program of a Rust package, built once a version and kept in the user's cache.
///
/// # Errors
/// When it cannot be downloaded or built.
pub(crate) fn from_crates(Crate { name, version }: &Crate) -> Result<PathBuf> {
    let folder = cache()?.join("tools").join(format!("{name}-{version}"));
    let program = folder.join("bin").join(name);
    if !program.is_file() {
        say(format_args!("Installing {name} {version}"));
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["install", "--quiet", "--locked", "--version", version, "--root"]).arg(&folder).arg(name);
        visibly(&mut cargo)?;
    }
    Ok(program)
}

/// The folder of this project below the user's cache: what is costly to make and good for other checkouts as well.
///
/// # Errors
/// When the environment names no home.
pub(crate) fn cache() -> Result<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from) {
        Some(folder) if folder.is_absolute() => folder,
        _ => std::env::home_dir()
            .context("neither XDG_CACHE_HOME nor HOME is set: nowhere to keep files")?
            .join(".cache"),
    };
    Ok(cache.join("nearfab"))
}

/// The search path with the administrator's folders, which a user's own may lack.
pub(crate) fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    folders
}
