//! The list of phrases and names, read from `xtask/words.toml`.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use regex_lite::{Regex, RegexBuilder};
use serde::Deserialize;

use crate::lexer::{Kind, tokens};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    phrase: Vec<Phrase>,
    names: Names,
    except: Vec<Exception>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Phrase {
    regex: String,
    instead: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    words: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    path: String,
    text: Option<String>,
    reason: String,
}

/// The list, ready for use.
pub(super) struct Rules {
    phrases: Vec<(Regex, String)>,
    names: BTreeSet<String>,
    exceptions: Vec<Exception>,
}

impl Rules {
    /// Reads the list that was compiled into this program.
    ///
    /// # Errors
    /// If the list is malformed.
    pub(super) fn read() -> Result<Self> {
        let File { phrase, names, except } =
            toml::from_str(include_str!("../../../words.toml")).context("xtask/words.toml")?;
        for Exception { path, reason, .. } in &except {
            ensure!(!reason.is_empty(), "xtask/words.toml: the exception of {path} has no reason");
        }
        let phrases = phrase.into_iter().map(|Phrase { regex, instead }| {
            let spaced = regex.replace(' ', r"\s+");
            let compiled = RegexBuilder::new(&spaced).case_insensitive(true).build();
            Ok((compiled.with_context(|| format!("xtask/words.toml: {regex}"))?, instead))
        });
        Ok(Self { phrases: phrases.collect::<Result<_>>()?, names: names.words, exceptions: except })
    }

    /// Returns the positions of the list's phrases in the text, with a message for each phrase.
    pub(super) fn phrases(&self, text: &str) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (regex, instead) in &self.phrases {
            for phrase in regex.find_iter(text) {
                let words = phrase.as_str().split_whitespace().collect::<Vec<_>>().join(" ");
                found.push((phrase.start(), format!("\"{words}\": write instead: {instead}")));
            }
        }
        found
    }

    /// Returns the lines of a Rust source that have identifiers of the list, and a message for each.
    pub(super) fn names(&self, source: &str) -> Vec<(usize, String)> {
        let words = tokens(source).into_iter().filter_map(|token| match token.kind {
            Kind::Word(word) if self.names.contains(word) => Some((token.line, word)),
            _ => None,
        });
        words.map(|(line, word)| (line, format!("`{word}`: name the thing, not a pronoun or an idiom"))).collect()
    }

    /// Returns whether a line of a file is excepted.
    pub(super) fn is_excepted(&self, name: &str, line: &str) -> bool {
        self.exceptions.iter().any(|Exception { path, text, .. }| {
            let is_below =
                name.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            is_below && text.as_deref().is_none_or(|text| line.contains(text))
        })
    }
}
