//! Reads the limits, the environment and the mapped libraries of a process.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::cgroup::{self, HugePageLimit};
use super::libraries::{self, MappedLibrary};
use crate::error::{Error, Problems, Result};
use crate::host::Host;
use crate::scan::root::HostRoot;
use crate::types::number;

/// Prefixes of the variables that libfabric, libibverbs, the runtimes and their launchers read.
const PREFIXES: [&str; 8] = ["FI_", "IBV_", "MLX5_", "NCCL_", "NEURON", "OFI_NCCL_", "RDMAV_", "VERBS_"];
const VARIABLES: [&str; 6] =
    ["AWS_NEURON_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "LD_PRELOAD", "PATH", "SLURM_JOB_ID", "SLURM_RLIMIT_MEMLOCK"];
/// The names of parents that show the launcher.
pub(super) const LAUNCHERS: [&str; 5] =
    ["slurmstepd", "slurmd", "systemd", "containerd-shim", "containerd-shim-runc-v2"];
/// The number of the capability that lifts the limit of locked memory.
const CAP_IPC_LOCK: u32 = 14;

/// A process as `/proc` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Process {
    /// The process number; `None` for the process that runs nearfab. The process that runs nearfab inherited its limits
    /// and environment from the shell or service that started it.
    pub pid: Option<u32>,
    /// The name of the process, at most 15 bytes.
    pub name: Option<String>,
    /// The soft limit of memory that the process may lock (`RLIMIT_MEMLOCK`).
    pub locked_memory: Option<Limit>,
    /// True if the process has `CAP_IPC_LOCK`, which lifts the limit. The capability has this effect only in the
    /// initial user namespace.
    pub may_exceed: Option<bool>,
    /// The parent of the process; `None` if this user cannot read it.
    pub parent: Option<Parent>,
    /// The software that started the process and gave it its limits, if it is known.
    pub launcher: Option<Launcher>,
    /// The lowest limit of huge pages of 2 MiB of the control groups of the process; `None` without such a limit.
    pub huge_page_limit: Option<HugePageLimit>,
    /// The environment variables at the start of the process that libfabric, libibverbs, the runtimes and the dynamic
    /// loader read; `None` if this user cannot read the environment.
    pub environment: Option<BTreeMap<String, String>>,
    /// The vendor libraries that the process has mapped; `None` if this user cannot read the process's mappings.
    pub libraries: Option<Vec<MappedLibrary>>,
}

/// The parent of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Parent {
    /// The name of the parent.
    pub name: Option<String>,
    /// The soft limit of memory that the parent may lock.
    pub locked_memory: Option<Limit>,
}

/// The software that started a process and gave it its limits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Launcher {
    /// Slurm, which gives a job the limits of the shell that submitted it.
    Slurm,
    /// A container runtime, which gives containers its own limits.
    Container,
    /// A service of systemd, with the name of its unit.
    Service(String),
    /// A launcher that a newer nearfab recorded and this version does not know.
    #[serde(other)]
    Unknown,
}

/// A resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// A number of bytes.
    Bytes(u64),
    /// No limit.
    Unlimited,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => f.pad(&format!("{bytes} bytes")),
            Self::Unlimited => f.pad("unlimited"),
        }
    }
}

impl Process {
    /// Reads a process of the host. `pid` is the number of the process in the PID namespace of the `/proc` below the
    /// host's root. A value that this user cannot read is `None`.
    ///
    /// # Errors
    /// [`Error::NoTree`] for a host from a table or a record. [`Error::Read`] if no such process exists.
    pub fn read(host: &Host, pid: u32) -> Result<Self> {
        let path = host.root().ok_or_else(|| Error::NoTree { origin: host.origin().to_string() })?;
        let root = HostRoot::open(path)?;
        let folder = format!("proc/{pid}");
        if root.list(&folder)?.is_empty() {
            let cause = std::io::Error::new(std::io::ErrorKind::NotFound, "no such process");
            return Err(Error::Read { path: path.join(folder), cause });
        }
        let environment = root.read(&format!("{folder}/environ"));
        let environment = environment.ok().flatten().as_deref().map(started_with);
        Ok(Self { pid: Some(pid), environment, ..Self::shown(&root, &mut Problems::default(), &folder) }
            .with_launcher())
    }

