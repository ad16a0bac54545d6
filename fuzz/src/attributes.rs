//! One attribute at a time of a small emulated tree replaced by an input: what it says is what the library reads, and
//! nothing else is other than before.

use std::path::{Path, PathBuf};

use nearfab::system::Process;
use nearfab::{Host, SystemInfo, telemetry};
use serde_json::{Value, json};

use crate::around;
use crate::expectations::{self, Attribute, Of, Problems};
use crate::small::{PROCESS, Replaced, Small};
use crate::{OUTSIDE, check};

/// The tree, what is read of it, and what can be replaced in it.
pub struct Attributes {
    small: Small,
    host: Host,
    record: Value,
    telemetry: Value,
    around: Value,
    attributes: Vec<(PathBuf, Attribute)>,
}

impl Attributes {
    /// Writes the tree and reads it.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it writes files")]
    pub fn new() -> Self {
        let small = Small::new();
        let host = Host::from_root(small.root()).expect("a tree");
        assert!(host.problems().is_empty(), "{:?}", host.problems());
        let record = value(&host.to_json());
        let telemetry = telemetry_of(&host);
        let (around, problems) = around(&host);
        assert!(problems.is_empty(), "{problems:?}");
        let all = expectations::all(&host).into_iter().chain(around::all());
        let attributes = all.map(|attribute| (small.root().join(&attribute.path), attribute)).collect();
        Self { small, host, record, telemetry, around, attributes }
    }

    /// Inputs that say of each attribute what it says now, and what else it may.
    pub fn seeds(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        self.attributes.iter().enumerate().flat_map(|(position, (_, attribute))| {
            let seed = move |(number, text): (usize, &&str)| {
                let input = [&[u8::try_from(position).expect("few attributes")], text.as_bytes()].concat();
                (format!("{position:02}-{number}"), input)
            };
            attribute.says.iter().enumerate().map(seed)
        })
    }

    /// One of the seeds.
    #[must_use]
    pub fn seed(&self, number: usize) -> Vec<u8> {
        let number = number % self.seeds().count();
        self.seeds().nth(number).map(|(_, input)| input).unwrap_or_default()
    }

    /// Replaces one attribute, the first byte says which, by the rest of the input, and panics where what is read then is
    /// not what it should be.
    pub fn check(&self, input: &[u8]) {
        let Some((&which, input)) = input.split_first() else { return };
        let (path, attribute) = &self.attributes[usize::from(which) % self.attributes.len()];
        let Some(_replaced) = Replaced::new(&self.small.root(), path, attribute.kind, input) else { return };
        let text = str::from_utf8(input).ok().map(|text| attribute.trimmed(text));
        match attribute.of {
            Of::Host => self.check_host(path, attribute, text),
            Of::Telemetry(pointer) => self.check_telemetry(path, attribute, text, pointer),
            Of::SystemInfo => self.check_around(path, attribute, text),
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
                assert_eq!(found, expected, "{} says {text:?}", path.display());
                check_problems(problems, host.problems(), path, text);
            }
            // What becomes of the device itself is too much to tell here.
            None => assert_eq!((&found["numa"], &found["efa_driver"]), (&expected["numa"], &expected["efa_driver"])),
        }
    }

    fn check_around(&self, path: &Path, attribute: &Attribute, text: Option<&str>) {
        let (found, told) = around(&self.host);
        let mut expected = self.around.clone();
        if let Some(problems) = (attribute.expect)(text, &mut expected) {
            assert_eq!(found, expected, "{} says {text:?}", path.display());
            check_problems(problems, &told, path, text);
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
        assert_eq!(found, expected, "{} says {text:?}", path.display());
    }
}

fn check_problems(expected: Problems, told: &[String], path: &Path, text: Option<&str>) {
    assert_eq!(told.len(), expected.count, "{text:?}: {told:?}");
    // As it was asked for, whatever links it led through.
    let tail: PathBuf = path.iter().skip(path.iter().count() - 2).collect();
    let names = |problem: &String| problem.contains(&*tail.to_string_lossy());
    assert!(!expected.named || told.iter().any(names), "{tail:?}: {told:?}");
}

/// What is around the host, a process included, and the problems apart.
fn around(host: &Host) -> (Value, Vec<String>) {
    let mut surroundings = SystemInfo::read(host).expect("a tree").expect("of a tree");
    let problems = std::mem::take(&mut surroundings.problems);
    let process = Process::read(host, PROCESS).expect("a process");
    let around = json!({"surroundings": surroundings, "process": process});
    assert!(!around.to_string().contains(OUTSIDE), "a link led out of the tree");
    (around, problems)
}

fn value(json: &str) -> Value {
    serde_json::from_str(json).expect("JSON")
}

fn telemetry_of(host: &Host) -> Value {
    let telemetry = telemetry(host).expect("a tree");
    let written = serde_json::to_string(&telemetry).expect("readings are written");
    assert_eq!(serde_json::from_str::<nearfab::telemetry::Telemetry>(&written).expect("readings are read"), telemetry);
    value(&written)
}
