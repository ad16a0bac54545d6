//! A process that uses the devices, or is to: its limits, its environment, the libraries in it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::libraries::{self, MappedLibrary};
use crate::error::{Error, Problems, Result};
use crate::host::Host;
use crate::scan::root::HostRoot;
use crate::types::number;

/// The beginnings of the names of variables that libfabric, verbs, the runtimes and their launchers read.
const PREFIXES: [&str; 8] = ["FI_", "IBV_", "MLX5_", "NCCL_", "NEURON", "OFI_NCCL_", "RDMAV_", "VERBS_"];
const VARIABLES: [&str; 4] = ["AWS_NEURON_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "LD_PRELOAD", "PATH"];
/// The capability to lock memory past the limit, by its number.
const CAP_IPC_LOCK: u32 = 14;

/// A process, as `/proc` shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Process {
    /// Its number. `None`: the process that looked, which was started with the limits and the environment of the shell or
    /// the service that started it.
    pub pid: Option<u32>,
    /// Its name, of at most 15 letters.
    pub name: Option<String>,
    /// How much memory it may lock (`RLIMIT_MEMLOCK`, the soft limit).
    pub locked_memory: Option<Limit>,
    /// Whether it has `CAP_IPC_LOCK`, with which that limit does not count. Of the initial user namespace only.
    pub may_exceed: Option<bool>,
    /// Those of its environment variables that libfabric, verbs, the runtimes and the loader read, as it was started with.
    /// `None` where they may not be read.
    pub environment: Option<BTreeMap<String, String>>,
    /// The vendors' libraries that it has mapped; `None` where that may not be read.
    pub libraries: Option<Vec<MappedLibrary>>,
}

/// A limit of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// So many bytes.
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
    /// A process of the host, by its number in the PID namespace whose `/proc` is below the host's root.
    ///
    /// # Errors
    /// [`Error::NoTree`] for a host from a table or a record, [`Error::Read`] where there is no such process. What of it this
    /// user may not read is `None`.
    pub fn read(host: &Host, pid: u32) -> Result<Self> {
        let path = host.root().ok_or_else(|| Error::NoTree { origin: host.origin().to_string() })?;
        let root = HostRoot::open(path)?;
        let folder = format!("proc/{pid}");
        if root.list(&folder)?.is_empty() {
            let source = std::io::Error::new(std::io::ErrorKind::NotFound, "there is no such process");
            return Err(Error::Read { path: path.join(folder), source });
        }
        let environment = root.read(&format!("{folder}/environ"));
        let environment = environment.ok().flatten().as_deref().map(started_with);
        Ok(Self { pid: Some(pid), environment, ..Self::shown(&root, &mut Problems::default(), &folder) })
    }

    /// The process that looks.
    pub(super) fn own(root: &HostRoot, problems: &mut Problems) -> Self {
        let text = |pair: (std::ffi::OsString, std::ffi::OsString)| {
            Some((pair.0.into_string().ok()?, pair.1.into_string().ok()?))
        };
        let environment = relevant(std::env::vars_os().filter_map(text));
        Self { name: None, environment: Some(environment), ..Self::shown(root, problems, "proc/self") }
    }

    /// What its folder in `/proc` shows, without its environment.
    fn shown(root: &HostRoot, problems: &mut Problems, folder: &str) -> Self {
        let mut text = |file: &str| problems.take(root.read(&format!("{folder}/{file}"))).flatten();
        Self {
            pid: None,
            name: text("comm"),
            locked_memory: text("limits").as_deref().and_then(locked_memory),
            may_exceed: text("status").as_deref().and_then(may_exceed),
            environment: None,
            libraries: text("maps").as_deref().map(libraries::mapped),
        }
    }

    /// The value of an environment variable.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.as_ref()?.get(name).map(String::as_str)
    }
}

/// The variables that matter of `NAME=VALUE` with zero bytes between them. Of two of one name the first counts, as it does
/// for `getenv`.
fn started_with(environ: &str) -> BTreeMap<String, String> {
    let pairs = environ.split('\0').filter_map(|pair| pair.split_once('='));
    relevant(pairs.rev().map(|(name, value)| (name.to_owned(), value.to_owned())))
}

/// The variables that matter.
fn relevant(pairs: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let matters = |name: &str| VARIABLES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    pairs.filter(|(name, _)| matters(name)).collect()
}

/// The soft limit in `Max locked memory  65536  65536  bytes`.
fn locked_memory(limits: &str) -> Option<Limit> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(Limit::Unlimited),
        bytes => number(bytes).map(Limit::Bytes),
    }
}

/// From the mask in the line `CapEff: 000001ffffffffff`.
fn may_exceed(status: &str) -> Option<bool> {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let mask = mask.trim();
    // The kernel writes 16 digits; `from_str_radix` would take a sign.
    let digits = mask.len() <= 16 && mask.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mask = u64::from_str_radix(mask, 16).ok().filter(|_| digits)?;
    Some(mask >> CAP_IPC_LOCK & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
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
    fn signs_are_no_digits() {
        assert_eq!(locked_memory("Max locked memory         +65536 0 bytes"), None);
        assert_eq!(may_exceed("CapEff:\t+000001ffffffffff\n"), None);
        assert_eq!(may_exceed("CapEff:\t-4000\n"), None);
    }

    #[test]
    fn of_a_variable_that_is_there_twice_the_first_counts() {
        let started = started_with("FI_PROVIDER=efa\0HOME=/root\0FI_PROVIDER=tcp\0FI_X\0");
        assert_eq!(started, BTreeMap::from([("FI_PROVIDER".to_owned(), "efa".to_owned())]));
    }

    #[test]
    fn of_the_environment_only_what_matters_is_kept() {
        let pairs =
            [("FI_PROVIDER", "efa"), ("AWS_SECRET_ACCESS_KEY", "x"), ("NEURON_RT_NUM_CORES", "2"), ("PATH", "/bin")];
        let kept = relevant(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["FI_PROVIDER", "NEURON_RT_NUM_CORES", "PATH"]);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*", word in "\\PC{0,20}") {
            let _ = (locked_memory(&text), may_exceed(&text));
            let _ = (locked_memory(&format!("Max locked memory {word}")), may_exceed(&format!("CapEff:{word}")));
        }

        #[test]
        fn every_limit_is_read(bytes: u64) {
            let line = format!("Max locked memory         {bytes:<20} unlimited            bytes");
            prop_assert_eq!(locked_memory(&line), Some(Limit::Bytes(bytes)));
        }
    }
}
