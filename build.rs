//! Turns `data/products.toml` and `data/instances/*.toml` into the constants of `src/instances.rs`, and refuses a file
//! that cannot be true of any host.

#[path = "src/pci/bdf.rs"]
mod bdf;
#[path = "src/numa/cpulist.rs"]
mod cpulist;
#[path = "src/instances/file.rs"]
mod file;

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

use bdf::Bdf;
use cpulist::CpuList;
use file::{Instance, Products};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=data");
    let products = read(Path::new("data/products.toml"), Products::parse)?;
    let names: BTreeSet<&str> = products.product.iter().map(|p| p.name.as_str()).collect();

    let mut files: Vec<PathBuf> =
        fs::read_dir("data/instances")?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    files.retain(|path| path.extension().is_some_and(|ext| ext == "toml"));
    files.sort();
    let mut instances = Vec::new();
    for path in &files {
        let instance = read(path, |text| Instance::parse(text, &names))?;
        if path.file_stem().is_none_or(|stem| stem != instance.instance_type.as_str()) {
            return Err(format!("{}: its instance_type is {:?}", path.display(), instance.instance_type).into());
        }
        instances.push(instance);
    }

    let mut out = String::new();
    write_products(&mut out, &products)?;
    write_instances(&mut out, &instances)?;
    fs::write(PathBuf::from(env::var("OUT_DIR")?).join("instances.rs"), out)?;
    Ok(())
}

fn read<T>(path: &Path, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    parse(&text).map_err(|e| format!("{}: {e}", path.display()))
}

fn write_products(out: &mut String, products: &Products) -> std::fmt::Result {
    writeln!(out, "const PRODUCTS: &[Product] = &[")?;
    for p in &products.product {
        writeln!(
            out,
            "    Product {{ name: {:?}, device_ids: &{:?}, cores: {}, memory: {} }},",
            p.name, p.device_ids, p.cores, p.memory
        )?;
    }
    writeln!(out, "];")
}

fn write_instances(out: &mut String, instances: &[Instance]) -> std::fmt::Result {
    writeln!(out, "const TABLES: &[InstanceTable] = &[")?;
    for i in instances {
        writeln!(out, "    InstanceTable {{")?;
        writeln!(out, "        instance_type: {:?},", i.instance_type)?;
        writeln!(out, "        neuron_product: {:?},", i.neuron_product)?;
        writeln!(out, "        efa_device_id: {:#06x},", i.efa_device_id)?;
        writeln!(out, "        sources: &[")?;
        for (fact, source) in &i.sources {
            let mut grade = source.grade.clone();
            grade[..1].make_ascii_uppercase();
            writeln!(out, "            Source {{ fact: {fact:?}, grade: Grade::{grade}, text: {:?} }},", source.text)?;
        }
        writeln!(out, "        ],\n        numa: &[")?;
        for n in &i.numa {
            writeln!(out, "            NumaRow {{ node: {}, cpus: \"{}\" }},", n.node, n.cpus)?;
        }
        writeln!(out, "        ],\n        neuron: &[")?;
        for d in &i.neuron {
            writeln!(
                out,
                "            NeuronRow {{ index: HostDevice({}), address: {}, numa: {}, bridges: &{}, links: &{}, efa: {} }},",
                d.index,
                address(d.address),
                d.numa,
                addresses(&d.bridges),
                list(d.links.iter().map(|link| format!("HostDevice({link})"))),
                address(d.efa)
            )?;
        }
        writeln!(out, "        ],\n        efa: &[")?;
        for e in &i.efa {
            writeln!(
                out,
                "            EfaRow {{ address: {}, numa: {}, bridges: &{} }},",
                address(e.address),
                e.numa,
                addresses(&e.bridges)
            )?;
        }
        writeln!(out, "        ],\n    }},")?;
    }
    writeln!(out, "];")
}

fn address(a: Bdf) -> String {
    format!("Bdf::new({:#x}, {:#04x}, {:#04x}, {})", a.domain(), a.bus(), a.device(), a.function())
}

fn addresses(list_of: &[Bdf]) -> String {
    list(list_of.iter().map(|a| address(*a)))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}
