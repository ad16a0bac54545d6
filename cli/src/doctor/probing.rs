//! What only asking tells: whether libfabric finds the EFA interfaces, which cores are held and by whom.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use nearfab::NodeAccess;
use nearfab::probe::{CoreState, DeviceAnswers, DeviceUsers};

use super::case::{Case, Skip};
use super::efa;
use super::fabric::Fabric;
use super::finding::{Check, Complaint, Finding};

const NO_FI_INFO: Complaint = Complaint {
    id: "fi-info-missing",
    means: "Only libfabric can tell what it finds, and its program fi_info is neither in PATH nor in /opt/amazon/efa/bin.",
    action: "Install it (AWS's EFA installer; libfabric-bin on Debian), or ask in the container where programs run.",
    source: "libfabric, fi_info(1).",
};
const NONE: Complaint = Complaint {
    id: "libfabric-finds-none",
    means: "libfabric finds no EFA interface (fi_getinfo answers -61): programs use TCP without a word. One verbs device that cannot be \
            opened is enough for that.",
    action: "See the other findings: nodes, other RDMA devices, variables. A libfabric without the efa provider, or older than the \
             device, finds none either.",
    source: "libfabric, fi_info(1); libfabric issue 12708.",
};
const FEWER: Complaint = Complaint {
    id: "libfabric-finds-fewer",
    means: "libfabric leaves out interfaces that this host has and this user may open.",
    action: "Look at FI_EFA_IFACE, and at what fi_info -p efa says with FI_LOG_LEVEL=warn.",
    source: "libfabric, fi_info(1).",
};
const FAILED: Complaint = Complaint {
    id: "fi-info-failed",
    means: "Asking libfabric ended badly, as it will for programs that are started with this environment.",
    action: "See the other findings on variables; run fi_info -p efa with FI_LOG_LEVEL=warn.",
    source: "libfabric, fi_info(1).",
};
const NO_ANSWER: Complaint = Complaint {
    id: "neuron-no-answer",
    means: "The driver did not answer for this device.",
    action: "Look into the kernel's log for neuron; see what else is found about the node.",
    source: "Neuron driver.",
};
const HELD: Complaint = Complaint {
    id: "cores-held",
    means: "A process holds these cores: a runtime that wants them says that cores are not available (NRT 1005, or -16).",
    action: "Wait for the process, or end it; cores come back up to 45 s after it.",
    source: "Neuron driver; vllm and nkipy reports of cores that come back late.",
};
const HELD_BY_NOBODY: Complaint = Complaint {
    id: "cores-held-by-nobody",
    means: "Cores are held and no process has the device open: what reserved them is gone, and they are lost to all others.",
    action: "Wait 45 s and look again; then reload the module neuron (which takes that nothing uses it), or reboot.",
    source: "aws-neuron-sdk issues 156, 298, 1338.",
};
const ATTACHED: Complaint = Complaint {
    id: "processes-attached",
    means: "These processes have the device open. At most 16 can; monitoring tools count.",
    action: "End those that should not be there.",
    source: "Neuron driver: NEURON_MAX_PROCESS_PER_DEVICE.",
};

pub(super) const FABRIC: Check =
    Check { name: "what libfabric finds", complaints: || vec![NO_FI_INFO, NONE, FEWER, FAILED], run: fabric };
pub(super) const CORES: Check =
    Check { name: "held cores", complaints: || vec![NO_ANSWER, HELD, HELD_BY_NOBODY, ATTACHED], run: cores };

fn fabric(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    case.machine()?;
    let fabric = case.fabric.ok_or_else(|| Skip::NotKnown("only with --probe".to_owned()))?;
    let (program, status, stdout, stderr) = match fabric {
        Fabric::NotInstalled => {
            return Ok(vec![NO_FI_INFO.note(Vec::new(), "no fi_info in PATH and /opt/amazon/efa/bin")]);
        }
        Fabric::NotRun { program, reason } => return Ok(vec![FAILED.problem(named(program), reason.as_str())]),
        Fabric::Ended { program, status, stdout, stderr } => (program, status, stdout, stderr),
    };
    let usable: Vec<_> = case.host.efa().iter().filter(|efa| efa.access == NodeAccess::Granted).collect();
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
    let said: String = [stderr.trim(), stdout.trim()].join(" ").trim().chars().take(300).collect();
    if status.signal().is_none() && said.contains("-61") {
        // As it should be without any.
        let expected = case.host.efa().is_empty();
        return Ok(if expected { Vec::new() } else { vec![NONE.problem(named(program), said)] });
    }
    Ok(vec![FAILED.problem(named(program), format!("{status}: {said}"))])
}

fn named(program: &Path) -> Vec<String> {
    vec![program.display().to_string()]
}

/// The devices in the output of fi_info: of several domains each (`rdmap16s27-rdm`, `rdmap16s27-dgrm`).
fn devices(output: &str) -> BTreeSet<&str> {
    let domains = output.lines().filter_map(|line| line.trim().strip_prefix("domain:")).map(str::trim);
    domains.map(|name| name.strip_suffix("-rdm").or_else(|| name.strip_suffix("-dgrm")).unwrap_or(name)).collect()
}

