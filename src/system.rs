//! Reads the system around the devices of a host: the kernel, modules, huge pages, libraries, the kubelet's plugins,
//! and the limits and environment of a process.

mod cgroup;
mod kubelet;
mod libraries;
mod process;
mod redacted;
mod symbols;
mod variables;

pub use cgroup::HugePageLimit;
pub use kubelet::Kubelet;
pub use libraries::{InstalledLibrary, MappedLibrary};
#[cfg(feature = "live")]
pub(crate) use libraries::{mapped, version as version_of_file};
pub use process::{Launcher, Limit, Parent, Process};
use serde::{Deserialize, Serialize};
pub use symbols::{NeededVersion, SymbolVersions};
#[cfg(feature = "live")]
pub(crate) use variables::asks_for_fork_safety;
pub use variables::{aborting, is_fork_safe};

pub use crate::tables::efa_variables::EFA_VARIABLES;
pub use crate::types::Library;

use crate::error::{Problems, Result};
use crate::host::Host;
use crate::scan::rdma;
pub use crate::scan::rdma::RdmaNamespaces;
use crate::scan::root::{HostRoot, NodeAccess};
use crate::telemetry::{self, NeuronHealth};
use crate::types::number;

/// The file with the release of the running kernel.
const KERNEL: &str = "proc/sys/kernel/osrelease";
/// The kernel modules that nearfab reports. Other modules are not read.
pub(crate) const MODULES: [&str; 13] = [
    "efa",
    "efa_nv_peermem",
    "gdrdrv",
    "ib_core",
    "ib_uverbs",
    "mlx5_core",
    "mlx5_ib",
    "mlx_compat",
    "neuron",
    "nvidia",
    "nvidia_peermem",
    "rdma_rxe",
    "siw",
];
/// Files that container runtimes create in the root of a container.
const CONTAINER_MARKS: [&str; 2] = [".dockerenv", "run/.containerenv"];
const SERVICE_ACCOUNT: &str = "var/run/secrets/kubernetes.io";

/// The system around the devices of a host.
///
/// The system is not part of a [`Host`]. A host holds devices and their places, so each difference between two hosts is
/// news. Many values of the system change by themselves.
///
/// Reading is passive, like discovery: no device node is opened and no program is run. Files that do not exist are left
/// out. Files that cannot be read add a sentence to [`SystemInfo::problems`].
///
/// ```
/// use nearfab::{Host, SystemInfo};
///
/// // On an instance this is Host::discover()?. A host from a table has no system.
/// let host = Host::from_instance("trn2.48xlarge")?;
/// assert_eq!(SystemInfo::read(&host)?, None);
/// # Ok::<(), nearfab::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SystemInfo {
    /// The release of the kernel, such as `6.1.102-111.182.amzn2023.x86_64`.
    pub kernel: Option<String>,
    /// The kernel modules for the devices that are loaded, or that are built in and have parameters.
    pub modules: Vec<Module>,
    /// Source folders of drivers in `/usr/src`, such as `aws-neuronx-2.30.2.0`. DKMS builds the modules of the next
    /// boot or reload from them.
    pub driver_sources: Vec<String>,
    /// Huge pages, for each page size of the machine.
    pub huge_pages: Vec<HugePages>,
    /// Which network namespaces see RDMA devices.
    pub rdma_namespaces: Option<RdmaNamespaces>,
    /// Yama's `ptrace_scope`. With 0, processes of one user can read each other's memory.
    pub ptrace_scope: Option<u32>,
    /// The vendor libraries in the folders of installers and distributions.
    pub libraries: Vec<InstalledLibrary>,
    /// The vendor programs in the folders of the installers, such as `/opt/aws/neuron/bin/neuron-ls`.
    pub programs: Vec<String>,
    /// The folders that `/etc/ld.so.conf` and `/etc/ld.so.conf.d` add to the search path of the dynamic loader.
    pub loader_folders: Vec<String>,
    /// The device plugins and drivers of this machine's kubelet; `None` if the kubelet's folders are not visible.
    pub kubelet: Option<Kubelet>,
    /// The file that shows that the system is a container; `None` if no such file exists.
    pub container: Option<String>,
    /// The examined process: on the live machine this process, unless another was chosen.
    pub process: Option<Process>,
    /// True if the NVIDIA kernel modules are the open ones, false if they are the closed ones. `None` without an NVIDIA
    /// driver.
    pub nvidia_open: Option<bool>,
    /// The limit of huge pages of 2 MiB of the control group that is mounted at `/sys/fs/cgroup`. A host has no such
    /// limit: the limit is that of a container.
    pub huge_page_limit: Option<HugePageLimit>,
    /// The health of the Neuron devices. `None` in records of versions that did not read it.
    pub neuron_health: Option<Vec<NeuronHealth>>,
    /// The files that could not be read, one sentence each.
    pub problems: Vec<String>,
}