    /// Returns the process that runs this code.
    pub(super) fn own(root: &HostRoot, problems: &mut Problems) -> Self {
        let text = |pair: (std::ffi::OsString, std::ffi::OsString)| {
            Some((pair.0.into_string().ok()?, pair.1.into_string().ok()?))
        };
        let environment = relevant(std::env::vars_os().filter_map(text));
        Self { name: None, environment: Some(environment), ..Self::shown(root, problems, "proc/self") }.with_launcher()
    }

    /// Reads a folder of `/proc`, without the environment.
    fn shown(root: &HostRoot, problems: &mut Problems, folder: &str) -> Self {
        let text =
            |problems: &mut Problems, file: &str| problems.take(root.read(&format!("{folder}/{file}"))).flatten();
        let status = text(problems, "status");
        let cgroup = text(problems, "cgroup");
        let parent = status.as_deref().and_then(parent).map(|pid| Parent {
            name: root.read(&format!("proc/{pid}/comm")).ok().flatten(),
            locked_memory: root.read(&format!("proc/{pid}/limits")).ok().flatten().as_deref().and_then(locked_memory),
        });
        let mut text = |file: &str| text(problems, file);
        Self {
            pid: None,
            name: text("comm"),
            locked_memory: text("limits").as_deref().and_then(locked_memory),
            may_exceed: status.as_deref().and_then(may_exceed),
            launcher: cgroup.as_deref().and_then(launcher),
            environment: None,
            libraries: text("maps").as_deref().map(libraries::mapped),
            huge_page_limit: cgroup.as_deref().and_then(|cgroup| cgroup::of_process(root, problems, cgroup)),
            parent,
        }
    }

    /// Returns the process with the launcher that the environment and the parent show. Slurm also starts containers, so
    /// Slurm comes before the control group.
    fn with_launcher(mut self) -> Self {
        let is_step = ["SLURM_RLIMIT_MEMLOCK", "SLURM_JOB_ID"].iter().any(|name| self.variable(name).is_some());
        let parent = self.parent.as_ref().and_then(|parent| parent.name.as_deref());
        match parent {
            _ if is_step => self.launcher = Some(Launcher::Slurm),
            Some("slurmstepd") => self.launcher = Some(Launcher::Slurm),
            Some(name) if name.starts_with("containerd-shim") => self.launcher = Some(Launcher::Container),
            _ => {}
        }
        self
    }

    /// Returns the value of an environment variable.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.as_ref()?.get(name).map(String::as_str)
    }
}

/// Returns the relevant variables of a text of `NAME=VALUE` pairs with zero bytes between them. If a name occurs twice,
/// the first value counts, as for `getenv`.
fn started_with(environ: &str) -> BTreeMap<String, String> {
    let pairs = environ.split('\0').filter_map(|pair| pair.split_once('='));
    relevant(pairs.rev().map(|(name, value)| (name.to_owned(), value.to_owned())))
}

/// Returns the variables that [`PREFIXES`] and [`VARIABLES`] select.
fn relevant(pairs: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let matters = |name: &str| VARIABLES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    pairs.filter(|(name, _)| matters(name)).collect()
}

/// Returns the soft limit of a line such as `Max locked memory  65536  65536  bytes`.
fn locked_memory(limits: &str) -> Option<Limit> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(Limit::Unlimited),
        bytes => number(bytes).map(Limit::Bytes),
    }
}

/// Returns the number in a line such as `PPid: 950`; `None` for 0, the parent of a process whose parent is in another PID
/// namespace.
fn parent(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    number(line.trim()).filter(|pid| *pid != 0)
}

