//! `nearfab verify`: its text, its JSON, and the file to send.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::fs;
use std::path::Path;

use nearfab::instances::{InstanceTable, assumptions};
use nearfab::{Host, verify};
use serde_json::Value;
use support::{error, stdout};
use tempfile::TempDir;
use tree::tree_of;

#[expect(dead_code, reason = "these tests compare no output with files")]
mod support;
#[path = "../../tests/support/tree.rs"]
mod tree;

const SCHEMA: &str = include_str!("../../docs/reference/schema/verify.json");

/// Returns the tree of a trn2e.48xlarge with one function on another NUMA node than nearfab assumes.
fn tree() -> TempDir {
    let dir = tree_of(InstanceTable::find("trn2e.48xlarge").unwrap(), &[]);
    for (name, value) in [("numa_node", "1"), ("local_cpulist", "48-95,144-191")] {
        fs::write(dir.path().join("sys/bus/pci/devices/0000:58:00.0").join(name), value).unwrap();
    }
    dir
}

fn verify_tree(tree: &Path, more: &[&str]) -> String {
    stdout(&[&["verify", "--root", tree.to_str().unwrap()], more].concat())
}

/// The exit status is 0: a refuted assumption is no failure of the machine.
#[test]
fn refuted_assumption_stands_first_with_what_was_expected_and_found() {
    let tree = tree();
    let text = verify_tree(tree.path(), &[]);
    let lines: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("VERDICT")).collect();
    let at = "/sys/bus/pci/devices/0000:58:00.0/numa_node: expected 0, found 1";
    assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["refuted", "trn2e-like-trn2", "1", "differs"]);
    assert_eq!(lines[2].trim(), at);
    assert!(text.contains(&format!("1 confirmed, 1 refuted, {} untestable.", assumptions().len() - 2)), "{text}");
    assert!(text.contains("\nFacts of the table trn2e.48xlarge:\n\nFACT "), "{text}");
    assert_eq!(text.matches(at).count(), 1, "not repeated with the facts");

    let wide = verify_tree(tree.path(), &["-o", "wide"]);
    assert!(
        assumptions()
            .iter()
            .all(|assumption| wide.contains(assumption.statement) && wide.contains(assumption.settled_by)),
        "{wide}"
    );
}

#[test]
fn facts_without_assumptions_name_what_differs_too() {
    let tree = tree();
    let links = "sys/class/neuron_device/neuron13/connected_devices";
    fs::write(tree.path().join(links), "12, 1, 9, 15\n").unwrap();
    let text = verify_tree(tree.path(), &[]);
    let at =
        "connected_devices: expected neuron1, neuron9, neuron12, neuron14, found neuron1, neuron9, neuron12, neuron15";
    assert!(text.contains(at), "{text}");
}

#[test]
fn table_is_not_checked_against_itself() {
    let text = stdout(&["verify", "--instance", "trn2.48xlarge"]);
    assert!(text.contains(&format!("0 confirmed, 0 refuted, {} untestable.", assumptions().len())), "{text}");
    assert!(
        text.contains("the host was made from the table that the assumption is about") && !text.contains("FACT"),
        "{text}"
    );
}

#[test]
fn report_is_a_record_with_the_verdicts() {
    let tree = tree();
    let file = tree.path().join("report.json");
    let text = verify_tree(tree.path(), &["--report", file.to_str().unwrap()]);
    assert!(text.contains(&format!("Wrote the host and these verdicts to {}.", file.display())), "{text}");

    let tree_host = Host::from_root(tree.path()).unwrap();
    let host = Host::from_file(&file).unwrap();
    assert_eq!((host.instance_type(), host.neuron_devices().len()), (tree_host.instance_type(), 16));
    assert_eq!(verify(&host, None).assumptions, verify(&tree_host, None).assumptions);
    let report: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let printed = stdout(&["verify", "--host", file.to_str().unwrap(), "-o", "json"]);
    assert_eq!(report["verification"], serde_json::from_str::<Value>(&printed).unwrap());

    let refused = ["verify", "--instance", "trn2.48xlarge", "--report", "/nowhere/report.json"];
    let message = error(1, &refused);
    assert!(message.contains("/nowhere/report.json: No such file"), "{message}");
}

/// Returns the errors of a value by a schema.
fn errors(schema: &Value, value: &Value) -> Vec<String> {
    let schema = jsonschema::draft202012::new(schema).unwrap();
    schema.iter_errors(value).map(|error| error.to_string()).collect()
}

/// Returns the schema that also refuses members that it does not describe.
fn strict(mut schema: Value) -> Value {
    schema["unevaluatedProperties"] = false.into();
    let objects = ["origin", "assumption", "reason", "fact"];
    objects.iter().for_each(|name| schema["$defs"][name]["unevaluatedProperties"] = false.into());
    let lists = ["differences", "gaps"];
    lists.iter().for_each(|name| schema["$defs"][name]["items"]["unevaluatedProperties"] = false.into());
    schema
}

#[test]
fn json_is_valid_and_has_no_other_members() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let tree = tree();
    let empty = tempfile::tempdir().unwrap();
    let json = |arguments: &[&str]| -> Value {
        serde_json::from_str(&stdout(&[&["verify", "-o", "json"], arguments].concat())).unwrap()
    };
    let answers = [
        json(&["--root", tree.path().to_str().unwrap()]),
        json(&["--root", empty.path().to_str().unwrap()]),
        json(&["--instance", "inf1.24xlarge"]),
        json(&[]),
    ];
    let strict = strict(schema.clone());
    for answer in &answers {
        assert_eq!(errors(&strict, answer), [""; 0]);
    }

    // The schema refuses each of these changes.
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut answer = answers[0].clone();
        change(&mut answer);
        answer
    };
    let wrong = [
        changed(&|answer| answer["format"] = 2.into()),
        changed(&|answer| answer["assumptions"][0]["verdict"] = "likely".into()),
        changed(&|answer| answer["facts"][0]["differences"] = Value::Null),
    ];
    assert!(wrong.iter().all(|answer| !errors(&schema, answer).is_empty()));
    let newer = changed(&|answer| answer["facts"][0]["more"] = 1.into());
    assert_eq!(errors(&schema, &newer), [""; 0], "a newer form may have more members");
    assert!(!errors(&strict, &newer).is_empty());
}
