//! The public items of a crate, each at its shortest path.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::types::Names;

/// Returns a line for each public item, sorted.
///
/// # Errors
/// If the document has something that the renderer does not know.
pub(super) fn lines(document: &Value) -> Result<Vec<String>> {
    let (places, others) = places(document)?;
    let writer = Writer { document, names: Names::new(document, &places), lines: BTreeSet::new() };
    writer.write(&places, &others)
}

/// The shortest public path of each item, by the id of the item.
type Places = BTreeMap<u64, String>;

/// Finds the public items outside of types, the shallow ones first: the first path of an item is its shortest. Also
/// returns the further paths, and the names of other crates that are exported again.
fn places(document: &Value) -> Result<(Places, Vec<String>)> {
    let root = id(&document["root"])?;
    let mut places = Places::new();
    let mut others = Vec::new();
    let mut modules = VecDeque::from([root]);
    places.insert(root, text(&item(document, root)?["name"])?);
    while let Some(module) = modules.pop_front() {
        let path = places[&module].clone();
        let mut inside = Vec::new();
        children(document, module, &mut inside)?;
        for (name, target) in inside {
            let path = format!("{path}::{name}");
            let Some(item) = find(document, target) else {
                others.push(format!("pub use {path} = {}", external(document, target)?));
                continue;
            };
            if let Some(known) = places.get(&target) {
                others.push(format!("pub use {path} = {known}"));
                continue;
            }
            places.insert(target, path);
            if kind(item)?.0 == "module" {
                modules.push_back(target);
            }
        }
    }
    Ok((places, others))
}

/// Collects the names in a module and their items, with the items that the module exports again from another place.
fn children(document: &Value, module: u64, inside: &mut Vec<(String, u64)>) -> Result<()> {
    let (_, inner) = kind(item(document, module)?)?;
    let items = inner["items"].as_array().or_else(|| inner["variants"].as_array());
    for child in items.context("a module without a list of items")? {
        let child = id(child)?;
        let found = item(document, child)?;
        let (kind, inner) = kind(found)?;
        if found["visibility"] != "public" && kind != "variant" {
            continue;
        }
        match kind {
            "use" if inner["is_glob"] == true => children(document, id(&inner["id"])?, inside)?,
            // An import that is exported for the macros of another crate may have no item.
            "use" => inside.push((text(&inner["name"])?, id(&inner["id"])?)),
            "impl" => {}
            _ => inside.push((text(&found["name"])?, child)),
        }
    }
    Ok(())
}

struct Writer<'a> {
    document: &'a Value,
    names: Names<'a>,
    lines: BTreeSet<String>,
}

