//! The devices of this host as the driver finds them now, with their device nodes.

use std::path::{Path, PathBuf};

use nearfab::Host;

use crate::error::{Error, Result};
use crate::model::hardware::{efa_node, usable};
use crate::model::unit::Unit;

/// The devices of the host.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// The host.
    pub host: Host,
}

impl Inventory {
    /// Discovers the devices of the host whose `sys` and `dev` are below `root`.
    ///
    /// # Errors
    /// When `root` cannot be opened. A host without devices gives an empty inventory.
    pub fn discover(root: &Path) -> Result<Self> {
        let host = Host::from_root(root).map_err(|source| Error::Discovery { root: root.to_owned(), source })?;
        Ok(Self { host })
    }

    /// Returns the path of the device node of the device `name`, on the host and in a container.
    ///
    /// # Errors
    /// When the host has no such device, or the device has no usable node.
    pub(crate) fn node(&self, name: &str) -> Result<PathBuf> {
        let node = match name.parse() {
            Ok(Unit::Neuron(index)) => self.host.find_neuron(index).ok().map(|device| {
                let node = device.node();
                usable(&node, device.access).map(|()| node)
            }),
            Ok(Unit::Efa(address)) => self.host.find_efa(address).ok().map(efa_node),
            _ => None,
        };
        let node = node.unwrap_or_else(|| Err("this node has no such device".to_owned()));
        node.map(PathBuf::from).map_err(|reason| Error::Unusable { device: name.to_owned(), reason })
    }
}
