//! The forms of the output for every instance type, for hosts with a defect and for odd hosts: JSON is valid by its schema, and a
//! recorded host shows the same as the host that was recorded.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::mem::discriminant;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use jsonschema::{Registry, Validator};
use nearfab::Host;
use nearfab::instances::tables;
use nearfab_emu::Defect;
use serde_json::Value;

use crate::hosts::{contain, folder, remove_type_name, tree, tree_with, views};
use crate::support::{Output, nearfab_in, stdout};

const BASE: &str = "https://nearfab.dev/schema/1/";

/// The schemas, by their ids.
struct Schemas(Vec<(String, Value)>);

impl Schemas {
    fn read() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/schema");
        let mut schemas = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let schema: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            let id = format!("{BASE}{}", path.file_name().unwrap().to_str().unwrap());
            assert_eq!(schema["$id"], id.as_str());
            assert!(jsonschema::meta::is_valid(&schema), "{id} is no schema");
            schemas.push((id, schema));
        }
        Self(schemas)
    }

    fn registry(&self) -> Registry<'_> {
        let add = |registry: jsonschema::RegistryBuilder<'static>, (id, schema): &(String, Value)| {
            registry.add(id.clone(), schema.clone()).unwrap()
        };
        self.0.iter().fold(Registry::new(), add).prepare().unwrap()
    }

    /// Returns the schema that a reference in the schema `base` points to, and the id of its file.
    fn find(&self, reference: &str, base: &str) -> (&Value, String) {
        let (file, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let id = if file.is_empty() { base.to_owned() } else { format!("{BASE}{}", file.trim_start_matches(BASE)) };
        let (_, schema) = self.0.iter().find(|(other, _)| *other == id).unwrap();
        (schema.pointer(pointer).unwrap(), id)
    }

    /// Fails unless every property of the value has a description in one of the schemas that apply to it.
    fn describe<'a>(&'a self, value: &Value, schema: &'a Value, base: &str, at: &str) {
        let mut parts = Vec::new();
        self.parts(schema, base, &mut parts);
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let at = format!("{at}/{name}");
                    // If names are data, one description is for all names.
                    let schema = |part: &'a Value| {
                        let any = part.get("additionalProperties").filter(|any| any.is_object());
                        part["properties"].get(name).or(any)
                    };
                    let of: Vec<_> = parts.iter().filter_map(|(part, base)| Some((schema(part)?, base))).collect();
                    let described =
                        |schema: &Value| schema["description"].as_str().is_some_and(|text| !text.is_empty());
                    assert!(of.iter().any(|(schema, _)| described(schema)), "{at} has no description in the schemas");
                    of.iter().for_each(|(schema, base)| self.describe_each(value, schema, base, &at));
                }
            }
            Value::Array(items) => {
                for item in items {
                    let of = parts.iter().filter(|(part, _)| part.get("items").is_some());
                    of.for_each(|(part, base)| self.describe_each(item, &part["items"], base, &format!("{at}/*")));
                }
            }
            _ => {}
        }
    }

    fn describe_each(&self, value: &Value, schema: &Value, base: &str, at: &str) {
        if value.is_object() || value.is_array() {
            self.describe(value, schema, base, at);
        }
    }

    /// Collects the schema and all schemas that it refers to or combines, with the id of the file of each.
    fn parts<'a>(&'a self, schema: &'a Value, base: &str, parts: &mut Vec<(&'a Value, String)>) {
        parts.push((schema, base.to_owned()));
        if let Some(reference) = schema["$ref"].as_str() {
            let (target, base) = self.find(reference, base);
            self.parts(target, &base, parts);
        }
        for of in ["allOf", "anyOf", "oneOf"] {
            for part in schema[of].as_array().into_iter().flatten() {
                self.parts(part, base, parts);
            }
        }
    }
}

/// The schemas that [`Judge`] compiles: one of each file, and one part.
const PROBE: &str = "host.json#/$defs/probe";

/// Validates outputs. Each schema is compiled once: compiling takes a hundred times as long as a validation.
struct Judge<'a> {
    schemas: &'a Schemas,
    validators: BTreeMap<String, (Value, Validator)>,
}

