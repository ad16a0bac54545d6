//! `cargo xtask bare`: nearfab on a machine that has no libclang, no vendor headers and no vendor libraries.
//!
//! The machine is a Debian root with a C linker and nothing else. debootstrap makes it once, in the user's cache. The Rust
//! toolchain and cargo's downloads of this machine are mounted into the root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;

use crate::run::{output, say, workspace};
use crate::tools;

/// Parts of paths that must not occur below `usr/include` and `usr/lib`: with such a file, the bed would prove nothing.
const ABSENT: [&str; 4] = ["infiniband/", "libclang", "libefa.so", "libibverbs"];

/// Builds `nearfab` in the bare root, and discovers an emulated trn2.48xlarge and the bare machine.
///
/// # Errors
/// If the root cannot be made, or the build or a discovery fails in it.
pub(crate) fn run() -> Result<()> {
    if !geteuid().is_root() {
        say("SKIPPED bare: making a Debian root needs root");
        return Ok(());
    }
    tools::require(tools::BARE)?;
    let root = debian()?;
    let files = output(Command::new("find").args(["usr/include", "usr/lib"]).current_dir(&root))?;
    if let Some(file) = files.lines().find(|file| ABSENT.iter().any(|absent| file.contains(absent))) {
        bail!("{} is not bare, it has {file}: remove the folder", root.display());
    }
    let scratch = workspace().join("target/bare");
    fs::create_dir_all(&scratch).with_context(|| format!("making {}", scratch.display()))?;
    let nearfab = "/scratch/debug/nearfab";
    let steps = [
        "cargo build --offline --locked --quiet --target-dir /scratch --package nearfab-cli --package nearfab-emu"
            .to_owned(),
        "rm -rf /scratch/tree && /scratch/debug/nearfab-emu trn2.48xlarge /scratch/tree".to_owned(),
        format!("{nearfab} topo --root /scratch/tree"),
        format!("{nearfab} list"),
    ];
    let mut printed = String::new();
    for step in &steps {
        say(format_args!("bare: {step}"));
        printed += &inside(&root, &scratch, step)?;
    }
    if !printed.contains("(the tree /scratch/tree): 16 Neuron devices (128 cores), 16 EFA interfaces") {
        bail!("nearfab did not discover the emulated host:\n{printed}");
    }
    if !printed.contains("(this machine): ") {
        bail!("nearfab did not discover the bare machine:\n{printed}");
    }
    say("test result: ok. 1 passed; 0 failed; bare: built and ran without libclang, vendor headers and libraries");
    Ok(())
}

/// Returns the root folder. Makes the folder if the cache does not have it.
fn debian() -> Result<PathBuf> {
    let release = fs::read_to_string("/etc/os-release").context("reading /etc/os-release")?;
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let suite = suite.context("/etc/os-release names no Debian suite")?;
    let root = tools::cache()?.join(format!("bare-{suite}"));
    if root.exists() {
        return Ok(root);
    }
    say(format_args!("Making a bare Debian {suite} in {}", root.display()));
    let unfinished = root.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).with_context(|| format!("removing {}", unfinished.display()))?;
    }
    output(
        Command::new("debootstrap")
            .args(["--variant=minbase", "--include=gcc,libc6-dev", suite])
            .arg(&unfinished)
            .arg(mirror(suite)?),
    )?;
    fs::rename(&unfinished, &root).with_context(|| format!("keeping {}", root.display()))?;
    Ok(root)
}

/// Returns the URL that this machine gets its packages from.
fn mirror(suite: &str) -> Result<String> {
    let format = "$(SITE) $(CODENAME)";
    let targets = output(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    let site = targets.lines().find_map(|line| line.strip_suffix(suite)?.strip_suffix(' '));
    site.map(str::to_owned).with_context(|| format!("apt has no source for {suite}"))
}

/// Runs a shell command in the root, in private mount and network namespaces: the mounts end with the command, and the
/// command reaches no network.
fn inside(root: &Path, scratch: &Path, command: &str) -> Result<String> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(workspace()))?;
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let home = home.context("neither CARGO_HOME nor HOME is set")?;
    let script = r#"
        root=$1 scratch=$2 source=$3 sysroot=$4 home=$5 command=$6
        at() { mkdir -p "$root$2" && mount --bind "$1" "$root$2"; }
        at "$source" /source && at "$scratch" /scratch && at "$sysroot" /rust && at "$home" /cargo
        mount -t proc proc "$root/proc" && mount --rbind /sys "$root/sys"
        cd / && exec chroot "$root" /usr/bin/env -i PATH=/rust/bin:/usr/bin:/bin CARGO_HOME=/cargo \
            sh -ec "cd /source && $command"
    "#;
    output(
        Command::new("unshare")
            .args(["--mount", "--net", "--propagation", "private", "sh", "-euc", script, "bare"])
            .arg(root)
            .arg(scratch)
            .arg(workspace().canonicalize().context("finding the source tree")?)
            .arg(sysroot.trim())
            .arg(home)
            .arg(command),
    )
}
