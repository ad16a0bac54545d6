//! What the kubelet of a machine knows of devices: device plugins, and drivers of dynamic resource allocation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Problems;
use crate::scan::root::HostRoot;

const FOLDER: &str = "var/lib/kubelet";
/// The kubelet's own, beside those of the plugins.
const OWN_SOCKET: &str = "kubelet.sock";
const CHECKPOINT: &str = "var/lib/kubelet/device-plugins/kubelet_internal_checkpoint";

/// What the kubelet's folders show of device plugins and of drivers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Kubelet {
    /// The sockets of device plugins in `device-plugins`, by file name. One of a plugin that is gone may be left over.
    pub device_plugins: Vec<String>,
    /// The resources that device plugins registered, such as `aws.amazon.com/neuron`, by the kubelet's checkpoint, which
    /// only root may read: `None` where it is not there or not for this user.
    pub resources: Option<Vec<String>>,
    /// The folders of plugins in `plugins`: drivers of storage and of dynamic resource allocation, by driver name.
    pub plugins: Vec<String>,
    /// The sockets in `plugins_registry`, by file name, such as `dra.net-reg.sock`.
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

/// The registered resources of which there are devices, from `{"Data": {"RegisteredDevices": {"vpc.amazonaws.com/efa":
/// ["..."]}}}`. The kubelet keeps the name of a plugin that is gone, without devices.
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
    fn resources_are_those_with_devices() {
        let text = r#"{"Data": {"PodDeviceEntries": [{"PodUID": "x"}], "RegisteredDevices":
            {"vpc.amazonaws.com/efa": ["rdmap16s27"], "aws.amazon.com/neuron": [], "a/b": null}}, "Checksum": 7}"#;
        assert_eq!(resources(text), Some(vec!["vpc.amazonaws.com/efa".to_owned()]));
        assert_eq!(resources(r#"{"Data": {"PodDeviceEntries": null, "RegisteredDevices": null}}"#), Some(vec![]));
        assert_eq!(resources("[]"), None);
    }

    proptest! {
        #[test]
        fn no_checkpoint_panics(text in "\\PC*") {
            let _ = resources(&text);
        }
    }
}