/// Reads the release of the host's kernel alone: one file. Returns `None` for a host from a table or a record, whose
/// [`Record`](crate::Record) has the kernel.
///
/// ```
/// use nearfab::{Host, system};
/// assert_eq!(system::kernel(&Host::from_instance("trn2.48xlarge")?)?, None);
/// # Ok::<(), nearfab::Error>(())
/// ```
///
/// # Errors
/// [`Error::Read`](crate::Error::Read) if the file cannot be read.
pub fn kernel(host: &Host) -> Result<Option<String>> {
    host.root().map_or(Ok(None), |root| HostRoot::open(root)?.read(KERNEL))
}

/// A kernel module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Module {
    /// The name of the module.
    pub name: String,
    /// The version of the module. Most modules of the kernel have no version.
    pub version: Option<String>,
}

/// Huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HugePages {
    /// The size of a page in bytes.
    pub size: u64,
    /// The number of pages that the kernel has reserved.
    pub total: u64,
    /// The number of reserved pages that are free.
    pub free: u64,
}

impl SystemInfo {
    /// Reads the system from the machine or the tree of a host. Returns `None` for a host from a table or a record.
    ///
    /// # Errors
    /// [`Error::Read`](crate::Error::Read) if the root can no longer be opened.
    pub fn read(host: &Host) -> Result<Option<Self>> {
        let Some(path) = host.root() else { return Ok(None) };
        let root = HostRoot::open(path)?;
        let mut problems = Problems::default();
        let mut info = Self {
            kernel: problems.take(root.read(KERNEL)).flatten(),
            modules: modules(&root, &mut problems),
            driver_sources: driver_sources(&root, &mut problems),
            huge_pages: huge_pages(&root, &mut problems),
            rdma_namespaces: rdma::namespaces(&root, &mut problems),
            ptrace_scope: problems
                .take(root.parse("proc/sys/kernel/yama/ptrace_scope", "a number from 0 to 3", number))
                .flatten(),
            libraries: libraries::installed(&root, &mut problems),
            programs: libraries::programs(&root, &mut problems),
            loader_folders: libraries::loader_folders(&root, &mut problems),
            kubelet: kubelet::read(&root, &mut problems),
            container: container(&root, &mut problems),
            // This process runs on the live machine. A process does not belong to any other tree.
            process: root.is_live().then(|| Process::own(&root, &mut problems)),
            nvidia_open: problems
                .take(root.read("proc/driver/nvidia/version"))
                .flatten()
                .and_then(|text| is_open(&text)),
            huge_page_limit: cgroup::of_mount(&root, &mut problems),
            neuron_health: Some(telemetry::read_all(&root, host.neuron_devices())),
            problems: Vec::new(),
        };
        info.problems = problems.into_sentences();
        Ok(Some(info))
    }

    /// Returns the module of this name, if it is loaded.
    #[must_use]
    pub fn module(&self, name: &str) -> Option<&Module> {
        self.modules.iter().find(|module| module.name == name)
    }
}

/// Returns whether a text such as `NVRM version: NVIDIA UNIX Open Kernel Module for x86_64` names the open modules.
fn is_open(version: &str) -> Option<bool> {
    version.contains("NVIDIA UNIX").then(|| version.contains("Open Kernel Module"))
}

fn modules(root: &HostRoot, problems: &mut Problems) -> Vec<Module> {
    let present = problems.take(root.list("sys/module")).unwrap_or_default();
    let known = MODULES.iter().filter(|name| present.iter().any(|module| module == *name));
    known
        .map(|name| {
            let version = problems.take(root.read(&format!("sys/module/{name}/version"))).flatten();
            Module { name: (*name).to_owned(), version }
        })
        .collect()
}

