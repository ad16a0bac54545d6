//! The TOML files of `data/`: their form, and what is refused in them. Used by `build.rs`, which turns them into the
//! constants of [`crate::instances`], and by the tests of that.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Bdf, CpuList};

/// What each file must say the source of.
const FACTS: [&str; 7] = ["efa", "efa_device_id", "links", "neuron", "numa", "pairing", "path"];
const GRADES: [&str; 3] = ["captured", "published", "inferred"];

/// `data/products.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Products {
    pub(crate) product: Vec<Product>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Product {
    pub(crate) name: String,
    pub(crate) device_ids: Vec<u16>,
    pub(crate) cores: u32,
    pub(crate) memory: u64,
}

/// One file of `data/instances/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Instance {
    pub(crate) instance_type: String,
    pub(crate) neuron_product: String,
    pub(crate) efa_device_id: u16,
    pub(crate) sources: BTreeMap<String, Source>,
    pub(crate) numa: Vec<Numa>,
    pub(crate) neuron: Vec<Neuron>,
    pub(crate) efa: Vec<Efa>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    pub(crate) grade: String,
    pub(crate) text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Numa {
    pub(crate) node: u32,
    pub(crate) cpus: CpuList,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Neuron {
    pub(crate) index: u32,
    pub(crate) address: Bdf,
    pub(crate) numa: u32,
    pub(crate) bridges: Vec<Bdf>,
    pub(crate) links: Vec<u32>,
    pub(crate) efa: Bdf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Efa {
    pub(crate) address: Bdf,
    pub(crate) numa: u32,
    pub(crate) bridges: Vec<Bdf>,
}

impl Products {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let products: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        unique("product", products.product.iter().map(|p| &p.name))?;
        unique("device id", products.product.iter().flat_map(|p| &p.device_ids))?;
        Ok(products)
    }
}

impl Instance {
    /// Reads one file and refuses what cannot be true of any host. `products` are the known product names.
    pub(crate) fn parse(text: &str, products: &BTreeSet<&str>) -> Result<Self, String> {
        let instance: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        instance.check_sources()?;
        if !products.contains(instance.neuron_product.as_str()) {
            return Err(format!("neuron_product {:?} is not in products.toml", instance.neuron_product));
        }
        instance.check_numa()?;
        instance.check_devices()?;
        Ok(instance)
    }

    fn check_sources(&self) -> Result<(), String> {
        let given: Vec<&str> = self.sources.keys().map(String::as_str).collect();
        if given != FACTS {
            return Err(format!("[sources] must name {FACTS:?}, each once; it names {given:?}"));
        }
        for (fact, source) in &self.sources {
            if !GRADES.contains(&source.grade.as_str()) || source.text.is_empty() {
                return Err(format!("sources.{fact} needs a text and a grade, one of {GRADES:?}"));
            }
        }
        Ok(())
    }

    fn check_numa(&self) -> Result<(), String> {
        unique("NUMA node", self.numa.iter().map(|n| n.node))?;
        unique("CPU", self.numa.iter().flat_map(|n| n.cpus.iter().collect::<Vec<_>>()))
    }

    fn check_devices(&self) -> Result<(), String> {
        let functions = || self.neuron.iter().map(|d| d.address).chain(self.efa.iter().map(|e| e.address));
        unique("PCI address", functions())?;
        unique("device index", self.neuron.iter().map(|d| d.index))?;
        if let Some((position, device)) = self.neuron.iter().enumerate().find(|(i, d)| d.index as usize != *i) {
            return Err(format!("device {} is row {position}: rows stand in the order of their index", device.index));
        }
        let efas: BTreeSet<Bdf> = self.efa.iter().map(|e| e.address).collect();
        for device in &self.neuron {
            if !efas.contains(&device.efa) {
                return Err(format!("device {} is paired with {}, which is no [[efa]] row", device.index, device.efa));
            }
            for &link in &device.links {
                let back = self.neuron.get(link as usize).is_some_and(|other| other.links.contains(&device.index));
                if !back || link == device.index {
                    return Err(format!("device {} links to {link}, which does not link back", device.index));
                }
            }
        }
        let nodes: BTreeSet<u32> = self.numa.iter().map(|n| n.node).collect();
        let rows = self.neuron.iter().map(|d| (d.address, d.numa, &d.bridges));
        for (address, numa, bridges) in rows.chain(self.efa.iter().map(|e| (e.address, e.numa, &e.bridges))) {
            if !nodes.contains(&numa) {
                return Err(format!("{address} is on NUMA node {numa}, which is no [[numa]] row"));
            }
            if let Some(bridge) = bridges.iter().find(|b| functions().any(|f| f == **b)) {
                return Err(format!("{address} is behind {bridge}, which is a device, no bridge"));
            }
            if !bridges.windows(2).all(|pair| pair[0].bus() < pair[1].bus())
                || bridges.last().is_some_and(|port| port.bus() >= address.bus())
            {
                return Err(format!("{address}: bridges go from the root bus downwards, to higher bus numbers"));
            }
        }
        Ok(())
    }
}

fn unique<T: Ord + std::fmt::Display>(what: &str, values: impl Iterator<Item = T>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for value in values {
        if seen.contains(&value) {
            return Err(format!("{what} {value} stands twice"));
        }
        seen.insert(value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = include_str!("../../data/instances/trn2.48xlarge.toml");

    fn parse(text: &str) -> Result<Instance, String> {
        Instance::parse(text, &BTreeSet::from(["Trainium2"]))
    }

    /// Replaces the first `from`, which must be there, and returns the refusal.
    fn refusal(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "the test edits a line that is gone: {from}");
        match parse(&GOOD.replacen(from, to, 1)) {
            Ok(_) => panic!("{from:?} -> {to:?} was accepted"),
            Err(error) => error,
        }
    }

    #[test]
    fn good_file_is_read() {
        assert_eq!(parse(GOOD).unwrap().neuron.len(), 16);
    }

    #[test]
    fn bad_address_is_refused() {
        assert!(refusal("0000:cc:00.0", "0000:cc:00.9").contains("not a PCI address"));
    }

    #[test]
    fn same_address_twice_is_refused() {
        assert!(refusal("\"0000:cc:00.0\"", "\"0000:b5:00.0\"").contains("0000:b5:00.0 stands twice"));
    }

    #[test]
    fn pairing_with_an_absent_efa_is_refused() {
        assert!(refusal("efa = \"0000:c9:00.0\"", "efa = \"0000:c8:00.0\"").contains("no [[efa]] row"));
    }

    #[test]
    fn absent_numa_node_is_refused() {
        assert!(refusal("numa = 1", "numa = 7").contains("NUMA node 7"));
    }

    #[test]
    fn one_sided_link_is_refused() {
        assert!(refusal("links = [12, 1, 3, 4]", "links = [12, 1, 3, 5]").contains("does not link back"));
    }

    #[test]
    fn fact_without_source_is_refused() {
        assert!(refusal("pairing = {", "pair = {").contains("[sources] must name"));
        assert!(refusal("grade = \"inferred\"", "grade = \"sure\"").contains("needs a text and a grade"));
    }

    #[test]
    fn overlapping_cpus_are_refused() {
        assert!(refusal("0-47,96-143", "0-48,96-143").contains("CPU 48 stands twice"));
    }

    #[test]
    fn rows_out_of_order_are_refused() {
        assert!(refusal("index = 0", "index = 3").contains("device index 3 stands twice"));
    }

    #[test]
    fn unknown_field_is_refused() {
        assert!(refusal("index = 0", "index = 0\nspeed = 3").contains("unknown field"));
    }
}
