//! Programs that the commands run, and the Debian packages that contain them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run::{say, visibly};

/// A program that the machine must have.
pub(crate) struct Tool {
    /// A name on the search path, or an absolute path.
    pub(crate) program: &'static str,
    /// The Debian package that has the program.
    pub(crate) package: &'static str,
}

/// Programs that the tests need.
pub(crate) const TESTS: &[Tool] = &[
    tool("/usr/aarch64-linux-gnu/include/stdio.h", "libc6-dev-arm64-cross"),
    tool("/usr/include/infiniband/efadv.h", "libibverbs-dev"),
    tool("/usr/include/rdma/fabric.h", "libfabric-dev"),
    tool("/usr/lib/python3.11/ensurepip/__init__.py", "python3-venv"),
    tool("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    tool("cc", "gcc"),
    tool("fi_info", "libfabric-bin"),
    tool("git", "git"),
    tool("ibv_devices", "ibverbs-utils"),
    tool("lstopo-no-graphics", "hwloc-nox"),
    tool("mpirun", "openmpi-bin"),
    tool("strace", "strace"),
    tool("unshare", "util-linux"),
];

/// Programs that write the bindings again from the vendors' headers.
pub(crate) const GENERATE: &[Tool] = &[
    tool("/usr/include/infiniband/efadv.h", "libibverbs-dev"),
    tool("/usr/include/rdma/fabric.h", "libfabric-dev"),
    tool("/usr/lib/x86_64-linux-gnu/libclang-14.so.1", "libclang1-14"),
    // The compiler's headers, which the package of the library lacks.
    tool("/usr/lib/llvm-14/lib/clang/14.0.6/include/stddef.h", "libclang-common-14-dev"),
    tool("pkg-config", "pkg-config"),
];

/// Programs that the Kubernetes bed needs beside the programs that it builds (see [`crate::k8s`]).
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

/// Programs that the benchmarks need.
pub(crate) const BENCH: &[Tool] = &[
    tool("cc", "gcc"),
    tool("lstopo-no-graphics", "hwloc-nox"),
    tool("strace", "strace"),
    tool("unshare", "util-linux"),
];

/// Programs that put bugs into a copy of the sources.
pub(crate) const SEEDED: &[Tool] = &[tool("git", "git"), tool("patch", "patch")];

/// The program that finds errors of memory.
pub(crate) const VALGRIND: &[Tool] = &[tool("valgrind", "valgrind")];

/// Programs that make a bare Debian root.
pub(crate) const BARE: &[Tool] = &[tool("debootstrap", "debootstrap"), tool("unshare", "util-linux")];

/// A program from the registry of Rust packages.
pub(crate) struct Crate {
    name: &'static str,
    version: &'static str,
    /// Further arguments of `cargo install`.
    options: &'static [&'static str],
}

/// Checks licences, bans and sources of dependencies.
pub(crate) const CARGO_DENY: Crate = Crate { name: "cargo-deny", version: "0.20.2", options: &[] };
/// Runs the fuzz targets.
pub(crate) const CARGO_FUZZ: Crate = Crate { name: "cargo-fuzz", version: "0.13.2", options: &[] };
/// Writes the C header.
pub(crate) const CBINDGEN: Crate = Crate { name: "cbindgen", version: "0.29.4", options: &[] };
/// Renders the book. mdbook's server and file watcher are left out.
pub(crate) const MDBOOK: Crate =
    Crate { name: "mdbook", version: "0.5.4", options: &["--no-default-features", "--features", "search"] };

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package }
}

/// Checks that programs are installed.
///
/// # Errors
/// If a program is missing; the error has the command that installs all missing packages.
pub(crate) fn require(tools: &[Tool]) -> Result<()> {
    let packages = missing_packages(&[tools]);
    if packages.is_empty() {
        return Ok(());
    }
    bail!("programs are missing; on Debian, run as root: apt-get install {}", packages.join(" "))
}

/// Returns the packages of the missing programs, each once, in alphabetical order.
pub(crate) fn missing_packages(lists: &[&[Tool]]) -> Vec<&'static str> {
    let missing = lists.iter().flat_map(|tools| tools.iter()).filter(|tool| !is_installed(tool.program));
    let packages: BTreeSet<&str> = missing.map(|tool| tool.package).collect();
    packages.into_iter().collect()
}

/// Returns whether a program is on the search path, or the file of an absolute path exists.
pub(crate) fn is_installed(program: &str) -> bool {
    // Joining an absolute path gives that path.
    search_path().iter().any(|folder| folder.join(program).is_file())
}

/// Returns the program of a Rust package. Builds each version once, in the user's cache.
///
/// # Errors
/// If the package cannot be downloaded or built.
pub(crate) fn from_crates(Crate { name, version, options }: &Crate) -> Result<PathBuf> {
    let folder = cache()?.join("tools").join(format!("{name}-{version}"));
    let program = folder.join("bin").join(name);
    if !program.is_file() {
        say(format_args!("Installing {name} {version}"));
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["install", "--quiet", "--locked", "--version", version, "--root"])
            .arg(&folder)
            .args(*options)
            .arg(name);
        visibly(&mut cargo)?;
    }
    Ok(program)
}

/// Returns nearfab's folder in the user's cache. The folder keeps files that take minutes to make and serve every checkout.
///
/// # Errors
/// If the environment names no home.
pub(crate) fn cache() -> Result<PathBuf> {
    let cache = match std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from) {
        Some(folder) if folder.is_absolute() => folder,
        _ => std::env::home_dir()
            .context("neither XDG_CACHE_HOME nor HOME is set: no folder to keep files in")?
            .join(".cache"),
    };
    Ok(cache.join("nearfab"))
}

/// Returns the search path with the administrator's folders added, which a user's search path may lack.
pub(crate) fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    folders
}
