//! Types, bounds and signatures as text.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Names of the standard library that every Rust program knows.
const PRELUDE: [&str; 12] = [
    "std::boxed::Box",
    "std::clone::Clone",
    "std::cmp::Eq",
    "std::cmp::Ord",
    "std::cmp::PartialEq",
    "std::cmp::PartialOrd",
    "std::marker::Copy",
    "std::marker::Sized",
    "std::option::Option",
    "std::result::Result",
    "std::string::String",
    "std::vec::Vec",
];

/// The names of a document's types.
pub(super) struct Names<'a> {
    document: &'a Value,
    places: BTreeMap<u64, String>,
}

impl<'a> Names<'a> {
    /// Takes the public paths of the crate's own items.
    pub(super) fn new(document: &'a Value, places: &BTreeMap<u64, String>) -> Self {
        Self { document, places: places.clone() }
    }

    /// Returns a type as text.
    ///
    /// # Errors
    /// If the type is of a kind that the renderer does not know.
    pub(super) fn of(&self, value: &Value) -> Result<String> {
        let (kind, inner) = only(value).with_context(|| format!("a type: {value}"))?;
        Ok(match kind {
            "resolved_path" => self.path(inner)?,
            "generic" | "primitive" => inner.as_str().unwrap_or_default().to_owned(),
            "tuple" => format!("({})", self.all(inner)?),
            "slice" => format!("[{}]", self.of(inner)?),
            "array" => format!("[{}; {}]", self.of(&inner["type"])?, inner["len"].as_str().unwrap_or("_")),
            "borrowed_ref" => {
                let lifetime = inner["lifetime"].as_str().map(|name| format!("{name} ")).unwrap_or_default();
                let mutable = if inner["is_mutable"] == true { "mut " } else { "" };
                format!("&{lifetime}{mutable}{}", self.of(&inner["type"])?)
            }
            "raw_pointer" => {
                let mutable = if inner["is_mutable"] == true { "mut" } else { "const" };
                format!("*{mutable} {}", self.of(&inner["type"])?)
            }
            "impl_trait" => self.bounds("impl ", inner)?,
            "dyn_trait" => {
                let traits = list(&inner["traits"]).iter().map(|bound| self.path(&bound["trait"]));
                let mut traits: Vec<String> = traits.collect::<Result<_>>()?;
                traits.extend(inner["lifetime"].as_str().map(str::to_owned));
                format!("dyn {}", traits.join(" + "))
            }
            "qualified_path" => {
                let name = inner["name"].as_str().unwrap_or_default();
                let target = self.of(&inner["self_type"])?;
                match &inner["trait"] {
                    Value::Null => format!("{target}::{name}"),
                    named => format!("<{target} as {}>::{name}", self.path(named)?),
                }
            }
            "function_pointer" => {
                let header = &inner["header"];
                let unsafe_ = if header["is_unsafe"] == true { "unsafe " } else { "" };
                let abi = if header["abi"] == "Rust" { "" } else { "extern " };
                format!("{unsafe_}{abi}fn{}", self.signature(&inner["sig"])?)
            }
            "infer" => "_".to_owned(),
            other => bail!("types of the kind {other} are not known to this renderer"),
        })
    }

    /// Returns the path of a type or a trait, with its arguments.
    ///
    /// # Errors
    /// If an argument is of a kind that the renderer does not know.
    pub(super) fn path(&self, value: &Value) -> Result<String> {
        Ok(self.name(value) + &self.arguments(&value["args"])?)
    }

    fn name(&self, value: &Value) -> String {
        let id = value["id"].as_u64().unwrap_or_default();
        if let Some(place) = self.places.get(&id) {
            return place.clone();
        }
        let path = list(&self.document["paths"][id.to_string()]["path"]).iter().filter_map(Value::as_str);
        let mut path: Vec<&str> = path.collect();
        if path.is_empty() {
            return value["path"].as_str().unwrap_or_default().to_owned();
        }
        // Programs name an item of the standard library by its module. The crate and the private modules may change, so
        // the text leaves them out.
        if let ["core" | "alloc" | "std", module, .., name] = path[..] {
            path = vec!["std", module, name];
        }
        let path = path.join("::");
        match PRELUDE.contains(&path.as_str()) {
            true => path.rsplit("::").next().unwrap_or_default().to_owned(),
            false => path,
        }
    }

    fn arguments(&self, value: &Value) -> Result<String> {
        if value.is_null() {
            return Ok(String::new());
        }
        if let Some(inner) = value.get("parenthesized") {
            let inputs = self.all(&inner["inputs"])?;
            return Ok(format!("({inputs}){}", self.output(&inner["output"])?));
        }
        let inner = value.get("angle_bracketed").with_context(|| format!("arguments of a type: {value}"))?;
        let argument = |argument: &Value| match only(argument) {
            Some(("lifetime", name)) => Ok(name.as_str().unwrap_or_default().to_owned()),
            Some(("type", inner)) => self.of(inner),
            Some(("const", inner)) => Ok(inner["expr"].as_str().unwrap_or_default().to_owned()),
            _ => bail!("an argument of a type: {argument}"),
        };
        let mut arguments: Vec<String> = list(&inner["args"]).iter().map(argument).collect::<Result<_>>()?;
        for constraint in list(&inner["constraints"]) {
            let name = constraint["name"].as_str().unwrap_or_default();
            arguments.push(match only(&constraint["binding"]) {
                Some(("equality", term)) => format!("{name} = {}", self.of(&term["type"])?),
                Some(("constraint", bounds)) => self.bounds(&format!("{name}: "), bounds)?,
                _ => bail!("a constraint of a type: {constraint}"),
            });
        }
        Ok(if arguments.is_empty() { String::new() } else { format!("<{}>", arguments.join(", ")) })
    }

