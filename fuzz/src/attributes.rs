//! Replaces one attribute of a small emulated tree by an input. The library must read the expected value of that attribute,
//! and must read everything else as before.

use std::path::{Path, PathBuf};

use nearfab::system::Process;
use nearfab::{Host, SystemInfo, telemetry};
use serde_json::{Value, json};

use crate::expectations::{self, Attribute, Problems, Reader};
use crate::small::{PROCESS, Replaced, Small};
use crate::system;
use crate::{OUTSIDE, check};

/// The tree, the readings before any replacement, and the attributes that can be replaced.
pub struct Attributes {
    small: Small,
    host: Host,
    record: Value,
    telemetry: Value,
    system: Value,
    attributes: Vec<(PathBuf, Attribute)>,
}

impl Attributes {
    /// Writes the tree and takes its readings.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it writes files")]
    pub fn new() -> Self {
        let small = Small::new();
        let host = Host::from_root(small.root()).expect("a tree");
        assert!(host.problems().is_empty(), "{:?}", host.problems());
        let record = value(&host.to_json());
        let telemetry = telemetry_of(&host);
        let (system, problems) = system_of(&host);
        assert!(problems.is_empty(), "{problems:?}");
        let all = expectations::all(&host).into_iter().chain(system::all());
        let attributes = all.map(|attribute| (small.root().join(&attribute.path), attribute)).collect();
        Self { small, host, record, telemetry, system, attributes }
    }

    /// Returns inputs for each attribute: its present text, and other texts that a kernel or driver may write.
    pub fn seeds(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        self.attributes.iter().enumerate().flat_map(|(position, (_, attribute))| {
            let seed = move |(number, text): (usize, &&str)| {
                let input = [&[u8::try_from(position).expect("few attributes")], text.as_bytes()].concat();
                (format!("{position:02}-{number}"), input)
            };
            attribute.seeds.iter().enumerate().map(seed)
        })
    }

    /// Returns one of the seeds. `number` may be larger than their count.
    #[must_use]
    pub fn seed(&self, number: usize) -> Vec<u8> {
        let number = number % self.seeds().count();
        self.seeds().nth(number).map(|(_, input)| input).unwrap_or_default()
    }

    /// Replaces one attribute by the input without its first byte, which chooses the attribute. Panics if a reading differs
    /// from the expected reading.
    pub fn check(&self, input: &[u8]) {
        let Some((&position, input)) = input.split_first() else { return };
        let (path, attribute) = &self.attributes[usize::from(position) % self.attributes.len()];
        let Some(_replaced) = Replaced::new(&self.small.root(), path, attribute.kind, input) else { return };
        let text = str::from_utf8(input).ok().map(|text| attribute.trimmed(text));
        match attribute.reader {
            Reader::Host => self.check_host(path, attribute, text),
            Reader::Telemetry(pointer) => self.check_telemetry(path, attribute, text, pointer),
            Reader::System => self.check_system(path, attribute, text),
        }
    }

    fn check_host(&self, path: &Path, attribute: &Attribute, text: Option<&str>) {
        let host = Host::from_root(self.small.root()).expect("a tree");
        let json = host.to_json();
        assert!(!json.contains(OUTSIDE), "a link led out of the tree");
        check(&host);
        let mut expected = self.record.clone();
        let mut found = value(&json);
        match (attribute.expect)(text, &mut expected) {
            Some(problems) => {
                found["problems"] = Value::Array(Vec::new());
                assert_eq!(found, expected, "{} contains {text:?}", path.display());
                check_problems(problems, host.problems(), path, text);
            }
            // There is no expected reading of the devices for this text.
            None => assert_eq!((&found["numa"], &found["efa_driver"]), (&expected["numa"], &expected["efa_driver"])),
        }
    }

    fn check_system(&self, path: &Path, attribute: &Attribute, text: Option<&str>) {
        let (found, found_problems) = system_of(&self.host);
        let mut expected = self.system.clone();
        if let Some(problems) = (attribute.expect)(text, &mut expected) {
            assert_eq!(found, expected, "{} contains {text:?}", path.display());
            check_problems(problems, &found_problems, path, text);
        }
    }

    fn check_telemetry(&self, path: &Path, attribute: &Attribute, text: Option<&str>, pointer: &str) {
        let found = telemetry_of(&self.host);
        let mut expected = self.telemetry.clone();
        (attribute.expect)(text, &mut expected);
        if text.is_none() {
            let failed = found.pointer(pointer).map(Value::to_string).unwrap_or_default();
            let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
            assert!(failed.contains("failed") && failed.contains(&*name), "{failed}");
            *expected.pointer_mut(pointer).expect("a reading") = found.pointer(pointer).expect("a reading").clone();
        }
        assert_eq!(found, expected, "{} contains {text:?}", path.display());
    }
}

/// Panics if the number of problems is not the expected one, or if no problem names the attribute that it should name.
fn check_problems(expected: Problems, found: &[String], path: &Path, text: Option<&str>) {
    assert_eq!(found.len(), expected.count, "{text:?}: {found:?}");
    // A problem names the path before links are followed.
    let tail: PathBuf = path.iter().skip(path.iter().count() - 2).collect();
    let names = |problem: &String| problem.contains(&*tail.to_string_lossy());
    assert!(!expected.named || found.iter().any(names), "{tail:?}: {found:?}");
}

/// Reads the system of a host and one of its processes. Returns the problems separately.
fn system_of(host: &Host) -> (Value, Vec<String>) {
    let mut system = SystemInfo::read(host).expect("a tree").expect("a host from a tree");
    let problems = std::mem::take(&mut system.problems);
    let process = Process::read(host, PROCESS).expect("a process");
    let found = json!({"system": system, "process": process});
    assert!(!found.to_string().contains(OUTSIDE), "a link led out of the tree");
    (found, problems)
}

fn value(json: &str) -> Value {
    serde_json::from_str(json).expect("JSON")
}

fn telemetry_of(host: &Host) -> Value {
    let telemetry = telemetry(host).expect("a tree");
    let written = serde_json::to_string(&telemetry).expect("telemetry serializes");
    assert_eq!(
        serde_json::from_str::<nearfab::telemetry::Telemetry>(&written).expect("telemetry deserializes"),
        telemetry
    );
    value(&written)
}
