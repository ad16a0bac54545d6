//! Checks with `--probe`: the EFA interfaces that libfabric finds, and the cores that processes hold.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use crate::scan::root::NodeAccess;
use crate::types::probe::{CoreState, DeviceAnswers, DeviceUsers};

use super::efa;
use super::finding::{Check, Finding, FindingKind};
use super::input::{FiInfo, Input, Skip};

const NO_FI_INFO: FindingKind = FindingKind {
    id: "fi-info-missing",
    means: "The doctor runs libfabric's program fi_info to see which interfaces libfabric finds. fi_info is neither in PATH \
            nor in /opt/amazon/efa/bin.",
    action: "Install fi_info (AWS's EFA installer; libfabric-bin on Debian), or run nearfab in the container where programs \
             run.",
    source: "libfabric, fi_info(1).",
};
const NONE: FindingKind = FindingKind {
    id: "libfabric-finds-none",
    means: "libfabric finds no EFA interface (fi_getinfo returns -61). Programs use TCP and report no error. One verbs \
            device that cannot be opened is enough to cause this.",
    action: "Read the other findings about nodes, other RDMA devices and variables. A libfabric that was built without the \
             efa provider, or that is older than the device, also finds none.",
    source: "libfabric, fi_info(1); libfabric issue 12708.",
};
const FEWER: FindingKind = FindingKind {
    id: "libfabric-finds-fewer",
    means: "libfabric leaves out interfaces that this host has and that this user may open.",
    action: "Check FI_EFA_IFACE, and run fi_info -p efa with FI_LOG_LEVEL=warn.",
    source: "libfabric, fi_info(1).",
};
const FAILED: FindingKind = FindingKind {
    id: "fi-info-failed",
    means: "fi_info failed. Other programs that use libfabric in this environment will fail in the same way.",
    action: "Read the other findings about variables, and run fi_info -p efa with FI_LOG_LEVEL=warn.",
    source: "libfabric, fi_info(1).",
};
const NO_ANSWER: FindingKind = FindingKind {
    id: "neuron-no-answer",
    means: "The Neuron driver did not answer a query about this device.",
    action: "Search the kernel's log for neuron, and read the other findings about the node.",
    source: "Neuron driver.",
};
const HELD: FindingKind = FindingKind {
    id: "cores-held",
    means: "A process holds these cores. A Neuron runtime that needs them reports that cores are not available (NRT 1005, or \
            -16).",
    action: "Wait for the process, or end it. The driver releases the cores up to 45 s after the end of the process.",
    source: "Neuron driver; vllm and nkipy reports of cores that are released late.",
};
const HELD_BY_NONE: FindingKind = FindingKind {
    id: "cores-held-by-nobody",
    means: "These cores are held, but no process has the device open. The process that reserved them has ended, and no other \
            process can use them.",
    action: "Wait 45 s and run nearfab doctor again. If the cores are still held, reload the module neuron, which requires \
             that no process uses it, or reboot.",
    source: "aws-neuron-sdk issues 156, 298, 1338.",
};
const ATTACHED: FindingKind = FindingKind {
    id: "processes-attached",
    means: "These processes have the device open. At most 16 processes can have a device open, monitoring tools included.",
    action: "End the processes that should not use the device.",
    source: "Neuron driver: NEURON_MAX_PROCESS_PER_DEVICE.",
};

pub(super) const FABRIC: Check =
    Check { name: "EFA interfaces in libfabric", kinds: || vec![NO_FI_INFO, NONE, FEWER, FAILED], run: libfabric };
pub(super) const CORES: Check =
    Check { name: "held cores", kinds: || vec![NO_ANSWER, HELD, HELD_BY_NONE, ATTACHED], run: cores };

