//! Lists the facts of an instance table that a host uses.

use super::{Evidence, LinkEvidence};
use crate::host::{Host, Origin};
use crate::scan::neuron::LocationEvidence;
use crate::tables::instances::Source;

impl Host {
    /// Returns the facts of the instance table that this host uses, in the table's order. A host made from the table
    /// uses all facts. Other hosts use the devices' addresses, the pairing and the links. Each of these facts is used
    /// only if the host does not show it.
    ///
    /// A fact that was not seen on a real host names its [`assumptions`](crate::instances::assumptions).
    ///
    /// ```
    /// use nearfab::Host;
    /// let host = Host::from_instance("p5.48xlarge")?;
    /// let path = host.table_sources().into_iter().find(|source| source.fact == "path").unwrap();
    /// assert_eq!(path.assumptions, ["ec2-switch-numbering"]);
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    #[must_use]
    pub fn table_sources(&self) -> Vec<&'static Source> {
        let Some(table) = self.table() else { return Vec::new() };
        let from_table = matches!(self.origin(), Origin::Table { .. });
        let used = |source: &&Source| {
            from_table
                || match source.fact {
                    "neuron" => self.places_by_table(),
                    "pairing" => self.pairs_by_table(),
                    "links" => self.links().iter().any(|links| links.evidence != LinkEvidence::Driver),
                    _ => false,
                }
        };
        table.sources.iter().filter(used).collect()
    }

    fn places_by_table(&self) -> bool {
        let mut locations = self.neuron_devices().iter().filter_map(|device| device.location.as_ref());
        locations.any(|location| matches!(location.evidence, LocationEvidence::Table { .. }))
    }

    fn pairs_by_table(&self) -> bool {
        let mut lists =
            self.neuron_devices().iter().filter_map(|device| self.near_device(device.index, Default::default()).ok());
        lists.any(|list| {
            list.missing_pair.is_some()
                || list.nearest_by_rank().any(|near| matches!(near.evidence, Evidence::Table { .. }))
        })
    }
}
