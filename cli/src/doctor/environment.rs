//! Environment variables that make libfabric abort, or go another way without a word.

use nearfab::system::{EFA_VARIABLES, aborting};

use super::case::{Case, Skip};
use super::finding::{Check, Complaint, Finding, Severity};

const ABORT: Complaint = Complaint {
    id: "environment-aborts",
    means: "libfabric's efa provider ends the process (abort) when it finds this, at the first fi_getinfo: whatever asks for \
            providers dies, also without wanting EFA.",
    action: "Unset the variable, or give it a value that the provider takes.",
    source: "libfabric, prov/efa/src/efa_env.c and efa_fork_support.c.",
};
const NO_EFA: Complaint = Complaint {
    id: "fi-provider-without-efa",
    means: "libfabric offers only the providers of this list, and efa is not one of them: programs use TCP, or find nothing, without a word.",
    action: "FI_PROVIDER=efa, or unset it.",
    source: "libfabric, fabric(7): FI_PROVIDER.",
};
const NO_SUCH_INTERFACE: Complaint = Complaint {
    id: "fi-efa-iface-unknown",
    means: "The efa provider uses the interfaces of this list alone, by their RDMA names, letter by letter. Names differ between \
            instance types, and between hosts and containers without udev (efa_0).",
    action: "Use names that nearfab list shows, or all.",
    source: "libfabric, parameter iface of the efa provider.",
};
const NO_SUCH_VARIABLE: Complaint = Complaint {
    id: "fi-efa-variable-unknown",
    means: "No libfabric up to 2.6 knows this variable of the efa provider: it does nothing, and nothing says so.",
    action: "fi_info -g efa lists the variables of the libfabric at hand.",
    source: "libfabric, prov/efa/src/efa_env.c.",
};
const REMOVED: Complaint = Complaint {
    id: "variable-removed",
    means: "The variable had a meaning once and has none now.",
    action: "Unset it; see the release notes of what read it for what does its work now.",
    source: "AWS Neuron release notes 1.20 and runtime 2.34; libfabric, prov/efa/src/efa_env.c.",
};
const SLOW: Complaint = Complaint {
    id: "device-rdma-off",
    means: "The setting takes away a path between devices: transfers go through the CPU and host memory.",
    action: "Unset the variable, unless it is there to find a fault.",
    source: "libfabric, fi_efa(7) and fabric(7).",
};

pub(super) const ABORTS: Check = Check { name: "variables that abort", complaints: || vec![ABORT], run: aborts };
pub(super) const PROVIDER: Check = Check { name: "choice of provider", complaints: || vec![NO_EFA], run: provider };
pub(super) const INTERFACES: Check =
    Check { name: "choice of interfaces", complaints: || vec![NO_SUCH_INTERFACE], run: interfaces };
pub(super) const SETTINGS: Check =
    Check { name: "other variables", complaints: || vec![NO_SUCH_VARIABLE, REMOVED, SLOW], run: settings };

const WITHOUT_MEANING: [&str; 4] = [
    "FI_EFA_SET_CUDA_SYNC_MEMOPS",
    "FI_EFA_SHM_MAX_MEDIUM_SIZE",
    "NEURONCORE_GROUP_SIZES",
    "NEURON_RT_ASYNC_EXEC_MAX_INFLIGHT_REQUESTS",
];
/// Providers of libfabric up to 2.6.
const PROVIDERS: [&str; 22] = [
    "bgq", "coll", "cxi", "efa", "gni", "lnx", "lpp", "mrail", "net", "off_coll", "opx", "psm", "psm2", "psm3",
    "rstream", "rxd", "rxm", "shm", "sockets", "tcp", "udp", "verbs",
];

/// What libfabric reads as yes.
fn is_on(value: &str) -> bool {
    ["1", "on", "true", "yes"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

fn is_off(value: &str) -> bool {
    ["0", "off", "false", "no"].iter().any(|no| value.eq_ignore_ascii_case(no))
}

/// The finding of a variable and its value.
fn of(complaint: &Complaint, severity: Severity, name: &str, value: &str) -> Finding {
    complaint.found(severity, vec![name.to_owned()], format!("its value is {value:?}"))
}

fn aborts(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    case.efa()?;
    let found = aborting(case.environment()?);
    Ok(found.into_iter().map(|(name, seen)| ABORT.problem(vec![name], seen)).collect())
}

fn provider(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    case.efa()?;
    let Some(value) = case.environment()?.get("FI_PROVIDER") else { return Ok(Vec::new()) };
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
        // Somebody may want it so.
        [] => of(&NO_EFA, Severity::Warning, "FI_PROVIDER", value),
        unknown => {
            let seen = format!("its value is {value:?}, and there is no provider {}", unknown.join(", "));
            NO_EFA.problem(vec!["FI_PROVIDER".to_owned()], seen)
        }
    }])
}

fn interfaces(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    let efa = case.efa()?;
    let value = case.environment()?.get("FI_EFA_IFACE").map(String::as_str).unwrap_or_default();
    let names: Vec<&str> = value.split(',').filter(|name| !name.is_empty()).collect();
    let is_there = |name: &&&str| **name == "all" || efa.iter().any(|efa| efa.rdma.as_deref() == Some(**name));
    let unknown: Vec<String> = names.iter().filter(|name| !is_there(name)).map(|name| (*name).to_owned()).collect();
    if unknown.is_empty() {
        return Ok(Vec::new());
    }
    let severity = if unknown.len() == names.len() { Severity::Problem } else { Severity::Warning };
    let known: Vec<&str> = efa.iter().filter_map(|efa| efa.rdma.as_deref()).collect();
    let seen = format!("its value is {value:?}; there is no {}, there are {}", unknown.join(", "), known.join(", "));
    Ok(vec![NO_SUCH_INTERFACE.found(severity, vec!["FI_EFA_IFACE".to_owned()], seen)])
}

fn settings(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    let host = case.machine()?;
    if host.efa().is_empty() && host.neuron().is_empty() {
        return Err(Skip::NotHere("no device"));
    }
    let mut found = Vec::new();
    for (name, value) in case.environment()? {
        let of_efa = name.strip_prefix("FI_EFA_");
        if WITHOUT_MEANING.contains(&name.as_str()) {
            found.push(of(&REMOVED, Severity::Warning, name, value));
        } else if of_efa.is_some_and(|rest| !EFA_VARIABLES.contains(&rest)) {
            found.push(of(&NO_SUCH_VARIABLE, Severity::Warning, name, value));
        } else if takes_a_path_away(name, value, !host.neuron().is_empty()) {
            found.push(of(&SLOW, Severity::Warning, name, value));
        }
    }
    Ok(found)
}

fn takes_a_path_away(name: &str, value: &str, has_neuron: bool) -> bool {
    match name {
        "FI_EFA_USE_DEVICE_RDMA" => is_off(value),
        "FI_HMEM_DISABLE_P2P" => is_on(value),
        // The kinds of memory that libfabric may handle.
        "FI_HMEM" => has_neuron && !value.starts_with('^') && !value.to_ascii_lowercase().contains("neuron"),
        _ => false,
    }
}
