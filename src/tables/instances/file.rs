//! Reads the TOML files of `data/` and refuses invalid files. `build.rs` uses this module to make the constants of
//! `tables::instances`. Tests use this module too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde::Deserialize;

use super::{Bdf, CpuList};

/// The checked content of `data/`.
pub(crate) struct Data {
    pub(crate) products: Vec<Product>,
    pub(crate) platforms: Vec<PlatformTypes>,
    pub(crate) assumptions: Vec<Assumption>,
    /// The instances by type. Each instance is complete: it contains copies of the rows that it takes from a type that
    /// it is like.
    pub(crate) instances: BTreeMap<String, Instance>,
}

/// `data/products.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Products {
    product: Vec<Product>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Product {
    pub(crate) name: String,
    pub(crate) device_ids: Vec<u16>,
    pub(crate) architecture: u32,
    pub(crate) cores: u32,
    pub(crate) memory: u64,
}

/// `data/platforms.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Platforms {
    platform: Vec<PlatformTypes>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlatformTypes {
    pub(crate) kind: Platform,
    pub(crate) instance_types: Vec<String>,
}

#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Platform {
    UltraServer,
    Pds,
    Max,
    Single,
    Standard,
}

/// `data/assumptions.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assumptions {
    assumption: Vec<Assumption>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Assumption {
    pub(crate) id: String,
    pub(crate) statement: String,
    pub(crate) source: String,
    pub(crate) settled_by: String,
    pub(crate) check: Option<Check>,
    #[serde(default)]
    pub(crate) by_hand: bool,
}

/// The checks of assumptions that no table depends on, see `tables::instances::Check`.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Check {
    LocalCpus,
    CoreMapTorus,
    CoreMapTrn3p,
    CoreMapSwitched,
    CoreMapFlipped,
    CoreMapNone,
    Architecture,
    ProbedAddress,
    CoreQuestion,
}

/// A file of `data/instances/`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Instance {
    pub(crate) instance_type: String,
    /// The type whose file has the rows that this file lacks.
    like: Option<Like>,
    pub(crate) neuron_product: Option<String>,
    pub(crate) efa_device_id: Option<u16>,
    pub(crate) gpu_device_id: Option<u16>,
    #[serde(default)]
    pub(crate) sources: BTreeMap<String, Source>,
    #[serde(default)]
    pub(crate) numa: Vec<Numa>,
    #[serde(default)]
    pub(crate) neuron: Vec<Neuron>,
    #[serde(default)]
    pub(crate) efa: Vec<Function>,
    #[serde(default)]
    pub(crate) gpu: Vec<Function>,
    #[serde(default)]
    pub(crate) foreign: Vec<Foreign>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Like {
    instance_type: String,
    grade: Grade,
    text: String,
    #[serde(default)]
    assumptions: Vec<String>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    pub(crate) grade: Grade,
    pub(crate) text: String,
    #[serde(default)]
    pub(crate) assumptions: Vec<String>,
}

