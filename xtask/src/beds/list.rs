//! The beds and their inputs.

/// A test bed that costs minutes.
pub(crate) struct Bed {
    pub(crate) name: &'static str,
    /// The command that runs this bed alone, below `cargo xtask`.
    pub(crate) command: &'static [&'static str],
    /// The files that the bed's result depends on, as git pathspecs: whole folders, because a list of files would
    /// become outdated.
    pub(crate) inputs: &'static [&'static [&'static str]],
    /// The time that the bed takes on two cores with empty caches.
    pub(crate) minutes: u64,
}

/// What every build of the library reads.
const LIBRARY: &[&str] = &[".cargo", "Cargo.lock", "Cargo.toml", "build.rs", "data", "src"];

/// The beds, the fastest first.
pub(crate) const BEDS: [Bed; 7] = [
    Bed {
        name: "book",
        command: &["book"],
        inputs: &[&["docs", "xtask/src/book.rs", "xtask/src/tools.rs"]],
        minutes: 4,
    },
    Bed {
        name: "loom",
        command: &["loom"],
        inputs: &[LIBRARY, &["sys", "tests/support", "xtask/src/loom.rs"]],
        minutes: 5,
    },
    Bed { name: "bare", command: &["bare"], inputs: &[LIBRARY, &["cli", "emu", "sys", "xtask/src"]], minutes: 4 },
    Bed {
        name: "allocator",
        command: &["allocator"],
        inputs: &[
            LIBRARY,
            &["deploy", "docs", "dra", "emu", "tests/allocator", "xtask/src/allocator.rs", "xtask/src/go.rs"],
        ],
        minutes: 12,
    },
    Bed {
        name: "package",
        command: &["package"],
        inputs: &[
            LIBRARY,
            &["*.md", "LICENSE", "cli", "dra", "docs", "emu", "sys", "xtask/src/package.rs", "xtask/src/packages.rs"],
        ],
        minutes: 10,
    },
    Bed {
        name: "valgrind",
        command: &["valgrind"],
        inputs: &[LIBRARY, &["emu", "sys", "tests", ":!tests/allocator", ":!tests/cluster", "xtask/src/valgrind.rs"]],
        minutes: 18,
    },
    Bed {
        name: "k8s",
        command: &["k8s", "test"],
        inputs: &[LIBRARY, &["deploy", "dra", "emu", "sys", "tests/cluster", "xtask/src"]],
        minutes: 30,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::files;

    /// Returns the beds that each tracked file is an input of.
    fn beds_of_files() -> BTreeMap<String, Vec<&'static str>> {
        let mut beds: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
        for name in files::tracked(&[]).unwrap() {
            beds.insert(name, Vec::new());
        }
        for bed in &BEDS {
            for name in files::tracked(&bed.inputs.concat()).unwrap() {
                beds.get_mut(&name).unwrap().push(bed.name);
            }
        }
        beds
    }

    /// Folders, and the beds that a change of any file in the folder makes run.
    const EXPECTED: [(&str, &[&str]); 14] = [
        // The registry, the synchronization and the generations of processes are in loom's models, and every call of a
        // vendor library is in valgrind's tests.
        ("src/live", &["loom", "bare", "allocator", "package", "valgrind", "k8s"]),
        ("src", &["loom", "bare", "allocator", "package", "valgrind", "k8s"]),
        ("sys/src", &["loom", "bare", "package", "valgrind", "k8s"]),
        ("data", &["loom", "bare", "allocator", "package", "valgrind", "k8s"]),
        ("Cargo.lock", &["loom", "bare", "allocator", "package", "valgrind", "k8s"]),
        ("Cargo.toml", &["loom", "bare", "allocator", "package", "valgrind", "k8s"]),
        ("emu/src", &["bare", "allocator", "package", "valgrind", "k8s"]),
        ("tests/stub", &["valgrind"]),
        ("tests/support", &["loom", "valgrind"]),
        ("tests/allocator", &["allocator"]),
        ("tests/cluster", &["k8s"]),
        ("dra/src", &["allocator", "package", "k8s"]),
        ("cli/src", &["bare", "package"]),
        ("docs", &["book", "allocator", "package"]),
    ];

    #[test]
    fn a_change_of_each_file_makes_its_beds_run() {
        let beds = beds_of_files();
        for (folder, expected) in EXPECTED {
            let is_below = |name: &str| name == folder || name.strip_prefix(folder).is_some_and(|r| r.starts_with('/'));
            let files: Vec<_> = beds.iter().filter(|(name, _)| is_below(name)).collect();
            assert!(!files.is_empty(), "{folder} has no files");
            for (name, beds) in files {
                assert_eq!(beds, expected, "{name}");
            }
        }
    }

    /// valgrind runs every test that runs programs on an emulated machine.
    #[test]
    fn each_test_of_vendor_libraries_is_an_input_of_valgrind() {
        let beds = beds_of_files();
        let tests = beds.iter().filter(|(name, _)| name.starts_with("tests/") && name.ends_with(".rs"));
        let calls = tests.filter(|(name, _)| files::text(name).is_some_and(|text| text.contains("on_machine(")));
        let missing: Vec<_> = calls.filter(|(_, beds)| !beds.contains(&"valgrind")).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn each_input_exists() {
        for bed in &BEDS {
            for input in bed.inputs.concat() {
                let path = input.trim_start_matches(":!");
                assert!(!files::tracked(&[path]).unwrap().is_empty(), "{}: {input}", bed.name);
            }
        }
    }
}