impl<'a> Judge<'a> {
    fn new(schemas: &'a Schemas, registry: &Registry<'_>) -> Self {
        let files = schemas.0.iter().map(|(id, _)| id.trim_start_matches(BASE)).chain([PROBE]);
        let validators = files.map(|file| {
            let reference = serde_json::json!({ "$ref": format!("{BASE}{file}") });
            let validator = jsonschema::options().with_registry(registry).build(&reference).unwrap();
            (file.to_owned(), (reference, validator))
        });
        Self { schemas, validators: validators.collect() }
    }

    fn judge(&self, file: &str, text: &str, what: &str) {
        let (reference, validator) = &self.validators[file];
        let value: Value = serde_json::from_str(text).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{what} is not valid by {file}: {errors:#?}");
        self.schemas.describe(&value, reference, BASE, what);
    }

    /// Validates the JSON of a view.
    fn view(&self, view: &[String], text: &str, what: &str) {
        let file = match view.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["list", ..] => "host.json",
            ["topo", "tree", ..] => "topo-tree.json",
            ["topo", "matrix", ..] => "topo-matrix.json",
            ["topo", "links", ..] => "topo-links.json",
            ["rails", ..] => "rails.json",
            ["doctor" | "verify"] => return, // The tests of doctor and verify validate them.
            _ => "near.json",
        };
        self.judge(file, text, what);
    }
}

