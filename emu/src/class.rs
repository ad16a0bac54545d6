//! The files that the kernel itself creates for each device of a class, beside the driver's files.

use crate::tree::{Error, Tree};

/// Files in a device's `power` folder if no driver manages the device's power, as captured with Neuron driver 2.24.7.
///
/// On a real host, reading `autosuspend_delay_ms` fails with EIO. Reading a file of a tree cannot fail with EIO, so the
/// emulated file is empty.
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

/// The numbers of a device node, and its name below `/dev`.
pub(crate) struct Node<'a> {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) name: &'a str,
}

/// Writes a device of a class into the folder `path`, whose last part is the device's name, and writes the device's
/// node.
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
