//! Every selector that the classes, the claims and the documentation have is evaluated on every device of its driver, of
//! all types and modes in one cluster: a selector that fails on one device stops its pod on all nodes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::resource::v1::ResourceSlice;
use serde_json::Value;

use crate::with_each_allocator;

#[test]
fn no_selector_fails_on_a_device() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let golden = files(&root.join("tests/golden"));
    let slices: Vec<ResourceSlice> = golden
        .iter()
        .enumerate()
        .flat_map(|(number, path)| {
            let slices: Vec<ResourceSlice> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
            // Each file is a separate node.
            slices.into_iter().map(move |mut slice| {
                slice.metadata.name = slice.metadata.name.map(|name| format!("{name}-{number}"));
                slice.spec.pool.name = format!("{}-{number}", slice.spec.pool.name);
                slice.spec.node_name = Some(format!("node{number}"));
                slice
            })
        })
        .collect();
    // AWS's selectors are for AWS's instance types, and fail on others in AWS's drivers too.
    let is_own = |path: &PathBuf| !path.file_name().unwrap().to_str().unwrap().starts_with("aws-");
    let yaml = [root.join("tests/claims"), root.join("../deploy")].map(|folder| files(&folder)).concat();
    let mut expressions = BTreeSet::new();
    for path in yaml.iter().filter(|path| is_own(path)) {
        let documents: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(path).unwrap()).unwrap();
        documents.iter().for_each(|document| collect(document, &mut expressions));
    }
    for page in ["kubernetes.md", "kubernetes-devices.md"] {
        let text = fs::read_to_string(root.join("../docs").join(page)).unwrap();
        // Selectors are code in the text, and in the blocks of objects.
        let blocks = text.split("```yaml\n").skip(1).map(|block| block.split("```").next().unwrap());
        for documents in blocks.map(|block| serde_saphyr::from_multiple::<Value>(block).unwrap()) {
            documents.iter().for_each(|document| collect(document, &mut expressions));
        }
        let code = text.split('`').filter(|code| code.starts_with("device."));
        expressions.extend(code.map(str::to_owned));
    }
    assert!(expressions.len() >= 15, "{expressions:?}");
    with_each_allocator(|version, judge| {
        judge.reset();
        judge.slices(&slices);
        for expression in &expressions {
            for driver in ["nearfab.dev", "neuron.aws.com", "dra.net"] {
                // A class selects one driver first, and the further selectors see its devices only.
                if !expression.contains(driver) {
                    continue;
                }
                let evaluated = judge.evaluate(expression, driver);
                assert!(evaluated.evaluated > 0, "{expression}");
                assert_eq!(evaluated.errors.first(), None, "{expression}, Kubernetes {version}");
            }
        }
    });
}

/// Collects the selectors of an object.
fn collect(value: &Value, expressions: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expression" => drop(expressions.insert(text.clone())),
                    _ => collect(value, expressions),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, expressions)),
        _ => {}
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml" || extension == "json"));
    files.sort();
    files
}