fn with_judge(test: impl FnOnce(&Judge<'_>)) {
    let schemas = Schemas::read();
    let registry = schemas.registry();
    test(&Judge::new(&schemas, &registry));
}

#[test]
fn json_of_every_instance_type_is_valid() {
    with_judge(|judge| {
        judge.judge("instances.json", &stdout(&["instances", "-o", "json"]), "instances");
        let mut session = nearfab_cli::Session::default();
        for table in tables() {
            let name = table.instance_type;
            judge.judge("instance.json", &stdout(&["instances", name, "-o", "json"]), name);
            for view in views(&Host::from_instance(name).unwrap()) {
                let mut arguments: Vec<&str> = view.iter().map(String::as_str).collect();
                arguments.extend(["-o", "json", "--instance", name]);
                // The doctor can examine nothing of a table: its answer has the outcome of each check, and its status is 1.
                let shown = nearfab_in(&mut session, &arguments);
                assert_eq!(shown.status, u8::from(view[0] == "doctor"), "{arguments:?}: {}", shown.stderr);
                judge.view(&view, &shown.stdout, &arguments.join(" "));
            }
        }
    });
}

#[test]
fn json_of_runtimes_is_valid() {
    with_judge(|judge| judge.judge("runtimes.json", &stdout(&["runtimes", "-o", "json"]), "runtimes"));
}

/// The plans have one rank, and one rank for each core or GPU.
#[test]
fn json_of_plans_is_valid() {
    with_judge(|judge| {
        for table in tables() {
            let host = Host::from_instance(table.instance_type).unwrap();
            let units = host.numbering().rows.len().max(host.gpus().len());
            for ranks in if units == 0 { vec![] } else { vec![1, units] } {
                let ranks = ranks.to_string();
                let arguments = ["plan", "-n", &ranks, "-o", "json", "--instance", table.instance_type];
                judge.judge("plan.json", &stdout(&arguments), &arguments.join(" "));
                let export = [&arguments[..], &["--export", "0"]].concat();
                judge.judge("plan-export.json", &stdout(&export), &export.join(" "));
                let run = [&["run", "--dry-run"], &arguments[1..], &["--", "train", "it's"]].concat();
                judge.judge("run.json", &stdout(&run), &run.join(" "));
            }
        }
    });
}

#[test]
fn json_of_the_example_probe_is_valid() {
    with_judge(|judge| {
        // A test of the library checks that it writes this file.
        judge.judge(PROBE, include_str!("../../../src/types/probe/example.json"), "probe");
    });
}

/// Skipped on a machine with Neuron devices: a test must not query devices.
#[test]
fn json_of_a_host_with_a_probe_is_valid() {
    if !Host::discover().unwrap().neuron_devices().is_empty() {
        return nearfab_emu::skipped("probe", "this machine has Neuron devices");
    }
    let listed = stdout(&["list", "--probe=even-on-pods", "--processes", "-o", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap()["probe"]["devices"], serde_json::json!([]));
    with_judge(|judge| judge.judge("host.json", &listed, "this machine"));
}

#[test]
fn property_without_a_description_fails() {
    let mut host: Value = serde_json::from_str(&Host::from_instance("trn2.48xlarge").unwrap().to_json()).unwrap();
    host["efa"][3]["port"] = serde_json::json!({ "state": 4, "rate_mbps": 1, "gid": null, "colour": "red" });
    let judged = std::panic::catch_unwind(|| with_judge(|judge| judge.judge("host.json", &host.to_string(), "host")));
    let reason = *judged.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(reason, "host/efa/*/port/colour has no description in the schemas");
}

/// Fails unless every view of the tree and of its record is the same to the byte, and all JSON is valid.
fn compare_record_with_tree(judge: &Judge<'_>, dir: &Path) {
    let root = dir.join("tree");
    let file = dir.join("host.json");
    let host = Host::from_root(&root).unwrap();
    let (root, file) = (root.to_str().unwrap(), file.to_str().unwrap());
    stdout(&["record", file, "--root", root]);
    // One session reads each host once. Other tests read a host for each view.
    let mut session = nearfab_cli::Session::default();
    let is_off_bus = host.with_details().unwrap().neuron_devices().iter().any(nearfab::NeuronDevice::is_off_bus);
    for view in views(&host) {
        // A record has the details of devices. near and rails do not read the details of a tree.
        if is_off_bus && ["near", "rails"].contains(&&*view[0]) {
            continue;
        }
        for form in ["table", "wide", "json"] {
            let mut of = |source: &str, value: &str| {
                let mut arguments: Vec<&str> = view.iter().map(String::as_str).collect();
                arguments.extend([source, value, "-o", form]);
                let output = nearfab_in(&mut session, &arguments);
                // near fails on a host that has nothing to be near to, and doctor on a host of which nothing is known.
                assert!(
                    output.status == 0 || ["near", "doctor"].contains(&&*view[0]),
                    "{arguments:?}: {}",
                    output.stderr
                );
                output
            };
            let (tree, record) = (of("--root", root), of("--host", file));
            assert_eq!(tree, record, "{view:?}");
            if let Output { status: 0, stdout: text, .. } = tree
                && form == "json"
            {
                judge.view(&view, &text, &format!("{view:?}"));
            }
        }
    }
}

#[test]
fn recorded_hosts_of_every_instance_type_show_what_their_trees_show() {
    with_judge(|judge| {
        for table in tables() {
            let dir = folder();
            tree(table.instance_type, &dir.path().join("tree"));
            compare_record_with_tree(judge, dir.path());
        }
    });
}

#[test]
fn recorded_hosts_with_each_defect_show_what_their_trees_show() {
    // Every third host, and the first host with each kind of defect. `HOSTS=all` takes every host.
    let every = std::env::var_os("HOSTS").is_some_and(|value| value == "all");
    let mut kinds = HashSet::new();
    let hosts = tables().iter().flat_map(|table| Defect::all(table).into_iter().map(move |defect| (table, defect)));
    let hosts: Vec<_> = (0..)
        .zip(hosts)
        .filter(|(number, (_, defect))| kinds.insert(discriminant(defect)) || every || number % 3 == 0)
        .map(|(_, host)| host)
        .collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                with_judge(|judge| {
                    while let Some((table, defect)) = hosts.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let dir = folder();
                        tree_with(table, std::slice::from_ref(defect), &dir.path().join("tree"));
                        compare_record_with_tree(judge, dir.path());
                    }
                });
            });
        }
    });
}

#[test]
fn recorded_odd_hosts_show_what_their_trees_show() {
    with_judge(|judge| {
        let empty = folder();
        fs::create_dir(empty.path().join("tree")).unwrap();
        compare_record_with_tree(judge, empty.path());

        let container = folder();
        tree("trn2.48xlarge", &container.path().join("tree"));
        contain(&container.path().join("tree"), &[5, 9], 1);
        // A file that cannot be parsed: the message goes to standard error, for the record too.
        fs::write(container.path().join("tree/sys/devices/system/node/node0/cpulist"), "all\n").unwrap();
        compare_record_with_tree(judge, container.path());

        let unknown = folder();
        tree("trn2.48xlarge", &unknown.path().join("tree"));
        remove_type_name(&unknown.path().join("tree"));
        compare_record_with_tree(judge, unknown.path());
    });
}