/// How reliable a fact is, from the most to the least reliable grade.
#[derive(Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Grade {
    Captured,
    Published,
    Inferred,
    Invented,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(crate) struct Numa {
    pub(crate) node: u32,
    pub(crate) cpus: CpuList,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(crate) struct Neuron {
    pub(crate) index: u32,
    pub(crate) address: Bdf,
    pub(crate) numa: Option<u32>,
    #[serde(default)]
    pub(crate) bridges: Vec<Bdf>,
    pub(crate) links: Option<Vec<u32>>,
    pub(crate) efa: Option<Bdf>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(crate) struct Function {
    pub(crate) address: Bdf,
    pub(crate) numa: Option<u32>,
    #[serde(default)]
    pub(crate) bridges: Vec<Bdf>,
}

/// An RDMA function that is not an EFA interface. Such functions have different ids, so each row has an id.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub(crate) struct Foreign {
    pub(crate) address: Bdf,
    pub(crate) vendor: u16,
    pub(crate) device: u16,
    pub(crate) numa: Option<u32>,
    #[serde(default)]
    pub(crate) bridges: Vec<Bdf>,
}

impl Data {
    /// Reads the texts of `products.toml`, `platforms.toml`, `assumptions.toml` and `instances/*.toml`, the last with
    /// their file names. Refuses facts that no host can have, and unconfirmed facts without an assumption.
    pub(crate) fn read(
        products: &str,
        platforms: &str,
        assumptions: &str,
        instances: &[(String, String)],
    ) -> Result<Self, String> {
        let products: Products = toml::from_str(products).map_err(|e| format!("products.toml: {e}"))?;
        let products = products.product;
        unique("product", products.iter().map(|p| &p.name))?;
        unique("device id", products.iter().flat_map(|p| &p.device_ids))?;
        let platforms: Platforms = toml::from_str(platforms).map_err(|e| format!("platforms.toml: {e}"))?;
        let platforms = platforms.platform;
        unique("instance type", platforms.iter().flat_map(|p| &p.instance_types))?;
        let assumptions: Assumptions = toml::from_str(assumptions).map_err(|e| format!("assumptions.toml: {e}"))?;
        let assumptions = assumptions.assumption;
        unique("assumption", assumptions.iter().map(|c| &c.id))?;

        let mut data = Self { products, platforms, assumptions, instances: BTreeMap::new() };
        let mut alike = Vec::new();
        for (name, text) in instances {
            let instance: Instance = toml::from_str(text).map_err(|e| format!("{name}: {e}"))?;
            if name.strip_suffix(".toml") != Some(instance.instance_type.as_str()) {
                return Err(format!("{name}: its instance_type is {:?}", instance.instance_type));
            }
            if instance.like.is_some() {
                alike.push(instance);
            } else {
                data.instances.insert(instance.instance_type.clone(), instance);
            }
        }
        // A type that is like another type is completed after all types with complete files are read. A completed type
        // cannot be the model of another type.
        let mut completed = Vec::new();
        for instance in alike {
            let name = instance.instance_type.clone();
            completed.push(instance.complete(&data.instances).map_err(|e| format!("{name}.toml: {e}"))?);
        }
        data.instances.extend(completed.into_iter().map(|instance| (instance.instance_type.clone(), instance)));
        for (name, instance) in &data.instances {
            instance.check(&data).map_err(|e| format!("{name}.toml: {e}"))?;
        }
        for assumption in &data.assumptions {
            data.check_test(assumption)
                .map_err(|e| format!("assumptions.toml: the assumption {:?} {e}", assumption.id))?;
        }
        Ok(data)
    }

    /// Checks that an assumption is tested in exactly one way.
    fn check_test(&self, assumption: &Assumption) -> Result<(), &'static str> {
        let used = self.users(&assumption.id).next().is_some();
        match [used, assumption.check.is_some(), assumption.by_hand].into_iter().filter(|way| *way).count() {
            0 => Err("has no test: no instance type uses it, it names no check, and it is not by_hand"),
            1 => Ok(()),
            _ => Err("has several tests: instance types that use it, a check, or by_hand"),
        }
    }

    /// Returns the instance types that depend on an assumption.
    pub(crate) fn users<'a>(&'a self, assumption: &'a str) -> impl Iterator<Item = &'a str> {
        let uses = move |instance: &Instance| {
            instance.sources.values().any(|source| source.assumptions.iter().any(|used| used == assumption))
        };
        self.instances.values().filter(move |instance| uses(instance)).map(|i| i.instance_type.as_str())
    }
}

impl Instance {
    /// Copies the missing rows from the type that this type is like. The copied facts are at most as reliable as the
    /// likeness.
    fn complete(mut self, others: &BTreeMap<String, Self>) -> Result<Self, String> {
        let Some(like) = self.like.take() else { return Ok(self) };
        let Some(other) = others.get(&like.instance_type) else {
            return Err(format!("like: {:?} must be a type whose file has all rows", like.instance_type));
        };
        if like.text.is_empty() {
            return Err("like needs a text with the source of the likeness".to_owned());
        }
        for (fact, has_rows) in self.own_facts() {
            if has_rows && !self.sources.contains_key(fact) {
                return Err(format!("the file has rows for {fact} and lacks sources.{fact}"));
            }
        }
        for (fact, source) in &other.sources {
            self.sources.entry(fact.clone()).or_insert_with(|| Source {
                grade: source.grade.max(like.grade),
                text: format!("as {} ({}): {}", like.instance_type, like.text, source.text),
                assumptions: source.assumptions.iter().chain(&like.assumptions).cloned().collect(),
            });
        }
        self.neuron_product = self.neuron_product.or_else(|| other.neuron_product.clone());
        self.efa_device_id = self.efa_device_id.or(other.efa_device_id);
        self.gpu_device_id = self.gpu_device_id.or(other.gpu_device_id);
        fill(&mut self.numa, &other.numa);
        fill(&mut self.neuron, &other.neuron);
        fill(&mut self.efa, &other.efa);
        fill(&mut self.gpu, &other.gpu);
        fill(&mut self.foreign, &other.foreign);
        Ok(self)
    }

