//! Reads which CPUs are threads of one core.

use super::CpuList;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::scan::root::HostRoot;

const CPUS: &str = "sys/devices/system/cpu";
const ONLINE: &str = "sys/devices/system/cpu/online";
const EXPECTED: &str = "a CPU list such as 0-47,96-143";

/// The online CPUs of a machine, grouped by core. The CPUs of one core are threads that share its execution units.
///
/// A [`Host`] does not hold these groups: reading the groups takes one file for each core, and only planning needs the
/// groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuCores {
    cores: Vec<CpuList>,
    /// The CPUs whose core the kernel does not show. Each counts as a separate core in `cores`.
    unknown: CpuList,
}

impl CpuCores {
    /// Reads the groups from the host's tree. If the kernel does not show the core of a CPU, the CPU counts as a
    /// separate core.
    ///
    /// ```
    /// use nearfab::{CpuCores, Error, Host};
    ///
    /// // On an instance this is Host::discover()?. A table is no machine and runs on no CPU.
    /// let host = Host::from_instance("trn2.48xlarge")?;
    /// assert!(matches!(CpuCores::read(&host), Err(Error::NoTree { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoTree`] for a host from a table or a record. [`Error::Read`] or [`Error::Malformed`] if a file cannot
    /// be read or is not a CPU list.
    pub fn read(host: &Host) -> Result<Self> {
        let path = host.root().ok_or_else(|| Error::NoTree { origin: host.origin().to_string() })?;
        let root = HostRoot::open(path)?;
        let list = |path: &str| root.parse(path, EXPECTED, |text| text.parse::<CpuList>().ok());
        let online = list(ONLINE)?.unwrap_or_default();
        let (mut cores, mut seen, mut unknown) = (Vec::new(), CpuList::default(), Vec::new());
        for cpu in online.iter() {
            if seen.contains(cpu) {
                continue;
            }
            // Linux 5.3 added the name core_cpus_list. The older name exists on every kernel.
            let threads = list(&format!("{CPUS}/cpu{cpu}/topology/thread_siblings_list"))?;
            let core = threads.filter(|threads| threads.contains(cpu)).unwrap_or_else(|| {
                unknown.push(cpu);
                [cpu].into_iter().collect()
            });
            let core = core.and(&online).without(&seen);
            seen = CpuList::union([&seen, &core]);
            cores.push(core);
        }
        Ok(Self { cores, unknown: unknown.into_iter().collect() })
    }

    /// Returns the given cores, for tests.
    #[cfg(test)]
    pub(crate) fn from_cores(cores: impl Iterator<Item = CpuList>) -> Self {
        Self { cores: cores.collect(), unknown: CpuList::default() }
    }

    /// Returns all online CPUs.
    #[must_use]
    pub fn cpus(&self) -> CpuList {
        CpuList::union(&self.cores)
    }

    /// Returns the CPUs whose core the kernel does not show, as in containers that hide the topology of the CPUs.
    pub(crate) fn unknown(&self) -> &CpuList {
        &self.unknown
    }

    /// Returns the CPUs of each core, ordered by the first CPU of the core.
    pub fn iter(&self) -> impl Iterator<Item = &CpuList> {
        self.cores.iter()
    }
}
