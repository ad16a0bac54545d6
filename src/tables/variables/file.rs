//! The form of `data/environment.toml`, and what is refused in it. Used by `build.rs` and by tests.

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

/// The variables of the file; `products` are the names of those that there are.
pub(crate) fn read(text: &str, products: &[&str]) -> Result<Vec<Variable>, String> {
    let Variables { variable: variables } = toml::from_str(text).map_err(|e| format!("environment.toml: {e}"))?;
    for (at, variable) in variables.iter().enumerate() {
        let bad = |what: String| Err(format!("environment.toml: variable {:?} {what}", variable.name));
        let same = |other: &Variable| other.name == variable.name && meet(other.accelerators, variable.accelerators);
        if variables[..at].iter().any(same) {
            return bad("is there twice for one host".to_owned());
        }
        if variable.value.is_some() == variable.is.is_some() {
            return bad("needs either a value or what it is made of".to_owned());
        }
        if let Some(odd) = variable.means.iter().find(|name| variables.iter().all(|other| other.name != **name)) {
            return bad(format!("says what {odd:?} means, which is not there"));
        }
        let kernel = &variable.kernel;
        let versions = [&variable.from, &variable.below, &kernel.from, &kernel.below];
        let is_version = |text: &str| text.contains('.') && text.split('.').all(|part| part.parse::<u32>().is_ok());
        if let Some(odd) = versions.into_iter().flatten().find(|version| !is_version(version)) {
            return bad(format!("has {odd:?}, which is no version"));
        }
        if let Some(odd) = variable.products.iter().find(|name| !products.contains(&name.as_str())) {
            return bad(format!("is about {odd:?}, which is no product"));
        }
    }
    Ok(variables)
}

/// Whether both can hold for one host.
fn meet(one: Option<Accelerators>, other: Option<Accelerators>) -> bool {
    one.is_none() || other.is_none() || one == other
}