fn cores(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    case.neuron()?;
    let probe = case.probe.ok_or_else(|| Skip::NotKnown("only with --probe".to_owned()))?;
    let mut found = Vec::new();
    for device in &probe.devices {
        let name = device.device.to_string();
        match &device.answers {
            Err(error) => found.push(NO_ANSWER.problem(vec![name], error.chain())),
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
    judge(name, held, users)
}

/// `users` are who has the device open, where that is known.
fn judge(device: &str, held: Vec<String>, users: Option<Vec<String>>) -> Vec<Finding> {
    let mut found = Vec::new();
    match &users {
        _ if held.is_empty() => {}
        Some(users) if users.is_empty() => {
            found.push(HELD_BY_NOBODY.problem(held, "held, and no process has the device open"));
        }
        _ => found.push(HELD.note(held, "held by a process")),
    }
    if let Some(users) = users.filter(|users| !users.is_empty()) {
        found.push(ATTACHED.note(vec![device.to_owned()], users.join(", ")));
    }
    found
}

/// The processes that have a device open, as far as the driver told; the one that asked is not to be told apart from them in
/// a PID namespace.
fn users_of(users: &DeviceUsers) -> Option<Vec<String>> {
    let processes = users.processes.as_ref().ok()?;
    let named = processes.iter().map(|user| {
        let name = user.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        format!("process {}{name} with {} bytes of device memory", user.pid, user.device_memory)
    });
    let mut named: Vec<String> = named.collect();
    if users.includes_probe {
        named.push("one of them nearfab itself".to_owned());
    }
    Some(named)
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use nearfab::Host;
    use nearfab::instances::InstanceTable;

    use super::*;

    /// In the form of `fi_info -p efa -t FI_EP_RDM`, of libfabric 2.
    fn fi_info(names: &[&str]) -> String {
        let of = |name: &&str| {
            ["efa-direct", "efa"].map(|fabric| {
                format!(
                    "provider: efa\n    fabric: {fabric}\n    domain: {name}-rdm\n    version: 201.0\n    type: FI_EP_RDM\n    \
                     protocol: FI_PROTO_EFA\n"
                )
            })
        };
        names.iter().flat_map(of).collect()
    }

    fn ended(code: i32, stdout: &str, stderr: &str) -> Fabric {
        let (stdout, stderr) = (stdout.to_owned(), stderr.to_owned());
        Fabric::Ended { program: "/usr/bin/fi_info".into(), status: ExitStatus::from_raw(code), stdout, stderr }
    }

    /// Ids and what was seen.
    fn judged(host: &Host, fabric: &Fabric) -> Vec<String> {
        let case = Case { host, surroundings: None, probe: None, fabric: Some(fabric) };
        let found = super::fabric(&case).unwrap_or_default();
        found.iter().map(|finding| finding.paragraphs().0).collect()
    }

    #[test]
    fn what_libfabric_says_is_judged_by_the_host() {
        let tree = tempfile::tempdir().unwrap();
        nearfab_emu::write_tree(InstanceTable::find("trn1.32xlarge").unwrap(), tree.path()).unwrap();
        let host = Host::from_root(tree.path()).unwrap();
        let names: Vec<&str> = host.efa().iter().filter_map(|efa| efa.rdma.as_deref()).collect();
        assert_eq!(judged(&host, &ended(0, &fi_info(&names), "")), [""; 0]);
        assert_eq!(
            judged(&host, &ended(0, &fi_info(&names[1..]), "")),
            [format!("PROBLEM libfabric-finds-fewer: 0000:10:19.0 ({})", names[0])]
        );
        let none = ended(61 << 8, "", "fi_getinfo: -61\n");
        assert_eq!(judged(&host, &none), ["PROBLEM libfabric-finds-none: /usr/bin/fi_info"]);
        assert_eq!(judged(&host, &ended(6, "", "FI_EFA_IFACE is empty")), ["PROBLEM fi-info-failed: /usr/bin/fi_info"]);
        assert_eq!(judged(&host, &Fabric::NotInstalled), ["NOTE fi-info-missing"]);

        let empty = Host::from_root(tempfile::tempdir().unwrap().path()).unwrap();
        assert_eq!(judged(&empty, &none), [""; 0], "none on a host that has none");
    }

    #[test]
    fn the_real_fi_info_is_understood() {
        let host = Host::discover().unwrap();
        match Fabric::ask() {
            Fabric::NotInstalled => nearfab_emu::skipped("fi_info", "it is not installed"),
            fabric => {
                let text = judged(&host, &fabric).join("\n");
                assert!(host.efa().is_empty() != text.contains("libfabric-finds"), "{text}");
            }
        }
    }

    #[test]
    fn cores_without_an_owner_are_worse_than_held_ones() {
        let ids = |held: &[&str], users: Option<Vec<String>>| -> Vec<String> {
            let held = held.iter().map(|core| (*core).to_owned()).collect();
            judge("neuron0", held, users).iter().map(|finding| finding.paragraphs().0).collect()
        };
        assert_eq!(ids(&[], Some(vec![])), [""; 0]);
        assert_eq!(ids(&["neuron0:1"], None), ["NOTE cores-held: neuron0:1"]);
        assert_eq!(ids(&["neuron0:1"], Some(vec![])), ["PROBLEM cores-held-by-nobody: neuron0:1"]);
        let both = ["NOTE cores-held: neuron0:1", "NOTE processes-attached: neuron0"];
        assert_eq!(ids(&["neuron0:1"], Some(vec!["process 7".to_owned()])), both);
    }
}
