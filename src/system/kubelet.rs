//! Reads the device plugins and the drivers of dynamic resource allocation (DRA) that the kubelet knows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Problems;
use crate::scan::root::HostRoot;

const FOLDER: &str = "var/lib/kubelet";
/// The kubelet's own socket. The socket is in the folder of the plugins' sockets.
const OWN_SOCKET: &str = "kubelet.sock";
const CHECKPOINT: &str = "var/lib/kubelet/device-plugins/kubelet_internal_checkpoint";

/// The device plugins and drivers in the kubelet's folders.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Kubelet {
    /// The file names of sockets in `device-plugins`. A plugin that has ended may leave its socket behind.
    pub device_plugins: Vec<String>,
    /// The resources that device plugins registered, such as `aws.amazon.com/neuron`. The resources come from the
    /// kubelet's checkpoint, which only root can read. `None` if the checkpoint does not exist or this user cannot read
    /// it.
    pub resources: Option<Vec<String>>,
    /// The names of storage drivers and DRA drivers: the folders in `plugins`.
    pub plugins: Vec<String>,
    /// The file names of sockets in `plugins_registry`, such as `dra.net-reg.sock`.
    pub registered: Vec<String>,
}

pub(super) fn read(root: &HostRoot, problems: &mut Problems) -> Option<Kubelet> {
    let mut names = |folder: &str, wanted: &dyn Fn(&str) -> bool| {
        let read = root.list(&format!("{FOLDER}/{folder}")).map(Some);
        let mut names = problems.take_unless_refused(read).unwrap_or_default();
        names.retain(|name| wanted(name));
        names.sort_unstable();
        names
    };
    let socket = |name: &str| name.ends_with(".sock") && name != OWN_SOCKET;
    let mut kubelet = Kubelet {
        device_plugins: names("device-plugins", &socket),
        resources: None,
        plugins: names("plugins", &|_| true),
        registered: names("plugins_registry", &socket),
    };
    let read = root.parse(CHECKPOINT, "a checkpoint of the kubelet in JSON", resources);
    kubelet.resources = problems.take_unless_refused(read);
    (kubelet != Kubelet::default()).then_some(kubelet)
}

/// Returns the registered resources that have devices, from a text such as `{"Data": {"RegisteredDevices":
/// {"vpc.amazonaws.com/efa": ["..."]}}}`. After a plugin has ended, the kubelet keeps the plugin's resource without
/// devices.
fn resources(text: &str) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Checkpoint {
        #[serde(rename = "Data")]
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        #[serde(rename = "RegisteredDevices", default)]
        registered: Option<BTreeMap<String, Option<Vec<String>>>>,
    }
    let checkpoint: Checkpoint = serde_json::from_str(text).ok()?;
    let registered = checkpoint.data.registered.unwrap_or_default();
    let with_devices =
        registered.into_iter().filter(|(_, devices)| devices.as_ref().is_some_and(|ids| !ids.is_empty()));
    Some(with_devices.map(|(name, _)| name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_resources_with_devices_are_listed() {
        let text = r#"{"Data": {"PodDeviceEntries": [{"PodUID": "x"}], "RegisteredDevices":
            {"vpc.amazonaws.com/efa": ["rdmap16s27"], "aws.amazon.com/neuron": [], "a/b": null}}, "Checksum": 7}"#;
        assert_eq!(resources(text), Some(vec!["vpc.amazonaws.com/efa".to_owned()]));
        assert_eq!(resources(r#"{"Data": {"PodDeviceEntries": null, "RegisteredDevices": null}}"#), Some(vec![]));
        assert_eq!(resources("[]"), None);
    }

    proptest! {
        #[test]
        fn checkpoints_are_read_as_plainly(
            devices in prop::collection::btree_map("[a-z/.]{1,8}", prop::option::of(0..3_usize), 0..4),
            odd in "\\PC{0,8}",
        ) {
            let ids = |count: &Option<usize>| count.map(|count| vec!["id"; count]);
            let registered: BTreeMap<&String, _> = devices.iter().map(|(name, count)| (name, ids(count))).collect();
            let text = serde_json::json!({ "Data": { "RegisteredDevices": registered } }).to_string();
            let plain: Vec<String> =
                devices.iter().filter(|(_, count)| count.unwrap_or(0) > 0).map(|(name, _)| name.clone()).collect();
            prop_assert_eq!(resources(&text), Some(plain));
            // Text that follows the object makes the checkpoint unreadable, unless it is white space.
            prop_assert_eq!(resources(&format!("{text}{odd}")).is_some(), odd.trim_matches([' ', '\n', '\t', '\r']).is_empty());
        }
    }
}
