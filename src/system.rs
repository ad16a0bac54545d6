//! What is around the devices of a host and decides whether they work: limits, huge pages, modules, libraries, the
//! kubelet's plugins, a process.

mod kubelet;
mod libraries;
mod process;
mod redacted;
mod variables;

pub use kubelet::Kubelet;
pub use libraries::{InstalledLibrary, MappedLibrary};
#[cfg(feature = "live")]
pub(crate) use libraries::{mapped, version as version_of_file};
pub use process::{Limit, Process};
use serde::{Deserialize, Serialize};
pub use variables::{aborting, is_fork_safe};

pub use crate::tables::efa_variables::EFA_VARIABLES;
pub use crate::types::Library;

use crate::error::{Problems, Result};
use crate::host::Host;
use crate::scan::root::{HostRoot, NodeAccess};
use crate::types::number;

/// The modules whose presence says something; the others of a machine are nobody's business.
pub(crate) const MODULES: [&str; 12] = [
    "efa",
    "efa_nv_peermem",
    "gdrdrv",
    "ib_core",
    "ib_uverbs",
    "mlx5_core",
    "mlx5_ib",
    "neuron",
    "nvidia",
    "nvidia_peermem",
    "rdma_rxe",
    "siw",
];
/// What container runtimes put into the root of a container, and Kubernetes into each of its containers.
const CONTAINER_MARKS: [&str; 2] = [".dockerenv", "run/.containerenv"];
const SERVICE_ACCOUNT: &str = "var/run/secrets/kubernetes.io";

/// What is around the devices of a host, and not part of it: a [`Host`] is what stands where, and a difference of two hosts
/// is news, while much of this moves by itself.
///
/// Reading it is as passive as discovery: no device node is opened and nothing is run. What is not there is left out, what
/// cannot be read is said ([`SystemInfo::problems`]).
///
/// ```
/// use nearfab::{Host, SystemInfo};
///
/// // On an instance this is Host::discover()?. A table has no surroundings.
/// let host = Host::from_instance("trn2.48xlarge")?;
/// assert_eq!(SystemInfo::read(&host)?, None);
/// # Ok::<(), nearfab::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SystemInfo {
    /// The kernel's release, such as `6.1.102-111.182.amzn2023.x86_64`.
    pub kernel: Option<String>,
    /// Those loaded, or built in with parameters, of the kernel modules that have to do with the devices.
    pub modules: Vec<Module>,
    /// Source trees of drivers in `/usr/src`, from which DKMS builds what the next boot or reload loads, such as
    /// `aws-neuronx-2.30.2.0`.
    pub driver_sources: Vec<String>,
    /// Huge pages, of each size that the machine has.
    pub huge_pages: Vec<HugePages>,
    /// Who sees RDMA devices.
    pub rdma_namespaces: Option<RdmaNamespaces>,
    /// Yama's `ptrace_scope`: 0 lets processes of a user read each other's memory.
    pub ptrace_scope: Option<u32>,
    /// The vendors' libraries in the folders where they are installed.
    pub libraries: Vec<InstalledLibrary>,
    /// The vendors' programs where their installers put them, such as `/opt/aws/neuron/bin/neuron-ls`.
    pub programs: Vec<String>,
    /// The folders that `/etc/ld.so.conf` and the files beside it add to the loader's search path.
    pub loader_folders: Vec<String>,
    /// What the kubelet of this machine knows of devices; `None` where no kubelet's folders are seen.
    pub kubelet: Option<Kubelet>,
    /// What shows that this is the inside of a container; `None` where nothing does.
    pub container: Option<String>,
    /// The process that is looked at: on the live machine this one, unless another was asked for.
    pub process: Option<Process>,
    /// What could not be read, one sentence each.
    pub problems: Vec<String>,
}

/// A kernel module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Module {
    /// Its name.
    pub name: String,
    /// Its version. Modules that come with the kernel mostly have none.
    pub version: Option<String>,
}

/// Huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HugePages {
    /// Bytes of a page.
    pub size: u64,
    /// Pages that the kernel has set aside.
    pub total: u64,
    /// Those of them that nobody uses.
    pub free: u64,
}

