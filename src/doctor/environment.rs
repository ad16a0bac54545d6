//! Checks of environment variables that make libfabric abort, or avoid EFA without an error.

use crate::scan::efa::EfaInterface;
use crate::system::{EFA_VARIABLES, aborting};

use super::efa;
use super::finding::{Check, Finding, FindingKind, Severity};
use super::input::{Input, Skip};

const ABORT: FindingKind = FindingKind {
    id: "environment-aborts",
    means: "At the first fi_getinfo, libfabric's efa provider aborts a process that has this value. A program that asks \
            libfabric for any provider ends, even if it does not use EFA.",
    action: "Unset the variable, or give it a value that the provider accepts.",
    source: "libfabric, prov/efa/src/efa_env.c and efa_fork_support.c.",
};
const NO_EFA: FindingKind = FindingKind {
    id: "fi-provider-without-efa",
    means: "libfabric offers only the providers in this list, and efa is not in it. Programs use TCP or find no provider, \
            and report no error.",
    action: "Set FI_PROVIDER=efa, or unset it.",
    source: "libfabric, fabric(7): FI_PROVIDER.",
};
const NO_SUCH_INTERFACE: FindingKind = FindingKind {
    id: "fi-efa-iface-unknown",
    means: "The efa provider uses only the interfaces in this list. The provider compares the full RDMA names, which differ between \
            instance types. A container without udev has other names than its host (efa_0).",
    action: "Use the RDMA names that nearfab list shows, or all.",
    source: "libfabric, parameter iface of the efa provider.",
};
const NO_SUCH_VARIABLE: FindingKind = FindingKind {
    id: "fi-efa-variable-unknown",
    means: "No libfabric up to 2.6 has this variable of the efa provider. libfabric ignores it and reports no error.",
    action: "Run fi_info -g efa, which lists the variables of the installed libfabric, and correct the name.",
    source: "libfabric, prov/efa/src/efa_env.c.",
};
const REMOVED: FindingKind = FindingKind {
    id: "variable-removed",
    means: "Older versions read this variable. Current versions ignore it.",
    action: "Unset it. The release notes of the software that read it name its replacement.",
    source: "AWS Neuron release notes 1.20 and runtime 2.34; libfabric, prov/efa/src/efa_env.c.",
};
const SLOW: FindingKind = FindingKind {
    id: "device-rdma-off",
    means: "The setting turns off a direct path between devices. Transfers go through the CPU and host memory.",
    action: "Unset the variable, unless you set it to find a fault.",
    source: "libfabric, fi_efa(7) and fabric(7).",
};

const DEVICE_RDMA_ABORTS: FindingKind = FindingKind {
    id: "device-rdma-aborts",
    means: "FI_EFA_USE_DEVICE_RDMA=1 demands RDMA read. libfabric ends a process with this setting if an EFA interface has no \
            RDMA read, as the interfaces of g4dn, c5n and p3dn.",
    action: "Unset the variable: libfabric then uses RDMA read if the interface has it.",
    source: "libfabric, prov/efa/src/efa_env.c and fi_efa(7); AWS, EFA guide: supported instance types.",
};

pub(super) const ABORTS: Check =
    Check { name: "variables that abort", kinds: || vec![ABORT, DEVICE_RDMA_ABORTS], run: aborts };
pub(super) const PROVIDER: Check = Check { name: "FI_PROVIDER", kinds: || vec![NO_EFA], run: provider };
pub(super) const INTERFACES: Check = Check { name: "FI_EFA_IFACE", kinds: || vec![NO_SUCH_INTERFACE], run: interfaces };
pub(super) const SETTINGS: Check =
    Check { name: "other variables", kinds: || vec![NO_SUCH_VARIABLE, REMOVED, SLOW], run: settings };

/// Variables that current versions ignore.
const IGNORED: [&str; 4] = [
    "FI_EFA_SET_CUDA_SYNC_MEMOPS",
    "FI_EFA_SHM_MAX_MEDIUM_SIZE",
    "NEURONCORE_GROUP_SIZES",
    "NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS",
];
/// The providers of libfabric up to 2.6.
const PROVIDERS: [&str; 22] = [
    "bgq", "coll", "cxi", "efa", "gni", "lnx", "lpp", "mrail", "net", "off_coll", "opx", "psm", "psm2", "psm3",
    "rstream", "rxd", "rxm", "shm", "sockets", "tcp", "udp", "verbs",
];

