//! Every error code has the same name, number and sentence in Rust, C and Python. The sentences are written in
//! `src/error.rs`; the header and the Python module repeat them.

use std::collections::BTreeMap;
use std::fs;

use nearfab::ErrorCode;

use crate::support::top;

/// An error code as one language documents it.
#[derive(Debug, PartialEq, Eq)]
struct Documented {
    name: String,
    number: i32,
    sentence: String,
}

#[test]
fn the_header_documents_every_code_as_rust_does() {
    let mut in_c = in_c(&read("include/nearfab.h"));
    let success = in_c.remove(0);
    assert_eq!((success.name.as_str(), success.number), ("NONE", 0));
    check(&in_c);
}

#[test]
fn python_documents_every_code_as_rust_does() {
    check(&in_python(&read("python/nearfab/__init__.py")));
}

#[test]
fn a_sentence_under_another_code_is_found() {
    let misplaced =
        "class ErrorCode(IntEnum):\n    NO_TREE = 16\n    MEMORY = 17\n    \"\"\"Of\n    two lines.\"\"\"\n";
    let [no_tree, memory] = in_python(misplaced).try_into().unwrap();
    assert_eq!((no_tree.number, no_tree.sentence.as_str()), (16, ""));
    assert_eq!((memory.name.as_str(), memory.sentence.as_str()), ("MEMORY", "Of two lines."));
}

/// Compares code by code, so that a failure shows the code that differs.
fn check(codes: &[Documented]) {
    let in_rust = in_rust();
    for (code, expected) in codes.iter().zip(&in_rust) {
        assert_eq!(code, expected);
    }
    assert_eq!(codes.len(), in_rust.len());
}

/// Returns the codes with the names and numbers of the compiled library. The sentence of a code is the code's
/// documentation. If that documentation only names an error, the sentence is the error's documentation.
fn in_rust() -> Vec<Documented> {
    let source = read("src/error.rs");
    let errors = variants(&source, "pub enum Error {");
    let codes = variants(&source, "pub enum ErrorCode {");
    let documented = ErrorCode::ALL.iter().map(|&code| {
        let name = format!("{code:?}");
        let text = &codes[&name];
        let error = text.strip_prefix("[`Error::").and_then(|rest| rest.strip_suffix("`]."));
        let sentence = error.map_or(text, |error| &errors[error]).clone();
        assert!(!sentence.is_empty(), "{name} has no sentence in src/error.rs");
        Documented { name: upper_snake(&name), number: code as i32, sentence }
    });
    documented.collect()
}

/// Reads the documentation of each variant of an enum.
fn variants(source: &str, head: &str) -> BTreeMap<String, String> {
    let (_, body) = source.split_once(&format!("{head}\n")).unwrap_or_else(|| panic!("no {head} in src/error.rs"));
    let mut texts: Vec<&str> = Vec::new();
    let mut variants = BTreeMap::new();
    for line in body.lines().take_while(|line| *line != "}") {
        let Some(line) = line.strip_prefix("    ") else { continue };
        if let Some(text) = line.strip_prefix("/// ") {
            texts.push(text);
        } else if line.starts_with(char::is_uppercase) {
            let end = line.find(|character: char| !character.is_alphanumeric()).unwrap_or(line.len());
            variants.insert(line[..end].to_owned(), texts.join(" "));
            texts.clear();
        }
    }
    variants
}

/// Reads `NEARFAB_ERROR_NAME = NUMBER,` and the comment above it.
fn in_c(header: &str) -> Vec<Documented> {
    let (body, _) = header.split_once("} nearfab_error;").unwrap();
    let (_, body) = body.rsplit_once("typedef enum {\n").unwrap();
    let mut texts: Vec<&str> = Vec::new();
    let mut codes = Vec::new();
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("* ") {
            texts.push(text);
        } else if let Some(code) = line.strip_prefix("NEARFAB_ERROR_") {
            codes.push(documented(code.trim_end_matches(','), &texts));
            texts.clear();
        }
    }
    codes
}

/// Reads `NAME = NUMBER` and the string that follows it directly.
fn in_python(module: &str) -> Vec<Documented> {
    const QUOTES: &str = "\"\"\"";
    let (_, body) = module.split_once("class ErrorCode(IntEnum):\n").unwrap();
    let mut codes = Vec::new();
    let mut rest = body;
    while let Some((line, after)) = rest.split_once('\n') {
        rest = after;
        if !line.contains(" = ") {
            continue;
        }
        let mut sentence = String::new();
        if let Some(string) = rest.trim_start().strip_prefix(QUOTES) {
            let (text, after) = string.split_once(QUOTES).unwrap();
            sentence = text.split_whitespace().collect::<Vec<_>>().join(" ");
            rest = after;
        }
        codes.push(documented(line.trim(), &[&sentence]));
    }
    codes
}

fn documented(code: &str, texts: &[&str]) -> Documented {
    let (name, number) = code.split_once(" = ").unwrap();
    Documented { name: name.to_owned(), number: number.parse().unwrap(), sentence: texts.join(" ") }
}

fn read(path: &str) -> String {
    fs::read_to_string(top().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Converts a name such as `NoSuchDevice` to `NO_SUCH_DEVICE`.
fn upper_snake(name: &str) -> String {
    let mut snake = String::new();
    for (i, character) in name.chars().enumerate() {
        if i > 0 && character.is_uppercase() {
            snake.push('_');
        }
        snake.extend(character.to_uppercase());
    }
    snake
}