/// Returns the launcher that the control group of a process shows.
fn launcher(cgroup: &str) -> Option<Launcher> {
    const CONTAINERS: [&str; 5] = ["kubepods", "docker", "containerd", "crio", "libpod"];
    let mut paths = cgroup.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let is_of_container = |path: &str| path.split(['/', '-', '.']).any(|part| CONTAINERS.contains(&part));
    if cgroup.lines().any(|line| line.splitn(3, ':').nth(2).is_some_and(is_of_container)) {
        return Some(Launcher::Container);
    }
    paths.find_map(|path| {
        let unit = path.strip_prefix("/system.slice/")?.split('/').find(|part| part.ends_with(".service"))?;
        Some(Launcher::Service(unit.to_owned()))
    })
}

/// Returns true if the mask in a line such as `CapEff: 000001ffffffffff` has the capability.
fn may_exceed(status: &str) -> Option<bool> {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let mask = mask.trim();
    // The kernel writes 16 digits. `from_str_radix` would accept a sign.
    let digits = mask.len() <= 16 && mask.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mask = u64::from_str_radix(mask, 16).ok().filter(|_| digits)?;
    Some(mask >> CAP_IPC_LOCK & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn limits_and_capabilities_are_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max locked memory         65536                unlimited            bytes     \n";
        assert_eq!(locked_memory(limits), Some(Limit::Bytes(65536)));
        assert_eq!(
            locked_memory("Max locked memory         unlimited            unlimited bytes"),
            Some(Limit::Unlimited)
        );
        assert_eq!(locked_memory("Max open files            1024"), None);
        assert_eq!(may_exceed("Name:\tcat\nCapEff:\t000001ffffffffff\n"), Some(true));
        assert_eq!(may_exceed("CapEff:\t0000000000000000\n"), Some(false));
    }

    #[test]
    fn signs_are_refused() {
        assert_eq!(locked_memory("Max locked memory         +65536 0 bytes"), None);
        assert_eq!(may_exceed("CapEff:\t+000001ffffffffff\n"), None);
        assert_eq!(may_exceed("CapEff:\t-4000\n"), None);
    }

    #[test]
    fn first_of_two_equal_variables_counts() {
        let started = started_with("FI_PROVIDER=efa\0HOME=/root\0FI_PROVIDER=tcp\0FI_X\0");
        assert_eq!(started, BTreeMap::from([("FI_PROVIDER".to_owned(), "efa".to_owned())]));
    }

    #[test]
    fn only_relevant_variables_are_kept() {
        let pairs =
            [("FI_PROVIDER", "efa"), ("AWS_SECRET_ACCESS_KEY", "x"), ("NEURON_RT_NUM_CORES", "2"), ("PATH", "/bin")];
        let kept = relevant(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["FI_PROVIDER", "NEURON_RT_NUM_CORES", "PATH"]);
    }

    proptest! {
        #[test]
        fn words_are_read_as_plainly(word in "\\PC{0,20}", digits in "[0-9]{1,22}", mask in "[0-9a-f+-]{1,18}") {
            for word in [word, digits, mask] {
                let first = word.split_whitespace().next();
                let plain = first.filter(|first| first.bytes().all(|byte| byte.is_ascii_digit()));
                let bytes = plain.and_then(|first| first.parse().ok()).map(Limit::Bytes);
                if first != Some("unlimited") {
                    prop_assert_eq!(locked_memory(&format!("Max locked memory {word}")), bytes, "{}", word);
                }
                let mask = word.lines().next().unwrap_or_default().trim();
                let sound = (1..=16).contains(&mask.len()) && mask.bytes().all(|byte| byte.is_ascii_hexdigit());
                let bit = mask.len().checked_sub(4).and_then(|at| mask.get(at..=at)).map_or(0, |digit| {
                    u32::from_str_radix(digit, 16).unwrap_or_default()
                });
                let plain = sound.then_some(bit & 4 != 0);
                prop_assert_eq!(may_exceed(&format!("CapEff:{word}")), plain, "{}", word);
            }
        }

        #[test]
        fn every_limit_is_read(bytes: u64) {
            let line = format!("Max locked memory         {bytes:<20} unlimited            bytes");
            prop_assert_eq!(locked_memory(&line), Some(Limit::Bytes(bytes)));
        }
    }
}
