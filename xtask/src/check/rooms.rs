//! The order of the rooms in `src/`: a room uses the rooms below it, and no others.

mod imports;

use std::collections::BTreeSet;

use anyhow::Result;

use super::report;
use crate::files;
use imports::{Import, imports};

/// The rooms from the bottom to the top; each is a module of the library's root. `lib` is the root itself.
const ROOMS: [&str; 15] = [
    "error",
    "types",
    "tables",
    "redact",
    "scan",
    "host",
    "topology",
    "telemetry",
    "system",
    "record",
    "plan",
    "verify",
    "doctor",
    "live",
    "lib",
];

/// The root room, which may use every room.
const ROOT: &str = "lib";

/// Checks each file of `src/`.
///
/// # Errors
/// If a file is in no room, uses a room above its own, hides the room that it uses, or a room has no description.
pub(crate) fn run() -> Result<()> {
    let mut faults = Vec::new();
    let mut described = BTreeSet::new();
    for name in files::tracked(&["src"])?.iter().filter(|name| name.ends_with(".rs")) {
        let Some(source) = files::text(name) else { continue };
        faults.extend(file_faults(name, &source));
        if let Some(room) = room_of_root_file(name) {
            described.insert(room);
            faults.extend(description_fault(&source).map(|fault| format!("{name}:1: {fault}")));
        }
    }
    let missing = ROOMS.iter().filter(|room| !described.contains(**room));
    faults.extend(missing.map(|room| format!("src/: no root file of the room `{room}`")));
    report("rooms", &faults)
}

/// Returns the faults in the imports of a file.
fn file_faults(name: &str, source: &str) -> Vec<String> {
    let module = module_path(name);
    let room = module.first().map_or(ROOT, String::as_str);
    let Some(floor) = floor(room) else {
        return vec![format!("{name}:1: `{room}` is not in the list of rooms (xtask/src/check/rooms.rs)")];
    };
    if room == ROOT {
        return Vec::new();
    }
    let fault = |Import { line, target }: Import| match floor_of_target(&target) {
        Some(used) if used <= floor => None,
        Some(_) => Some(format!("{name}:{line}: the room `{room}` uses `{target}`, which is above it")),
        None => Some(format!(
            "{name}:{line}: `crate::{target}` hides the room that it is in: write the path through its room"
        )),
    };
    imports(&module, source).into_iter().filter_map(fault).collect()
}

fn floor(room: &str) -> Option<usize> {
    ROOMS.iter().position(|known| *known == room)
}

/// Returns the floor of an imported room; nothing for a name that the root exports again.
fn floor_of_target(target: &str) -> Option<usize> {
    floor(target).filter(|_| target != ROOT)
}

/// Returns the module path of a file of `src/`; an empty path for the root.
fn module_path(name: &str) -> Vec<String> {
    let path = name.strip_prefix("src/").unwrap_or(name).trim_end_matches(".rs");
    let parts = path.split('/').filter(|part| *part != "mod" && *part != ROOT);
    parts.map(str::to_owned).collect()
}

/// Returns the room whose root file this is.
fn room_of_root_file(name: &str) -> Option<String> {
    let path = name.strip_prefix("src/")?.strip_suffix(".rs")?;
    let room = path.strip_suffix("/mod").unwrap_or(path);
    (!room.contains('/')).then(|| room.to_owned())
}

/// Returns the fault of a room's description, which must be one sentence.
fn description_fault(source: &str) -> Option<&'static str> {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let paragraph: Vec<&str> = lines.map(str::trim).take_while(|line| !line.is_empty()).collect();
    let paragraph = paragraph.join(" ");
    if paragraph.is_empty() {
        return Some("the room has no description: begin its root file with `//!` and one sentence");
    }
    let sentences = paragraph.split(". ").filter(|part| part.starts_with(char::is_uppercase)).count();
    (!paragraph.ends_with('.') || sentences > 1)
        .then_some("the first paragraph of a room's description is one sentence, with a full stop")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_room_may_be_used_and_a_higher_one_may_not() {
        assert!(file_faults("src/topology/near.rs", "use crate::host::Host;").is_empty());
        assert!(file_faults("src/topology/near.rs", "use crate::topology::anchor;").is_empty());
        let faults = file_faults("src/host/redacted.rs", "//! Text.\nuse crate::record::redaction;");
        assert_eq!(faults, ["src/host/redacted.rs:2: the room `host` uses `record`, which is above it"]);
    }

    #[test]
    fn an_upward_use_is_found_in_tests_groups_and_paths_to_the_root() {
        for source in [
            "#[cfg(test)] mod tests { use crate::live::probe; }",
            "use crate::{error::Error, verify::verify};",
            "fn f() { crate::plan::plan(); }",
            "use super::super::live::process;",
            "mod inner { use super::super::super::record::Record; }",
        ] {
            assert_eq!(file_faults("src/host/nothing.rs", source).len(), 1, "{source}");
        }
        assert!(file_faults("src/host/nothing.rs", "// crate::live\nconst A: &str = \"crate::live\";").is_empty());
    }

    #[test]
    fn a_name_that_the_root_exports_hides_its_room() {
        let faults = file_faults("src/plan.rs", "use crate::Host;");
        assert!(faults[0].starts_with("src/plan.rs:1: `crate::Host` hides the room"), "{faults:?}");
        assert!(file_faults("src/lib.rs", "pub use crate::host::Host;").is_empty());
    }

    #[test]
    fn a_file_of_no_room_is_a_fault() {
        assert_eq!(file_faults("src/extra.rs", "").len(), 1);
    }

    #[test]
    fn a_room_is_described_by_one_sentence() {
        assert_eq!(description_fault("//! Reads the tree\n//! of a host.\n//!\n//! More. And more.\n"), None);
        for wrong in ["use a;\n", "//! Without a full stop\n", "//! Two of them. They are two.\n"] {
            assert!(description_fault(wrong).is_some(), "{wrong}");
        }
    }
}
