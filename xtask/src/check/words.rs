//! The phrases and names that nearfab's prose avoids, as listed in `xtask/words.toml`.

mod prose;
mod rules;

use std::collections::BTreeMap;

use anyhow::Result;

use super::report;
use crate::files;
use crate::run::say;
use prose::blocks;
use rules::Rules;

/// Checks each text file of the project, and prints the number of faults of each room.
///
/// # Errors
/// If a phrase or a name of the list occurs.
pub(crate) fn run() -> Result<()> {
    let rules = Rules::read()?;
    let mut faults = Vec::new();
    let mut rooms: BTreeMap<String, usize> = BTreeMap::new();
    for name in files::tracked(&[])? {
        let Some(text) = files::text(&name) else { continue };
        let found = file_faults(&rules, &name, &text);
        if !found.is_empty() {
            *rooms.entry(room(&name)).or_default() += found.len();
        }
        faults.extend(found);
    }
    let outcome = report("words", &faults);
    for (room, count) in rooms {
        say(format_args!("{count:5} in {room}"));
    }
    outcome
}

fn file_faults(rules: &Rules, name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for block in blocks(name, text) {
        for (offset, phrase) in rules.phrases(&block.text) {
            let line = block.line + block.text[..offset].matches('\n').count();
            faults.push((line, phrase));
        }
    }
    if name.ends_with(".rs") {
        faults.extend(rules.names(text));
    }
    faults.sort();
    let lines: Vec<&str> = text.lines().collect();
    faults.retain(|(line, _)| !rules.is_excepted(name, lines.get(line - 1).copied().unwrap_or_default()));
    faults.into_iter().map(|(line, fault)| format!("{name}:{line}: {fault}")).collect()
}

/// Returns the top folder of the workspace that a file is in; for `src` and `docs`, with the next folder below.
fn room(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        [top @ ("src" | "docs"), second, ..] => format!("{top}/{}", second.trim_end_matches(".rs")),
        [top, _, ..] => (*top).to_owned(),
        _ => "the top folder".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_found_with_its_line_in_each_kind_of_file() {
        let rules = Rules::read().unwrap();
        let files = [
            ("a.rs", "fn a() {}\n// The rest hangs\n// on it.\n"),
            ("a.rs", "fn a() {}\nconst A: &str = \"it hangs on \\\n    it\";\n"),
            ("a.h", "int a;\n/* It hangs on b. */\n"),
            ("a.py", "a = 1\ndef b():\n    \"\"\"Text.\n\n    It hangs on b.\"\"\"\n"),
            ("a.md", "# A\nThe rest hangs\non it.\n"),
            ("a.toml", "a = 1\n# The rest hangs\n# on it.\n"),
            ("a.yaml", "a: 1\nb: it hangs on c\n"),
            ("a.json", "{\n  \"description\": \"It hangs on b.\"\n}\n"),
        ];
        for (name, text) in files {
            let line = if name == "a.py" { 5 } else { 2 };
            let expected = format!("{name}:{line}: \"hangs on\": write instead: ");
            let faults = file_faults(&rules, name, text);
            assert!(faults.len() == 1 && faults[0].starts_with(&expected), "{name}: {faults:?}");
        }
        assert_eq!(file_faults(&rules, "a.rs", "fn hangs(on: u8) { hangs(on) }"), [""; 0]);
    }

    #[test]
    fn a_name_that_is_a_pronoun_is_found() {
        let rules = Rules::read().unwrap();
        let faults = file_faults(&rules, "a.rs", "fn f() {\n    let told = 1;\n    self.said();\n}\n// told\n");
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].starts_with("a.rs:2: `told`: "));
    }

    #[test]
    fn a_file_that_is_excepted_has_no_faults() {
        let rules = Rules::read().unwrap();
        assert_eq!(file_faults(&rules, "dra/proto/api.proto", "it hangs on"), [""; 0]);
    }
}