/// Whether libfabric reads the value as yes.
fn is_on(value: &str) -> bool {
    ["1", "on", "true", "yes"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

/// Whether libfabric reads the value as no.
fn is_off(value: &str) -> bool {
    ["0", "off", "false", "no"].iter().any(|no| value.eq_ignore_ascii_case(no))
}

/// Returns a finding about a variable and its value.
fn of_variable(kind: &FindingKind, severity: Severity, name: &str, value: &str) -> Finding {
    kind.found(severity, vec![name.to_owned()], format!("its value is {value:?}"))
}

fn aborts(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let efa = input.efa()?;
    let environment = input.environment()?;
    let found = aborting(environment);
    let mut found: Vec<Finding> = found.into_iter().map(|(name, seen)| ABORT.problem(vec![name], seen)).collect();
    if environment.get(DEVICE_RDMA).is_some_and(|value| is_on(value)) {
        found.extend(without_rdma_read(input.host.instance_type(), efa));
    }
    Ok(found)
}

const DEVICE_RDMA: &str = "FI_EFA_USE_DEVICE_RDMA";

/// Returns the finding about interfaces that have no RDMA read, or of which it is not known.
fn without_rdma_read(instance_type: Option<&str>, efa: &[EfaInterface]) -> Option<Finding> {
    let family = instance_type.and_then(|name| name.split_once('.')).map(|(family, _)| family);
    // Every interface of a later generation has RDMA read.
    let first: Vec<String> = efa.iter().filter(|efa| efa.generation() == 0).map(efa::name).collect();
    if first.is_empty() {
        return None;
    }
    let names = format!("{} of {}", first.join(", "), instance_type.unwrap_or("an unknown instance type"));
    let subject = vec![DEVICE_RDMA.to_owned()];
    match family {
        Some("p4d" | "p4de") => None,
        Some("c5n" | "g4dn" | "p3dn") => {
            Some(DEVICE_RDMA_ABORTS.problem(subject, format!("the value is on, and {names} has no RDMA read")))
        }
        _ => {
            let seen = format!("the value is on, and it is not known whether {names} has RDMA read");
            Some(DEVICE_RDMA_ABORTS.warning(subject, seen))
        }
    }
}

fn provider(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    input.efa()?;
    let Some(value) = input.environment()?.get("FI_PROVIDER") else { return Ok(Vec::new()) };
    let (negated, list) = value.strip_prefix('^').map_or((false, value.as_str()), |list| (true, list));
    let names: Vec<&str> = list.split([',', ';']).map(str::trim).filter(|name| !name.is_empty()).collect();
    let has_efa = names.iter().any(|name| name.eq_ignore_ascii_case("efa"));
    let known = |name: &&str| {
        let name = name.trim_start_matches("ofi_").to_ascii_lowercase();
        PROVIDERS.contains(&name.as_str()) || name.starts_with("hook_")
    };
    if names.is_empty() || has_efa != negated {
        return Ok(Vec::new());
    }
    let unknown: Vec<&str> = names.iter().filter(|name| !known(name)).copied().collect();
    Ok(vec![match &unknown[..] {
        // The user may have excluded efa on purpose.
        [] => of_variable(&NO_EFA, Severity::Warning, "FI_PROVIDER", value),
        unknown => {
            let seen = format!("its value is {value:?}, and libfabric has no provider {}", unknown.join(", "));
            NO_EFA.problem(vec!["FI_PROVIDER".to_owned()], seen)
        }
    }])
}

fn interfaces(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let efa = input.efa()?;
    let value = input.environment()?.get("FI_EFA_IFACE").map(String::as_str).unwrap_or_default();
    let names: Vec<&str> = value.split(',').filter(|name| !name.is_empty()).collect();
    let is_known = |name: &&&str| **name == "all" || efa.iter().any(|efa| efa.rdma.as_deref() == Some(**name));
    let unknown: Vec<String> = names.iter().filter(|name| !is_known(name)).map(|name| (*name).to_owned()).collect();
    if unknown.is_empty() {
        return Ok(Vec::new());
    }
    let severity = if unknown.len() == names.len() { Severity::Problem } else { Severity::Warning };
    let mut known: Vec<&str> = efa.iter().filter_map(|efa| efa.rdma.as_deref()).collect();
    // By number: efa_2 before efa_10.
    known.sort_by_key(|name| (name.len(), *name));
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let seen = format!("its value is {value:?}; unknown: {}; RDMA names of this host: {known}", unknown.join(", "));
    Ok(vec![NO_SUCH_INTERFACE.found(severity, vec!["FI_EFA_IFACE".to_owned()], seen)])
}

fn settings(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let host = input.machine()?;
    if host.efa_interfaces().is_empty() && host.neuron_devices().is_empty() {
        return Err(Skip::NotApplicable("no device"));
    }
    let mut found = Vec::new();
    for (name, value) in input.environment()? {
        let of_efa = name.strip_prefix("FI_EFA_");
        if IGNORED.contains(&name.as_str()) {
            found.push(of_variable(&REMOVED, Severity::Warning, name, value));
        } else if of_efa.is_some_and(|rest| !EFA_VARIABLES.contains(&rest)) {
            found.push(of_variable(&NO_SUCH_VARIABLE, Severity::Warning, name, value));
        } else if turns_off_a_path(name, value, !host.neuron_devices().is_empty()) {
            found.push(of_variable(&SLOW, Severity::Warning, name, value));
        }
    }
    Ok(found)
}

fn turns_off_a_path(name: &str, value: &str, has_neuron: bool) -> bool {
    match name {
        "FI_EFA_USE_DEVICE_RDMA" => is_off(value),
        "FI_HMEM_DISABLE_P2P" => is_on(value),
        // The list of memory types that libfabric handles.
        "FI_HMEM" => has_neuron && !value.starts_with('^') && !value.to_ascii_lowercase().contains("neuron"),
        _ => false,
    }
}