    /// Returns the parameters of an item in angle brackets, and the `where` clause.
    ///
    /// # Errors
    /// If a parameter is of a kind that the renderer does not know.
    pub(super) fn generics(&self, value: &Value) -> Result<(String, String)> {
        let mut parameters = Vec::new();
        for parameter in list(&value["params"]) {
            let name = parameter["name"].as_str().unwrap_or_default();
            match only(&parameter["kind"]) {
                Some(("lifetime", _)) => parameters.push(name.to_owned()),
                // The type parameter that `impl Trait` as a parameter makes.
                Some(("type", inner)) if inner["is_synthetic"] == true => {}
                Some(("type", inner)) => parameters.push(
                    self.bounds(&format!("{name}: "), &inner["bounds"])
                        .map(|bounds| if bounds.is_empty() { name.to_owned() } else { bounds })?,
                ),
                Some(("const", inner)) => parameters.push(format!("const {name}: {}", self.of(&inner["type"])?)),
                _ => bail!("a parameter: {parameter}"),
            }
        }
        let parameters = if parameters.is_empty() { String::new() } else { format!("<{}>", parameters.join(", ")) };
        let mut clauses = Vec::new();
        for predicate in list(&value["where_predicates"]) {
            match only(predicate) {
                Some(("bound_predicate", inner)) => {
                    clauses.push(self.bounds(&format!("{}: ", self.of(&inner["type"])?), &inner["bounds"])?);
                }
                Some(("lifetime_predicate", inner)) => {
                    let outlives = list(&inner["outlives"]).iter().filter_map(Value::as_str).collect::<Vec<_>>();
                    clauses.push(format!("{}: {}", inner["lifetime"].as_str().unwrap_or("_"), outlives.join(" + ")));
                }
                _ => bail!("a where clause: {predicate}"),
            }
        }
        let clauses = if clauses.is_empty() { String::new() } else { format!(" where {}", clauses.join(", ")) };
        Ok((parameters, clauses))
    }

    /// Returns bounds after a text; nothing for no bounds.
    ///
    /// # Errors
    /// If a bound is of a kind that the renderer does not know.
    pub(super) fn bounds(&self, before: &str, value: &Value) -> Result<String> {
        let mut bounds = Vec::new();
        for bound in list(value) {
            match only(bound) {
                Some(("trait_bound", inner)) => {
                    let maybe = if inner["modifier"] == "maybe" { "?" } else { "" };
                    bounds.push(format!("{maybe}{}", self.path(&inner["trait"])?));
                }
                Some(("outlives", lifetime)) => bounds.push(lifetime.as_str().unwrap_or_default().to_owned()),
                // The parameters that an opaque type captures.
                Some(("use", _)) => {}
                _ => bail!("a bound: {bound}"),
            }
        }
        Ok(if bounds.is_empty() { String::new() } else { format!("{before}{}", bounds.join(" + ")) })
    }

    /// Returns the parameters and the result of a function.
    ///
    /// # Errors
    /// If a type is of a kind that the renderer does not know.
    pub(super) fn signature(&self, value: &Value) -> Result<String> {
        let parameter = |input: &Value| {
            let written = self.of(&input[1])?;
            Ok(match (input[0].as_str(), written.as_str()) {
                (Some("self"), "Self") => "self".to_owned(),
                (Some("self"), reference) if reference.starts_with('&') && reference.ends_with("Self") => {
                    reference.replace("Self", "self")
                }
                (Some(name), _) if !name.is_empty() && name != "_" => format!("{name}: {written}"),
                _ => written,
            })
        };
        let inputs: Vec<String> = list(&value["inputs"]).iter().map(parameter).collect::<Result<_>>()?;
        Ok(format!("({}){}", inputs.join(", "), self.output(&value["output"])?))
    }

    fn output(&self, value: &Value) -> Result<String> {
        if value.is_null() { Ok(String::new()) } else { Ok(format!(" -> {}", self.of(value)?)) }
    }

    fn all(&self, value: &Value) -> Result<String> {
        let types: Vec<String> = list(value).iter().map(|inner| self.of(inner)).collect::<Result<_>>()?;
        Ok(types.join(", "))
    }
}

/// Returns the one member of an object, or a text alone.
fn only(value: &Value) -> Option<(&str, &Value)> {
    match value {
        Value::String(kind) => Some((kind.as_str(), &Value::Null)),
        value => value.as_object()?.iter().next().map(|(kind, inner)| (kind.as_str(), inner)),
    }
}

/// Returns the elements of an array; none for another value.
fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
