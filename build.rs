//! Turns `data/` into the constants of `src/tables/`. Fails if a file has a fact that no host can have, or a fact
//! without a source.

#[path = "src/types/bdf.rs"]
mod bdf;
#[path = "src/types/cpulist.rs"]
mod cpulist;
#[path = "src/tables/instances/file.rs"]
mod file;
#[path = "src/tables/variables/file.rs"]
mod variables;
#[path = "src/tables/version_rules/file.rs"]
mod version_rules;

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use bdf::Bdf;
use cpulist::CpuList;
use file::{Data, Instance};

/// The PCI vendor ids of Amazon and of NVIDIA.
const VENDORS: (u16, u16) = (0x1d0f, 0x10de);

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=data");
    let mut files: Vec<PathBuf> =
        fs::read_dir("data/instances")?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    files.retain(|path| path.extension().is_some_and(|ext| ext == "toml"));
    let mut instances = Vec::new();
    for path in &files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        instances.push((name, read(path)?));
    }
    let [products, platforms, assumptions] =
        ["products", "platforms", "assumptions"].map(|name| read(format!("data/{name}.toml")));
    let data = Data::read(&products?, &platforms?, &assumptions?, &instances).map_err(|e| format!("data/: {e}"))?;

    let mut out = String::new();
    write_products(&mut out, &data)?;
    write_platforms(&mut out, &data)?;
    write_assumptions(&mut out, &data)?;
    write_instances(&mut out, &data)?;
    let folder = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(folder.join("instances.rs"), out)?;
    let products: Vec<&str> = data.products.iter().map(|product| product.name.as_str()).collect();
    let rules = version_rules::read(&read("data/version_rules.toml")?, &products).map_err(|e| format!("data/: {e}"))?;
    fs::write(folder.join("version_rules.rs"), rules_source(&rules)?)?;
    let variables = variables::read(&read("data/variables.toml")?, &products).map_err(|e| format!("data/: {e}"))?;
    fs::write(folder.join("variables.rs"), variables_source(&variables)?)?;
    Ok(())
}

fn read(path: impl AsRef<Path>) -> Result<String, String> {
    fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.as_ref().display()))
}

fn write_products(out: &mut String, data: &Data) -> std::fmt::Result {
    writeln!(out, "const PRODUCTS: &[Product] = &[")?;
    for p in &data.products {
        writeln!(
            out,
            "    Product {{ name: {:?}, device_ids: &{:?}, architecture: {}, cores: {}, memory: {} }},",
            p.name, p.device_ids, p.architecture, p.cores, p.memory
        )?;
    }
    writeln!(out, "];")
}

fn write_platforms(out: &mut String, data: &Data) -> std::fmt::Result {
    writeln!(out, "const PLATFORMS: &[(&str, Platform)] = &[")?;
    for platform in &data.platforms {
        for instance_type in &platform.instance_types {
            writeln!(out, "    ({instance_type:?}, Platform::{:?}),", platform.kind)?;
        }
    }
    writeln!(out, "];")
}

fn write_assumptions(out: &mut String, data: &Data) -> std::fmt::Result {
    writeln!(out, "const ASSUMPTIONS: &[Assumption] = &[")?;
    for c in &data.assumptions {
        let users: Vec<&str> = data.users(&c.id).collect();
        writeln!(
            out,
            "    Assumption {{ id: {:?}, statement: {:?}, source: {:?}, settled_by: {:?}, instance_types: &{users:?}, by_hand: {}, \
             check: {} }},",
            c.id,
            c.statement,
            c.source,
            c.settled_by,
            c.by_hand,
            option(c.check.map(|check| format!("Check::{check:?}")))
        )?;
    }
    writeln!(out, "];")
}

fn rules_source(rules: &[version_rules::Rule]) -> Result<String, std::fmt::Error> {
    let range = |range_of: &version_rules::Range| range(range_of.from.as_ref(), range_of.below.as_ref());
    let mut out = "const RULES: &[Rule] = &[\n".to_owned();
    for r in rules {
        writeln!(
            out,
            "    Rule {{ id: {:?}, means: {:?}, action: {:?}, source: {:?}, neuron_driver: {}, runtime: {}, kernel: {}, products: &{:?} }},",
            r.id,
            r.means,
            r.action,
            r.source,
            range(&r.neuron_driver),
            range(&r.runtime),
            range(&r.kernel),
            r.products
        )?;
    }
    writeln!(out, "];")?;
    Ok(out)
}