fn driver_sources(root: &HostRoot, problems: &mut Problems) -> Vec<String> {
    let mut names = problems.take(root.list("usr/src")).unwrap_or_default();
    names.retain(|name| driver_source(name).is_some());
    names.sort_unstable();
    names
}

/// Splits the name of a source folder into driver and version: `aws-neuronx-2.30.2.0`, `efa-3.1.0`.
pub(crate) fn driver_source(name: &str) -> Option<(&str, &str)> {
    let (driver, version) = name.rsplit_once('-')?;
    let versioned = version.starts_with(|c: char| c.is_ascii_digit());
    (versioned && matches!(driver, "aws-neuronx" | "aws-neuron" | "efa")).then_some((driver, version))
}

fn huge_pages(root: &HostRoot, problems: &mut Problems) -> Vec<HugePages> {
    const FOLDER: &str = "sys/kernel/mm/hugepages";
    let names = problems.take(root.list(FOLDER)).unwrap_or_default();
    let mut all = Vec::new();
    for name in names {
        let Some(size) = page_size(&name) else { continue };
        let mut count = |file: &str| {
            let read = root.parse(&format!("{FOLDER}/{name}/{file}"), "a number of pages", number);
            problems.take(read).flatten()
        };
        if let (Some(total), Some(free)) = (count("nr_hugepages"), count("free_hugepages")) {
            all.push(HugePages { size, total, free });
        }
    }
    all.sort_unstable_by_key(|pages| pages.size);
    all
}

/// Returns the page size in bytes from a name such as `hugepages-2048kB`.
fn page_size(name: &str) -> Option<u64> {
    number::<u64>(name.strip_prefix("hugepages-")?.strip_suffix("kB")?)?.checked_mul(1024)
}

fn container(root: &HostRoot, problems: &mut Problems) -> Option<String> {
    for mark in CONTAINER_MARKS {
        let exists = problems.take(root.access(mark)).is_some_and(|access| access != NodeAccess::Missing);
        if exists {
            return Some(format!("/{mark}"));
        }
    }
    let secrets = problems.take(root.list(SERVICE_ACCOUNT)).unwrap_or_default();
    (!secrets.is_empty()).then(|| format!("/{SERVICE_ACCOUNT}"))
}

fn is_mark(text: &str) -> bool {
    let name = text.strip_prefix('/').unwrap_or(text);
    CONTAINER_MARKS.contains(&name) || name == SERVICE_ACCOUNT
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_are_read_as_plainly(name in "\\PC{0,12}", pages in "hugepages-[0-9kKB+]{0,6}", source in "(efa|aws-neuronx?|linux)-[0-9a-z.-]{0,8}") {
            for name in [name, pages, source] {
                let digits: String = name.chars().skip("hugepages-".len()).take_while(char::is_ascii_digit).collect();
                let plain = digits.parse::<u64>().ok().and_then(|kb| kb.checked_mul(1024));
                let is_plain = name == format!("hugepages-{digits}kB");
                prop_assert_eq!(page_size(&name), plain.filter(|_| is_plain), "{}", name);

                let dash = name.rfind('-').unwrap_or(name.len());
                let (driver, version) = (&name[..dash], name.get(dash + 1..).unwrap_or_default());
                let known = ["aws-neuronx", "aws-neuron", "efa"].contains(&driver);
                let numbered = version.chars().next().is_some_and(|first| first.is_ascii_digit());
                prop_assert_eq!(driver_source(&name), (known && numbered).then_some((driver, version)), "{}", name);
            }
        }

        #[test]
        fn page_sizes_are_read(kb in 1..1_u64 << 40) {
            prop_assert_eq!(page_size(&format!("hugepages-{kb}kB")), Some(kb * 1024));
        }
    }

    #[test]
    fn other_names_have_no_page_size() {
        for name in ["hugepages-+64kB", "hugepages-kB", "hugepages-2MB", "hugepages-18014398509481984kB"] {
            assert_eq!(page_size(name), None, "{name}");
        }
    }

    #[test]
    fn driver_sources_are_recognized_by_name_and_version() {
        assert_eq!(driver_source("aws-neuronx-2.30.2.0"), Some(("aws-neuronx", "2.30.2.0")));
        assert_eq!(driver_source("efa-3.1.0"), Some(("efa", "3.1.0")));
        assert_eq!(driver_source("linux-headers-6.1.0-28"), None);
        assert_eq!(driver_source("efa-tools"), None);
    }
}
