//! Reads the files of `data/` without the library and the emulator.

use std::collections::BTreeMap;
use std::fs;

use serde::Deserialize;

/// A file of `data/instances/`.
#[derive(Deserialize)]
pub(crate) struct Type {
    pub(crate) instance_type: String,
    like: Option<Like>,
    pub(crate) neuron_product: Option<String>,
    pub(crate) efa_device_id: Option<u16>,
    pub(crate) gpu_device_id: Option<u16>,
    #[serde(default)]
    sources: BTreeMap<String, Source>,
    #[serde(default)]
    pub(crate) numa: Vec<Numa>,
    #[serde(default)]
    pub(crate) neuron: Vec<Place>,
    #[serde(default)]
    pub(crate) efa: Vec<Place>,
    #[serde(default)]
    pub(crate) gpu: Vec<Place>,
    #[serde(default)]
    pub(crate) foreign: Vec<Place>,
    /// True if the type's file has no device, so that the type has all devices of the type that `like` names.
    #[serde(skip)]
    pub(crate) has_devices_of_another: bool,
}

#[derive(Deserialize)]
struct Like {
    instance_type: String,
    grade: String,
}

#[derive(Deserialize, Clone)]
struct Source {
    grade: String,
}

#[derive(Deserialize, Clone)]
pub(crate) struct Numa {
    pub(crate) node: u32,
    pub(crate) cpus: String,
}

/// The place of a device of any kind.
#[derive(Deserialize, Clone)]
pub(crate) struct Place {
    pub(crate) address: String,
    pub(crate) numa: Option<u32>,
    #[serde(default)]
    pub(crate) bridges: Vec<String>,
    pub(crate) links: Option<Vec<u32>>,
    pub(crate) vendor: Option<u16>,
    pub(crate) device: Option<u16>,
}

#[derive(Deserialize)]
struct Products {
    product: Vec<Product>,
}

#[derive(Deserialize)]
pub(crate) struct Product {
    pub(crate) name: String,
    pub(crate) device_ids: Vec<u16>,
    pub(crate) cores: u32,
    pub(crate) memory: u64,
}

impl Type {
    /// Returns true if the type's file has places of Neuron devices that are not invented.
    pub(crate) fn places_neuron(&self) -> bool {
        self.sources.get("neuron").is_some_and(|source| source.grade != "invented")
    }

    fn complete(&mut self, other: &Self) {
        fn fill<T: Clone>(rows: &mut Vec<T>, others: &[T]) {
            if rows.is_empty() {
                rows.extend_from_slice(others);
            }
        }
        assert_ne!(self.like.as_ref().unwrap().grade, "invented");
        let own = [&self.neuron, &self.efa, &self.gpu, &self.foreign];
        self.has_devices_of_another = self.numa.is_empty() && own.iter().all(|rows| rows.is_empty());
        self.neuron_product = self.neuron_product.take().or_else(|| other.neuron_product.clone());
        self.efa_device_id = self.efa_device_id.or(other.efa_device_id);
        self.gpu_device_id = self.gpu_device_id.or(other.gpu_device_id);
        for (fact, source) in &other.sources {
            self.sources.entry(fact.clone()).or_insert_with(|| source.clone());
        }
        fill(&mut self.numa, &other.numa);
        fill(&mut self.neuron, &other.neuron);
        fill(&mut self.efa, &other.efa);
        fill(&mut self.gpu, &other.gpu);
        fill(&mut self.foreign, &other.foreign);
    }
}

/// Returns every instance type, by name.
pub(crate) fn types() -> BTreeMap<String, Type> {
    let mut types = BTreeMap::new();
    let mut alike: Vec<Type> = Vec::new();
    for entry in fs::read_dir("data/instances").unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let read: Type = toml::from_str(&text).unwrap();
        if read.like.is_some() {
            alike.push(read);
        } else {
            types.insert(read.instance_type.clone(), read);
        }
    }
    for mut one in alike {
        one.complete(&types[&one.like.as_ref().unwrap().instance_type]);
        types.insert(one.instance_type.clone(), one);
    }
    types
}

pub(crate) fn products() -> Vec<Product> {
    let products: Products = toml::from_str(&fs::read_to_string("data/products.toml").unwrap()).unwrap();
    products.product
}