fn variables_source(variables: &[variables::Variable]) -> Result<String, std::fmt::Error> {
    let mut out = "pub(crate) const VARIABLES: &[Variable] = &[\n".to_owned();
    for v in variables {
        let value = match (&v.value, v.is) {
            (_, Some(selection)) => format!("Value::Selection(Selection::{selection:?})"),
            (text, None) => format!("Value::Text({:?})", text.as_deref().unwrap_or_default()),
        };
        writeln!(
            out,
            "    Variable {{ name: {:?}, value: {value}, is_default: {}, accelerators: {}, efa: {}, products: &{:?}, kernel: {}, \
             read_by: {:?}, versions: {}, why: {:?}, source: {:?} }},",
            v.name,
            v.value.is_some() && v.means.is_none(),
            option(v.accelerators.map(|accelerators| format!("Accelerators::{accelerators:?}"))),
            v.efa,
            v.products,
            range(v.kernel.from.as_ref(), v.kernel.below.as_ref()),
            v.read_by,
            range(v.from.as_ref(), v.below.as_ref()),
            v.why,
            v.source
        )?;
    }
    writeln!(out, "];")?;
    Ok(out)
}

fn range(from: Option<&String>, below: Option<&String>) -> String {
    format!("Range {{ from: {from:?}, below: {below:?} }}")
}

fn write_instances(out: &mut String, data: &Data) -> std::fmt::Result {
    writeln!(out, "const TABLES: &[InstanceTable] = &[")?;
    for i in data.instances.values() {
        writeln!(out, "    InstanceTable {{")?;
        writeln!(out, "        instance_type: {:?},", i.instance_type)?;
        writeln!(out, "        neuron_product: {:?},", i.neuron_product)?;
        writeln!(out, "        sources: &[")?;
        for (fact, source) in &i.sources {
            writeln!(
                out,
                "            Source {{ fact: {fact:?}, grade: Grade::{:?}, text: {:?}, assumptions: &{:?} }},",
                source.grade, source.text, source.assumptions
            )?;
        }
        writeln!(out, "        ],\n        numa: &[")?;
        for n in &i.numa {
            writeln!(out, "            NumaRow {{ node: {}, cpus: \"{}\" }},", n.node, n.cpus)?;
        }
        writeln!(out, "        ],\n        neuron: &[")?;
        for d in &i.neuron {
            let links = d.links.as_ref().map(|links| list(links.iter().map(|link| format!("HostDevice({link})"))));
            writeln!(
                out,
                "            NeuronRow {{ index: HostDevice({}), address: {}, numa: {:?}, bridges: &{}, links: {}, efa: {} }},",
                d.index,
                address(d.address),
                d.numa,
                addresses(&d.bridges),
                option(links.map(|links| format!("&{links} as &[HostDevice]"))),
                option(d.efa.map(address))
            )?;
        }
        write_functions(out, i)?;
        writeln!(out, "    }},")?;
    }
    writeln!(out, "];")
}

/// Writes the rows that have a PCI id. All EFA interfaces of an instance have the same PCI id. All GPUs of an instance
/// have the same PCI id.
fn write_functions(out: &mut String, i: &Instance) -> std::fmt::Result {
    let known = |rows: &[file::Function], vendor, device: Option<u16>| -> Vec<String> {
        let row = |f: &file::Function| row(f.address, (vendor, device.unwrap_or_default()), f.numa, &f.bridges);
        rows.iter().map(row).collect()
    };
    let efa = known(&i.efa, VENDORS.0, i.efa_device_id);
    let gpu = known(&i.gpu, VENDORS.1, i.gpu_device_id);
    let foreign = i.foreign.iter().map(|f| row(f.address, (f.vendor, f.device), f.numa, &f.bridges)).collect();
    writeln!(out, "        ],")?;
    for (name, rows) in [("efa", efa), ("gpu", gpu), ("foreign", foreign)] {
        writeln!(out, "        {name}: &[{}],", rows.join(", "))?;
    }
    Ok(())
}

fn row(at: Bdf, (vendor, device): (u16, u16), numa: Option<u32>, bridges: &[Bdf]) -> String {
    let id = format!("PciId {{ vendor: {vendor:#06x}, device: {device:#06x} }}");
    format!("FunctionRow {{ address: {}, id: {id}, numa: {numa:?}, bridges: &{} }}", address(at), addresses(bridges))
}

fn address(a: Bdf) -> String {
    format!("Bdf::new({:#x}, {:#04x}, {:#04x}, {})", a.domain(), a.bus(), a.device(), a.function())
}

fn addresses(list_of: &[Bdf]) -> String {
    list(list_of.iter().map(|a| address(*a)))
}

fn option(value: Option<String>) -> String {
    value.map_or_else(|| "None".to_owned(), |value| format!("Some({value})"))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}
