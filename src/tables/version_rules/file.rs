//! Reads `data/version_rules.toml` and refuses invalid entries. `build.rs` and tests use this file.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    rule: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) neuron_driver: Range,
    #[serde(default)]
    pub(crate) runtime: Range,
    #[serde(default)]
    pub(crate) kernel: Range,
    #[serde(default)]
    pub(crate) products: Vec<String>,
    pub(crate) means: String,
    pub(crate) action: String,
    pub(crate) source: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Range {
    pub(crate) from: Option<String>,
    pub(crate) below: Option<String>,
}

/// Returns the rules of the file. `products` are the names of all Neuron products.
pub(crate) fn read(text: &str, products: &[&str]) -> Result<Vec<Rule>, String> {
    let Rules { rule: rules } = toml::from_str(text).map_err(|e| format!("version_rules.toml: {e}"))?;
    for (at, rule) in rules.iter().enumerate() {
        let bad = |what: String| Err(format!("version_rules.toml: rule {:?} {what}", rule.id));
        if rules[..at].iter().any(|other| other.id == rule.id) {
            return bad("is defined twice".to_owned());
        }
        let ranges = [&rule.neuron_driver, &rule.runtime, &rule.kernel];
        let versions: Vec<&String> = ranges.iter().flat_map(|range| range.from.iter().chain(&range.below)).collect();
        if versions.is_empty() {
            return bad("names no version".to_owned());
        }
        // As `Version` parses them: a bound that is not a version would bound nothing.
        let is_version = |text: &str| text.contains('.') && text.split('.').all(|part| part.parse::<u32>().is_ok());
        if let Some(odd) = versions.iter().find(|version| !is_version(version)) {
            return bad(format!("has {odd:?}, which is not a version"));
        }
        if let Some(odd) = rule.products.iter().find(|name| !products.contains(&name.as_str())) {
            return bad(format!("names {odd:?}, which is not a product"));
        }
    }
    Ok(rules)
}
