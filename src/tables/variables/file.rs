//! Reads `data/variables.toml` and refuses invalid entries. `build.rs` and tests use this file.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variables {
    variable: Vec<Variable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
    pub(crate) is: Option<Selection>,
    pub(crate) means: Option<String>,
    pub(crate) accelerators: Option<Accelerators>,
    #[serde(default)]
    pub(crate) efa: bool,
    #[serde(default)]
    pub(crate) products: Vec<String>,
    #[serde(default)]
    pub(crate) kernel: Range,
    pub(crate) read_by: String,
    pub(crate) from: Option<String>,
    pub(crate) below: Option<String>,
    pub(crate) why: String,
    pub(crate) source: String,
}

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Selection {
    Cores,
    Lnc,
    Gpus,
    Interfaces,
}

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Accelerators {
    Neuron,
    Gpu,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Range {
    pub(crate) from: Option<String>,
    pub(crate) below: Option<String>,
}

/// Returns the variables of the file. `products` are the names of all Neuron products.
pub(crate) fn read(text: &str, products: &[&str]) -> Result<Vec<Variable>, String> {
    let Variables { variable: variables } = toml::from_str(text).map_err(|e| format!("variables.toml: {e}"))?;
    for (at, variable) in variables.iter().enumerate() {
        let bad = |what: String| Err(format!("variables.toml: variable {:?} {what}", variable.name));
        let same = |other: &Variable| other.name == variable.name && overlap(other.accelerators, variable.accelerators);
        if variables[..at].iter().any(same) {
            return bad("applies twice to one host".to_owned());
        }
        if variable.value.is_some() == variable.is.is_some() {
            return bad("needs either value or is".to_owned());
        }
        if let Some(odd) = variable.means.iter().find(|name| variables.iter().all(|other| other.name != **name)) {
            return bad(format!("defines the meaning of {odd:?}, which is not in the file"));
        }
        let kernel = &variable.kernel;
        let versions = [&variable.from, &variable.below, &kernel.from, &kernel.below];
        let is_version = |text: &str| text.contains('.') && text.split('.').all(|part| part.parse::<u32>().is_ok());
        if let Some(odd) = versions.into_iter().flatten().find(|version| !is_version(version)) {
            return bad(format!("has {odd:?}, which is not a version"));
        }
        if let Some(odd) = variable.products.iter().find(|name| !products.contains(&name.as_str())) {
            return bad(format!("names {odd:?}, which is not a product"));
        }
    }
    Ok(variables)
}

/// Returns true if two entries for these accelerators can apply to the same host.
fn overlap(one: Option<Accelerators>, other: Option<Accelerators>) -> bool {
    one.is_none() || other.is_none() || one == other
}
