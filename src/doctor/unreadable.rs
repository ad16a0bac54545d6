//! Checks of what could be read: device nodes without a device in sysfs, and files that nearfab did not understand.

use super::finding::{Check, Finding, FindingKind};
use super::input::{Input, Skip};

const UNEXPLAINED: FindingKind = FindingKind {
    id: "nodes-unexplained",
    means: "The nodes are in /dev, and sysfs shows no device for them. Nothing else is known of the devices: neither their \
            place, nor their driver, nor whether they work. libibverbs and nearfab find devices in sysfs only.",
    action: "In a sandbox (gVisor, Kata Containers), run nearfab on the host, or give the sandbox the sysfs of the devices. If \
             each RDMA device belongs to one network namespace, move the RDMA device into this one.",
    source: "Linux sysfs; rdma-core, ibv_get_device_list.",
};
const INCOMPLETE: FindingKind = FindingKind {
    id: "host-incomplete",
    means: "nearfab could not read or understand these files. nearfab's answers about this host lack the content of these files, and the doctor may miss a \
            problem.",
    action: "Run nearfab as root if a file was refused. Report a file with unexpected content to nearfab: a newer driver may have changed \
             its form.",
    source: "The files of this host.",
};

pub(super) const NODES: Check = Check { name: "nodes without a device", kinds: || vec![UNEXPLAINED], run: nodes };
pub(super) const FILES: Check = Check { name: "unreadable files", kinds: || vec![INCOMPLETE], run: files };

fn nodes(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let nodes = input.machine()?.unexplained_nodes();
    if nodes.is_empty() {
        return Ok(Vec::new());
    }
    let seen = format!("no device in sys/class{}", input.container_note());
    Ok(vec![UNEXPLAINED.warning(nodes.to_vec(), seen)])
}

fn files(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let of_system = input.system.map(|system| &system.problems[..]).unwrap_or_default();
    let problems: Vec<&str> = input.machine()?.problems().iter().chain(of_system).map(String::as_str).collect();
    Ok(if problems.is_empty() { Vec::new() } else { vec![INCOMPLETE.warning(Vec::new(), problems.join("; "))] })
}