    /// Returns the kinds of facts that need a source, and whether the file has facts of the kind. The list does not
    /// contain `path`: if the path is unknown, the file has no source of it and no bridges.
    fn own_facts(&self) -> [(&'static str, bool); 9] {
        let functions = self.efa.iter().chain(&self.gpu).map(|f| f.numa).chain(self.foreign.iter().map(|f| f.numa));
        [
            ("cpus", !self.numa.is_empty()),
            ("numa", self.neuron.iter().map(|d| d.numa).chain(functions).any(|numa| numa.is_some())),
            ("neuron", !self.neuron.is_empty()),
            ("efa", !self.efa.is_empty()),
            ("efa_device_id", self.efa_device_id.is_some()),
            ("gpu", !self.gpu.is_empty() || self.gpu_device_id.is_some()),
            ("foreign", !self.foreign.is_empty()),
            ("pairing", self.neuron.iter().any(|device| device.efa.is_some())),
            ("links", self.neuron.iter().any(|device| device.links.as_ref().is_some_and(|links| !links.is_empty()))),
        ]
    }

    fn check(&self, data: &Data) -> Result<(), String> {
        self.check_sources(data)?;
        for (what, id, rows) in [
            ("neuron_product", self.neuron_product.is_some(), !self.neuron.is_empty()),
            ("efa_device_id", self.efa_device_id.is_some(), !self.efa.is_empty()),
            ("gpu_device_id", self.gpu_device_id.is_some(), !self.gpu.is_empty()),
        ] {
            if id != rows {
                return Err(format!("{what} and its rows belong together: one of them is missing"));
            }
        }
        if let Some(name) = &self.neuron_product
            && !data.products.iter().any(|product| product.name == *name)
        {
            return Err(format!("neuron_product {name:?} is not in products.toml"));
        }
        self.check_numa()?;
        self.check_neuron()?;
        self.check_places()
    }

    fn check_sources(&self, data: &Data) -> Result<(), String> {
        for (fact, has_rows) in self.own_facts() {
            match (has_rows, self.sources.contains_key(fact)) {
                (true, false) => return Err(format!("sources.{fact} is missing: name the source of these facts")),
                (false, true) => return Err(format!("sources.{fact} has no facts in the file")),
                _ => {}
            }
        }
        for (fact, source) in &self.sources {
            if fact != "path" && !self.own_facts().iter().any(|(known, _)| known == fact) {
                return Err(format!("sources.{fact}: this kind of fact does not exist"));
            }
            if source.text.is_empty() {
                return Err(format!("sources.{fact} needs a text"));
            }
            if source.grade >= Grade::Inferred && source.assumptions.is_empty() {
                return Err(format!(
                    "sources.{fact} is {:?} and names no assumption of assumptions.toml",
                    source.grade
                ));
            }
            if source.grade == Grade::Invented && !["cpus", "efa", "neuron"].contains(&fact.as_str()) {
                return Err(format!("sources.{fact}: facts of this kind must not be invented"));
            }
            if let Some(assumption) =
                source.assumptions.iter().find(|id| !data.assumptions.iter().any(|assumption| assumption.id == **id))
            {
                return Err(format!("sources.{fact}: assumptions.toml has no assumption {assumption:?}"));
            }
        }
        Ok(())
    }

    fn check_numa(&self) -> Result<(), String> {
        if self.numa.is_empty() {
            return Err("a host has at least one [[numa]] row".to_owned());
        }
        unique("NUMA node", self.numa.iter().map(|n| n.node))?;
        unique("CPU", self.numa.iter().flat_map(|n| n.cpus.iter().collect::<Vec<_>>()))
    }

    fn check_neuron(&self) -> Result<(), String> {
        unique("device index", self.neuron.iter().map(|d| d.index))?;
        if let Some((position, device)) = self.neuron.iter().enumerate().find(|(i, d)| d.index as usize != *i) {
            return Err(format!(
                "device {} is row {position}: the rows must be in the order of their index",
                device.index
            ));
        }
        let efas: BTreeSet<Bdf> = self.efa.iter().map(|e| e.address).collect();
        for device in &self.neuron {
            if let Some(efa) = device.efa.filter(|efa| !efas.contains(efa)) {
                return Err(format!("device {} is paired with {efa}, which is not an [[efa]] row", device.index));
            }
            let links_of = |index: u32| self.neuron.get(index as usize).and_then(|device| device.links.as_ref());
            for &link in device.links.iter().flatten() {
                if !links_of(link).is_some_and(|back| back.contains(&device.index)) || link == device.index {
                    return Err(format!("device {} links to {link}, which does not link back", device.index));
                }
            }
        }
        Ok(())
    }

    fn check_places(&self) -> Result<(), String> {
        let neuron = self.neuron.iter().map(|d| (d.address, d.numa, &d.bridges));
        let known = self.efa.iter().chain(&self.gpu).map(|f| (f.address, f.numa, &f.bridges));
        let foreign = self.foreign.iter().map(|f| (f.address, f.numa, &f.bridges));
        let functions: Vec<(Bdf, Option<u32>, &Vec<Bdf>)> = neuron.chain(known).chain(foreign).collect();
        unique("PCI address", functions.iter().map(|(address, ..)| address))?;
        if functions.is_empty() && self.sources.contains_key("path") {
            return Err("sources.path has no facts in the file".to_owned());
        }
        let alone = |address: Bdf| functions.iter().filter(|(other, ..)| other.bus() == address.bus()).count() == 1;
        let invents = |fact| self.sources.get(fact).is_some_and(|source| source.grade == Grade::Invented);
        let neuron = self.neuron.iter().map(|d| ("neuron", d.address));
        for (fact, address) in neuron.chain(self.efa.iter().map(|f| ("efa", f.address))) {
            if invents(fact) && !alone(address) {
                return Err(format!(
                    "{address} is invented and shares its bus with another function, which would make the two look near"
                ));
            }
        }
        let nodes: BTreeSet<u32> = self.numa.iter().map(|n| n.node).collect();
        for &(address, numa, bridges) in &functions {
            if let Some(node) = numa.filter(|node| !nodes.contains(node)) {
                return Err(format!("{address} is on NUMA node {node}, which is not a [[numa]] row"));
            }
            if !bridges.is_empty() && !self.sources.contains_key("path") {
                return Err(format!(
                    "{address} has bridges and sources.path is missing: name the source of these facts"
                ));
            }
            if let Some(bridge) = bridges.iter().find(|b| functions.iter().any(|(f, ..)| f == *b)) {
                return Err(format!("{address} is behind {bridge}, which is a device and not a bridge"));
            }
            if !bridges.windows(2).all(|pair| pair[0].bus() < pair[1].bus())
                || bridges.last().is_some_and(|port| port.bus() >= address.bus())
            {
                return Err(format!(
                    "{address}: the bridges must be in the order from the root bus down, with rising bus numbers"
                ));
            }
        }
        Ok(())
    }
}

/// Copies the rows of another file if this file has no such rows.
fn fill<T: Clone>(rows: &mut Vec<T>, others: &[T]) {
    if rows.is_empty() {
        rows.extend_from_slice(others);
    }
}

/// Checks that no value is listed twice.
fn unique<T: Ord + Display>(what: &str, values: impl Iterator<Item = T>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for value in values {
        if seen.contains(&value) {
            return Err(format!("{what} {value} is listed twice"));
        }
        seen.insert(value);
    }
    Ok(())
}

// The path is explicit because the build script includes this module at another place in its tree of modules.
#[cfg(test)]
#[path = "file/tests.rs"]
mod tests;