impl Writer<'_> {
    fn write(mut self, places: &Places, others: &[String]) -> Result<Vec<String>> {
        for (target, path) in places {
            self.item(item(self.document, *target)?, path).with_context(|| path.clone())?;
        }
        self.lines.extend(others.iter().cloned());
        Ok(self.lines.into_iter().collect())
    }

    fn item(&mut self, found: &Value, path: &str) -> Result<()> {
        let (kind, inner) = kind(found)?;
        let attributes = attributes(found)?;
        let (generics, bounds) = self.names.generics(&inner["generics"])?;
        match kind {
            "module" => self.line(format!("pub mod {path}")),
            "struct" | "union" => {
                self.line(format!("{attributes}pub {kind} {path}{generics}{}{bounds}", self.tuple(&inner["kind"])?));
                self.fields(inner.get("fields").unwrap_or(&inner["kind"]["plain"]["fields"]), path)?;
                self.impls(&inner["impls"], path)?;
            }
            "enum" => {
                self.line(format!("{attributes}pub enum {path}{generics}{bounds}"));
                for variant in list(&inner["variants"]) {
                    self.variant(item(self.document, id(variant)?)?, path)?;
                }
                self.impls(&inner["impls"], path)?;
            }
            "function" => self.function("pub ", inner, path)?,
            "trait" => {
                let bounds = self.names.bounds(": ", &inner["bounds"])? + &bounds;
                let qualifier = if inner["is_unsafe"] == true { "unsafe " } else { "" };
                self.line(format!("pub {qualifier}trait {path}{generics}{bounds}"));
                self.members(&inner["items"], path, "")?;
            }
            "type_alias" => {
                self.line(format!("pub type {path}{generics} = {}{bounds}", self.names.of(&inner["type"])?));
            }
            "constant" => self.line(format!("pub const {path}: {}", self.names.of(&inner["type"])?)),
            "static" => self.line(format!("pub static {path}: {}", self.names.of(&inner["type"])?)),
            "macro" | "proc_macro" => self.line(format!("pub macro {path}!")),
            "variant" => {} // A variant that is exported again is listed with its enum.
            other => bail!("items of the kind {other} are not known to this renderer"),
        }
        Ok(())
    }

    fn line(&mut self, line: String) {
        self.lines.insert(line);
    }

    /// The public fields of a tuple struct in parentheses; nothing for another struct.
    fn tuple(&self, kind: &Value) -> Result<String> {
        let Some(fields) = kind["tuple"].as_array() else { return Ok(String::new()) };
        let field = |field: &Value| match field.as_u64() {
            None => Ok("_".to_owned()),
            Some(field) => {
                let found = item(self.document, field)?;
                let shown = if found["visibility"] == "public" { "pub " } else { "" };
                Ok(format!("{shown}{}", self.names.of(&found["inner"]["struct_field"])?))
            }
        };
        let fields: Vec<String> = fields.iter().map(field).collect::<Result<_>>()?;
        Ok(format!("({})", fields.join(", ")))
    }

    fn fields(&mut self, fields: &Value, path: &str) -> Result<()> {
        for field in list(fields) {
            let Some(found) = find(self.document, id(field)?) else { continue };
            let name = text(&found["name"])?;
            let line = format!("pub {path}::{name}: {}", self.names.of(&found["inner"]["struct_field"])?);
            self.line(line);
        }
        Ok(())
    }

    fn variant(&mut self, found: &Value, path: &str) -> Result<()> {
        let path = format!("{path}::{}", text(&found["name"])?);
        let (_, inner) = kind(found)?;
        let value = inner["discriminant"]["value"].as_str().map(|value| format!(" = {value}")).unwrap_or_default();
        let tuple = self.tuple(&inner["kind"])?.replace("pub ", "");
        self.line(format!("{}pub {path}{tuple}{value}", attributes(found)?));
        self.fields(&inner["kind"]["struct"]["fields"], &path)
    }

    fn impls(&mut self, impls: &Value, path: &str) -> Result<()> {
        for found in list(impls) {
            let (_, inner) = kind(item(self.document, id(found)?)?)?;
            if inner["is_synthetic"] == true || !inner["blanket_impl"].is_null() {
                continue;
            }
            if inner["trait"].is_null() {
                self.members(&inner["items"], path, "pub ")?;
                continue;
            }
            let named = self.names.path(&inner["trait"])?;
            if named.ends_with("::StructuralPartialEq") {
                continue; // Written by derive(PartialEq).
            }
            let (generics, bounds) = self.names.generics(&inner["generics"])?;
            let target = self.names.of(&inner["for"])?;
            let negative = if inner["is_negative"] == true { "!" } else { "" };
            self.line(format!("impl{generics} {negative}{named} for {target}{bounds}"));
            for member in list(&inner["items"]) {
                let found = item(self.document, id(member)?)?;
                if let ("assoc_type", assigned) = kind(found)? {
                    let name = text(&found["name"])?;
                    let assigned = self.names.of(&assigned["type"])?;
                    self.line(format!("type <{target} as {named}>::{name} = {assigned}"));
                }
            }
        }
        Ok(())
    }

    /// Adds the items of a trait, or the public items of an `impl`.
    fn members(&mut self, members: &Value, path: &str, shown: &str) -> Result<()> {
        for member in list(members) {
            let Some(found) = find(self.document, id(member)?) else { continue };
            let path = format!("{path}::{}", text(&found["name"])?);
            let (kind, inner) = kind(found)?;
            match kind {
                "function" => self.function(shown, inner, &path)?,
                "assoc_const" => self.line(format!("{shown}const {path}: {}", self.names.of(&inner["type"])?)),
                "assoc_type" => {
                    let bounds = self.names.bounds(": ", &inner["bounds"])?;
                    self.line(format!("{shown}type {path}{bounds}"));
                }
                other => bail!("members of the kind {other} are not known to this renderer"),
            }
        }
        Ok(())
    }

    fn function(&mut self, shown: &str, inner: &Value, path: &str) -> Result<()> {
        let header = &inner["header"];
        let mut qualifiers = String::new();
        for (flag, word) in [("is_const", "const "), ("is_async", "async "), ("is_unsafe", "unsafe ")] {
            if header[flag] == true {
                qualifiers += word;
            }
        }
        if header["abi"] != "Rust" {
            qualifiers += "extern ";
        }
        let (generics, bounds) = self.names.generics(&inner["generics"])?;
        let signature = self.names.signature(&inner["sig"])?;
        self.line(format!("{shown}{qualifiers}fn {path}{generics}{signature}{bounds}"));
        Ok(())
    }
}

/// Returns the attributes that are part of the API.
fn attributes(found: &Value) -> Result<String> {
    let mut shown = String::new();
    for attribute in list(&found["attrs"]) {
        if attribute == "non_exhaustive" {
            shown += "#[non_exhaustive] ";
        }
    }
    Ok(shown)
}

fn kind(found: &Value) -> Result<(&str, &Value)> {
    let inner = found["inner"].as_object().and_then(|inner| inner.iter().next());
    inner.map(|(kind, inner)| (kind.as_str(), inner)).context("an item without a kind")
}

fn find(document: &Value, id: u64) -> Option<&Value> {
    document["index"].get(id.to_string())
}

fn item(document: &Value, id: u64) -> Result<&Value> {
    find(document, id).with_context(|| format!("no item {id}"))
}

/// Returns the path of an item of another crate.
fn external(document: &Value, id: u64) -> Result<String> {
    let path = list(&document["paths"][id.to_string()]["path"]).iter().filter_map(Value::as_str);
    let path: Vec<&str> = path.collect();
    if path.is_empty() { bail!("no path of the item {id}") } else { Ok(path.join("::")) }
}

fn id(value: &Value) -> Result<u64> {
    value.as_u64().with_context(|| format!("{value} is no id of an item"))
}

fn text(value: &Value) -> Result<String> {
    Ok(value.as_str().with_context(|| format!("{value} is no name"))?.to_owned())
}

/// Returns the elements of an array; none for another value.
fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
