//! Which CPUs are threads of one core.

use super::CpuList;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::scan::root::HostRoot;

const CPUS: &str = "sys/devices/system/cpu";
const ONLINE: &str = "sys/devices/system/cpu/online";
const EXPECTED: &str = "a CPU list such as 0-47,96-143";

/// The CPUs that a machine runs on, core by core: the CPUs of one core are its threads, which share what it computes with.
///
/// A [`Host`] does not have this, because it takes a file a core to read and is needed only to divide CPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuCores {
    cores: Vec<CpuList>,
}

impl CpuCores {
    /// Reads them from the host's tree. A CPU of which the kernel does not tell the core is taken for one by itself.
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
    /// [`Error::NoTree`] for a host from a table or a record, [`Error::Read`] and [`Error::Malformed`] where a file cannot be
    /// read or says something else.
    pub fn read(host: &Host) -> Result<Self> {
        let path = host.root().ok_or_else(|| Error::NoTree { origin: host.origin().to_string() })?;
        let root = HostRoot::open(path)?;
        let list = |path: &str| root.parse(path, EXPECTED, |text| text.parse::<CpuList>().ok());
        let online = list(ONLINE)?.unwrap_or_default();
        let (mut cores, mut seen) = (Vec::new(), CpuList::default());
        for cpu in online.iter() {
            if seen.contains(cpu) {
                continue;
            }
            // Since Linux 5.3 it is core_cpus_list too; this name was there before and stayed.
            let threads = list(&format!("{CPUS}/cpu{cpu}/topology/thread_siblings_list"))?;
            let core = threads.filter(|threads| threads.contains(cpu)).unwrap_or_else(|| [cpu].into_iter().collect());
            let core = core.and(&online).without(&seen);
            seen = CpuList::union([&seen, &core]);
            cores.push(core);
        }
        Ok(Self { cores })
    }

    /// Cores as a test wants them.
    #[cfg(test)]
    pub(crate) fn from_cores(cores: impl Iterator<Item = CpuList>) -> Self {
        Self { cores: cores.collect() }
    }

    /// All CPUs.
    #[must_use]
    pub fn cpus(&self) -> CpuList {
        CpuList::union(&self.cores)
    }

    /// The CPUs of each core, in the order of their first ones.
    pub fn iter(&self) -> impl Iterator<Item = &CpuList> {
        self.cores.iter()
    }
}