/// Who sees the RDMA devices of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RdmaNamespaces {
    /// Every network namespace sees all of them; the default.
    Shared,
    /// Each is in one network namespace, and only there.
    Exclusive,
    /// Something that this version does not know, by a newer version's record.
    #[serde(other)]
    Unknown,
}

impl SystemInfo {
    /// Reads the surroundings of a host from the machine or the tree that it was made from; `None` for a host from a table
    /// or a record, around which there is nothing to read.
    ///
    /// # Errors
    /// [`Error::Read`](crate::Error::Read) where the root cannot be opened any more.
    pub fn read(host: &Host) -> Result<Option<Self>> {
        let Some(path) = host.root() else { return Ok(None) };
        let root = HostRoot::open(path)?;
        let mut problems = Problems::default();
        let mut surroundings = Self {
            kernel: problems.take(root.read("proc/sys/kernel/osrelease")).flatten(),
            modules: modules(&root, &mut problems),
            driver_sources: driver_sources(&root, &mut problems),
            huge_pages: huge_pages(&root, &mut problems),
            rdma_namespaces: rdma_namespaces(&root, &mut problems),
            ptrace_scope: problems
                .take(root.parse("proc/sys/kernel/yama/ptrace_scope", "a number from 0 to 3", number))
                .flatten(),
            libraries: libraries::installed(&root, &mut problems),
            programs: libraries::programs(&root, &mut problems),
            loader_folders: libraries::loader_folders(&root, &mut problems),
            kubelet: kubelet::read(&root, &mut problems),
            container: container(&root, &mut problems),
            // The process that reads belongs to the machine that it runs on, and to no tree.
            process: root.is_live().then(|| Process::own(&root, &mut problems)),
            problems: Vec::new(),
        };
        surroundings.problems = problems.into_sentences();
        Ok(Some(surroundings))
    }

    /// The module of this name, if it is loaded.
    #[must_use]
    pub fn module(&self, name: &str) -> Option<&Module> {
        self.modules.iter().find(|module| module.name == name)
    }
}

fn modules(root: &HostRoot, problems: &mut Problems) -> Vec<Module> {
    let there = problems.take(root.list("sys/module")).unwrap_or_default();
    let known = MODULES.iter().filter(|name| there.iter().any(|module| module == *name));
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

/// Driver and version of a source tree: `aws-neuronx-2.30.2.0`, `efa-3.1.0`.
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

/// `hugepages-2048kB`, in bytes.
fn page_size(name: &str) -> Option<u64> {
    number::<u64>(name.strip_prefix("hugepages-")?.strip_suffix("kB")?)?.checked_mul(1024)
}

fn rdma_namespaces(root: &HostRoot, problems: &mut Problems) -> Option<RdmaNamespaces> {
    let mode = |text: &str| match text {
        "Y" | "1" => Some(RdmaNamespaces::Shared),
        "N" | "0" => Some(RdmaNamespaces::Exclusive),
        _ => None,
    };
    problems.take(root.parse("sys/module/ib_core/parameters/netns_mode", "Y (shared) or N (exclusive)", mode)).flatten()
}

fn container(root: &HostRoot, problems: &mut Problems) -> Option<String> {
    for mark in CONTAINER_MARKS {
        let there = problems.take(root.access(mark)).is_some_and(|access| access != NodeAccess::Missing);
        if there {
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
        fn no_name_panics(name in "\\PC*") {
            let _ = (page_size(&name), driver_source(&name));
        }

        #[test]
        fn page_sizes_are_read(kb in 1..1_u64 << 40) {
            prop_assert_eq!(page_size(&format!("hugepages-{kb}kB")), Some(kb * 1024));
        }
    }

    #[test]
    fn other_folders_are_no_page_sizes() {
        for name in ["hugepages-+64kB", "hugepages-kB", "hugepages-2MB", "hugepages-18014398509481984kB"] {
            assert_eq!(page_size(name), None, "{name}");
        }
    }

    #[test]
    fn sources_of_drivers_are_known_by_name_and_version() {
        assert_eq!(driver_source("aws-neuronx-2.30.2.0"), Some(("aws-neuronx", "2.30.2.0")));
        assert_eq!(driver_source("efa-3.1.0"), Some(("efa", "3.1.0")));
        assert_eq!(driver_source("linux-headers-6.1.0-28"), None);
        assert_eq!(driver_source("efa-tools"), None);
    }
}
