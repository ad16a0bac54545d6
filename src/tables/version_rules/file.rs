//! The form of `data/compatibility.toml`, and what is refused in it. Used by `build.rs` and by tests.

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

/// The rules of the file; `products` are the names of those that there are.
pub(crate) fn read(text: &str, products: &[&str]) -> Result<Vec<Rule>, String> {
    let Rules { rule: rules } = toml::from_str(text).map_err(|e| format!("compatibility.toml: {e}"))?;
    for (at, rule) in rules.iter().enumerate() {
        let bad = |what: String| Err(format!("compatibility.toml: rule {:?} {what}", rule.id));
        if rules[..at].iter().any(|other| other.id == rule.id) {
            return bad("is there twice".to_owned());
        }
        let ranges = [&rule.neuron_driver, &rule.runtime, &rule.kernel];
        let versions: Vec<&String> = ranges.iter().flat_map(|range| range.from.iter().chain(&range.below)).collect();
        if versions.is_empty() {
            return bad("is about no version".to_owned());
        }
        if let Some(odd) = versions.iter().find(|version| version.split('.').any(|part| part.parse::<u32>().is_err())) {
            return bad(format!("has {odd:?}, which is no version"));
        }
        if let Some(odd) = rule.products.iter().find(|name| !products.contains(&name.as_str())) {
            return bad(format!("is about {odd:?}, which is no product"));
        }
    }
    Ok(rules)
}
