//! What the kernel itself makes for each device of a class, whatever its driver adds.

use crate::tree::{Error, Tree};

/// Files of a device's `power` folder where nothing manages its power, as captured with Neuron driver 2.24.7.
///
/// Reading `autosuspend_delay_ms` fails there (EIO), which no file of a tree can: it is empty.
const POWER: [(&str, u32, &str); 9] = [
    ("async", 0o644, "disabled\n"),
    ("autosuspend_delay_ms", 0o644, ""),
    ("control", 0o644, "auto\n"),
    ("runtime_active_kids", 0o444, "0\n"),
    ("runtime_active_time", 0o444, "0\n"),
    ("runtime_enabled", 0o444, "disabled\n"),
    ("runtime_status", 0o444, "unsupported\n"),
    ("runtime_suspended_time", 0o444, "0\n"),
    ("runtime_usage", 0o444, "0\n"),
];

/// A device node: its numbers, and its name below `/dev`.
pub(crate) struct Node<'a> {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) name: &'a str,
}

/// The device of a class in the folder `path`, which ends with its name, and its node.
pub(crate) fn device(tree: &Tree, class: &str, path: &str, node: Option<&Node>) -> Result<(), Error> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let uevent = match node {
        Some(Node { major, minor, name }) => {
            tree.attribute(&format!("{path}/dev"), 0o444, format_args!("{major}:{minor}"))?;
            format!("MAJOR={major}\nMINOR={minor}\nDEVNAME={name}")
        }
        None => format!("NAME={name}"),
    };
    tree.attribute(&format!("{path}/uevent"), 0o644, uevent)?;
    tree.link(&format!("{path}/subsystem"), class)?;
    for (file, mode, content) in POWER {
        tree.bytes(&format!("{path}/power/{file}"), mode, content.as_bytes())?;
    }
    tree.link(&format!("{class}/{name}"), path)?;
    node.map_or(Ok(()), |node| tree.device_node(&format!("dev/{}", node.name)))
}