fn libfabric(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    input.machine()?;
    let fi_info = input.fi_info.ok_or_else(|| Skip::NotPossible("only with --probe".to_owned()))?;
    let (program, status, stdout, stderr) = match fi_info {
        FiInfo::NotInstalled => {
            return Ok(vec![NO_FI_INFO.note(Vec::new(), "no fi_info in PATH or /opt/amazon/efa/bin")]);
        }
        FiInfo::NotRun { program, reason } => return Ok(vec![FAILED.problem(subject(program), reason.as_str())]),
        FiInfo::Ended { program, status, stdout, stderr } => (program, status, stdout, stderr),
    };
    let usable: Vec<_> = input.host.efa_interfaces().iter().filter(|efa| efa.access == NodeAccess::Granted).collect();
    if status.success() {
        let listed = devices(stdout);
        let is_listed = |name: &str| listed.contains(name);
        let left_out: Vec<String> = usable
            .iter()
            .filter(|efa| efa.rdma.as_deref().is_some_and(|name| !is_listed(name)))
            .map(|efa| efa::name(efa))
            .collect();
        let seen = format!("{} lists {} of {}", program.display(), usable.len() - left_out.len(), usable.len());
        return Ok(if left_out.is_empty() { Vec::new() } else { vec![FEWER.problem(left_out, seen)] });
    }
    let text: String = [stderr.trim(), stdout.trim()].join(" ").trim().chars().take(300).collect();
    if status.signal().is_none() && text.contains("-61") {
        // The error -61 (no data) is correct on a host without EFA interfaces.
        let expected = input.host.efa_interfaces().is_empty();
        return Ok(if expected { Vec::new() } else { vec![NONE.problem(subject(program), text)] });
    }
    Ok(vec![FAILED.problem(subject(program), format!("{status}: {text}"))])
}

fn subject(program: &Path) -> Vec<String> {
    vec![program.display().to_string()]
}

/// Returns the devices in the output of fi_info, which lists several domains for each (`rdmap16s27-rdm`, `rdmap16s27-dgrm`).
fn devices(output: &str) -> BTreeSet<&str> {
    let domains = output.lines().filter_map(|line| line.trim().strip_prefix("domain:")).map(str::trim);
    domains.map(|name| name.strip_suffix("-rdm").or_else(|| name.strip_suffix("-dgrm")).unwrap_or(name)).collect()
}

fn cores(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    input.neuron()?;
    let probe = input.probe.ok_or_else(|| Skip::NotPossible("only with --probe".to_owned()))?;
    let mut found = Vec::new();
    for device in &probe.devices {
        let name = device.device.to_string();
        match &device.answers {
            Err(error) => found.push(NO_ANSWER.problem(vec![name], error.to_string())),
            Ok(answers) => found.extend(of_device(&name, answers)),
        }
    }
    Ok(found)
}

fn of_device(name: &str, answers: &DeviceAnswers) -> Vec<Finding> {
    let held = answers.cores.iter().filter(|core| matches!(core.state, Ok(CoreState::Held)));
    let held = held.map(|core| format!("{name}:{}", core.core.0)).collect();
    let users = match &answers.attachment {
        Some(Ok(users)) => users_of(users),
        _ => None,
    };
    findings(name, held, users)
}

/// Returns the findings about one device; `users` are the processes that have it open, if they are known.
fn findings(device: &str, held: Vec<String>, users: Option<Vec<String>>) -> Vec<Finding> {
    let mut found = Vec::new();
    match &users {
        _ if held.is_empty() => {}
        Some(users) if users.is_empty() => {
            found.push(HELD_BY_NONE.problem(held, "the cores are held, and no process has the device open"));
        }
        _ => found.push(HELD.note(held, "a process holds these cores")),
    }
    if let Some(users) = users.filter(|users| !users.is_empty()) {
        found.push(ATTACHED.note(vec![device.to_owned()], users.join(", ")));
    }
    found
}

/// Returns the processes that have a device open, or `None` if the driver did not report them. In a PID namespace the
/// answer of the driver does not show which process is nearfab.
fn users_of(users: &DeviceUsers) -> Option<Vec<String>> {
    let processes = users.processes.as_ref().ok()?;
    let named = processes.iter().map(|user| {
        let name = user.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        format!("process {}{name} with {} bytes of device memory", user.pid, user.device_memory)
    });
    let mut named: Vec<String> = named.collect();
    if users.includes_probe {
        named.push("one of these is nearfab itself".to_owned());
    }
    Some(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_cores_are_a_problem_only_without_a_process() {
        let ids = |held: &[&str], users: Option<Vec<String>>| -> Vec<String> {
            let held = held.iter().map(|core| (*core).to_owned()).collect();
            findings("neuron0", held, users).iter().map(Finding::title).collect()
        };
        assert_eq!(ids(&[], Some(vec![])), [""; 0]);
        assert_eq!(ids(&["neuron0:1"], None), ["NOTE cores-held: neuron0:1"]);
        assert_eq!(ids(&["neuron0:1"], Some(vec![])), ["PROBLEM cores-held-by-nobody: neuron0:1"]);
        let both = ["NOTE cores-held: neuron0:1", "NOTE processes-attached: neuron0"];
        assert_eq!(ids(&["neuron0:1"], Some(vec!["process 7".to_owned()])), both);
    }
}
