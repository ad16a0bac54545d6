//! Words, names and paths that many machines have in common, so that they identify no machine.

use crate::tables::efa_variables::EFA_VARIABLES;
use crate::types::Library;

/// Environment variables that hold a list of folders.
pub(super) const PATH_VARIABLES: [&str; 4] = ["FI_PROVIDER_PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "PATH"];

/// Environment variables whose numbers and common words do not identify an owner. The variables of the efa provider are
/// in [`EFA_VARIABLES`].
const VARIABLES: [&str; 32] = [
    "AWS_NEURON_VISIBLE_DEVICES",
    "FI_HMEM",
    "FI_HMEM_CUDA_USE_GDRCOPY",
    "FI_HMEM_DISABLE_P2P",
    "FI_HMEM_NEURON_USE_DMABUF",
    "FI_LOG_LEVEL",
    "FI_LOG_PROV",
    "FI_MR_CACHE_MONITOR",
    "FI_PROVIDER",
    "FI_UNIVERSE_SIZE",
    "IBV_FORK_SAFE",
    "IBV_SHOW_WARNINGS",
    "NCCL_DEBUG",
    "NCCL_NET",
    "NEURONCORE_GROUP_SIZES",
    "NEURON_LOGICAL_NC_CONFIG",
    "NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS",
    "NEURON_RT_EXEC_TIMEOUT",
    "NEURON_RT_LOG_LEVEL",
    "NEURON_RT_NUM_CORES",
    "NEURON_RT_ONE_THREAD_PER_CORE",
    "NEURON_RT_RANKS_PER_NETWORK_PROXY",
    "NEURON_RT_RESET_CORES",
    "NEURON_RT_ULTRASERVER_MODE",
    "NEURON_RT_VIRTUAL_CORE_SIZE",
    "NEURON_RT_VISIBLE_CORES",
    "NEURON_SKIP_EFA_AFFINITY",
    "NEURON_VISIBLE_DEVICES",
    "OFI_NCCL_PROTOCOL",
    "RDMAV_FORK_SAFE",
    "RDMAV_HUGEPAGES_SAFE",
    "VERBS_LOG_LEVEL",
];

/// Words of kernel releases, plugin names, providers and settings, and of the folders of the system and of AWS's
/// packages.
#[rustfmt::skip]
const COMMON: &[&str] = &[
    "aarch64", "all", "amazon", "amazonaws", "amd64", "amzn2", "amzn2023", "arm64", "aws", "bin", "cloud", "com", "conf", "csi",
    "cuda", "d", "debug", "dev", "device", "dmabuf", "dra", "driver", "ebs", "efa", "efs", "el8", "el9", "el10", "eks", "error",
    "etc", "false", "fatal", "fi", "fsx", "generic", "gnu", "gpu", "info", "io", "k8s", "kubernetes", "ld", "lib", "lib64",
    "linux", "local", "ls", "memhooks", "monitor", "nearfab", "net", "neuron", "neuroncore", "neurondevice", "no", "nvidia",
    "off", "ofi", "on", "openmpi", "opt", "pingpong", "plugin", "psm2", "psm3", "python", "python3", "rdma", "reg", "rocr", "rxd",
    "rxm", "sbin", "sendrecv", "shm", "sm2", "so", "sock", "socket", "sockets", "src", "synapseai", "system", "tcp", "top",
    "trace", "trn1", "trn2", "trn3", "true", "udp", "userfaultfd", "usr", "verbs", "vpc", "warn", "x", "x86", "yes", "ze",
];

/// The folders of the kernel's files. The names of these files are the same on every machine.
const KERNEL: [&str; 3] = ["/dev", "/proc/sys", "/sys"];

/// Returns true if a text consists of numbers, common words and `names`.
pub(super) fn are_common(text: &str, names: &[&str]) -> bool {
    let number = |word: &str| word.len() <= 10 && word.bytes().all(|byte| byte.is_ascii_digit());
    // The last part of the efa driver's version 3.1.0g.
    let version = |word: &str| word.len() <= 5 && word.strip_suffix('g').is_some_and(number);
    let common = |word: &str| number(word) || version(word) || COMMON.contains(&word.to_ascii_lowercase().as_str());
    let parts = |item: &str| item.split(['-', '_', '.', '/', '+']).all(common);
    text.split([',', ';', '^', ' ']).all(|item| names.contains(&item) || parts(item))
}

/// Returns true if a value of the variable that consists of numbers and common words does not identify an owner.
pub(super) fn is_harmless_variable(name: &str) -> bool {
    let is_of_efa = name.strip_prefix("FI_EFA_").is_some_and(|rest| EFA_VARIABLES.contains(&rest));
    is_of_efa || VARIABLES.contains(&name)
}

/// Returns true if a path belongs to the kernel, or consists of words that the system and AWS's packages use for
/// folders.
pub(super) fn is_system_path(path: &str) -> bool {
    let below = |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let leads_up = path.split('/').any(|part| part == "..");
    !leads_up
        && (KERNEL.iter().any(|folder| below(folder))
            || path.split('/').all(|part| part.is_empty() || are_common(part, &[])))
}

/// Returns true if a file name consists of a library's name, the tag that a Python wheel adds, `.so` and numbers only.
pub(super) fn is_library_version(file: &str) -> bool {
    let Some(library) = Library::of_file(file) else { return false };
    let rest = file.split_once(".so").map_or("", |(_, rest)| rest);
    let numbers =
        rest.split('.').skip(1).all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    file.starts_with(library.name()) && numbers
}
