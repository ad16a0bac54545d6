//! Programs that the commands need, and the Debian packages that bring them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

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

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package }
}

/// Fails with the packages to install when a program is missing.
///
/// # Errors
/// Names each missing program and one command that installs them all.
pub(crate) fn require(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&Tool> = tools.iter().filter(|tool| !tool.is_here()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let programs: Vec<&str> = missing.iter().map(|tool| tool.program).collect();
    let packages: BTreeSet<&str> = missing.iter().map(|tool| tool.package).collect();
    let packages: Vec<&str> = packages.into_iter().collect();
    bail!("missing: {}; on Debian: apt-get install {}", programs.join(", "), packages.join(" "))
}

/// The search path with the administrator's folders, which a user's own may lack.
pub(crate) fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    folders
}

impl Tool {
    fn is_here(&self) -> bool {
        let program = Path::new(self.program);
        // Joining an absolute path gives that path.
        search_path().iter().any(|folder| folder.join(program).is_file())
    }
}
