//! Quotes words for a shell.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

/// Quotes a word so that a shell reads the same bytes back.
///
/// A word that is not UTF-8 has the form `$'\377'`, which bash, zsh and ksh read; all other words are quoted for every shell.
pub(crate) fn quoted(word: &OsStr) -> String {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"%+,-./:=@_^".contains(byte);
    match word.to_str() {
        Some(text) if !text.is_empty() && text.bytes().all(|byte| is_plain(&byte)) => text.to_owned(),
        Some(text) => format!("'{}'", text.replace('\'', r"'\''")),
        None => escaped(word.as_bytes()),
    }
}

/// `$'...'` with an octal escape for each byte that is not text.
fn escaped(bytes: &[u8]) -> String {
    let mut word = String::from("$'");
    for chunk in bytes.utf8_chunks() {
        word += &chunk.valid().replace('\\', r"\\").replace('\'', r"\'");
        for byte in chunk.invalid() {
            // Always three digits: a digit after the escape is not read as a part of the escape.
            let _ = write!(word, "\\{byte:03o}");
        }
    }
    word.push('\'');
    word
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn shell_reads_the_same_bytes_back() {
        for bytes in [
            &b"plain"[..],
            b"",
            b"two words",
            b"it's $HOME and \\",
            b"line\nline\t\x1b[1m",
            b"caf\xc3\xa9",
            b"\xff",
            b"caf\xe9 1\xe92",
            b"\xff'\\$HOME\n\xc3\xa9 `x`",
        ] {
            let quoted = quoted(OsStr::from_bytes(bytes));
            let output = Command::new("bash").args(["-c", &format!("printf %s {quoted}")]).output().unwrap();
            assert_eq!(output.stdout, bytes, "{quoted}");
        }
    }

    #[test]
    fn only_words_that_are_not_utf8_need_more_than_a_posix_shell() {
        assert_eq!(quoted(OsStr::from_bytes(b"\xff2")), r"$'\3772'");
        for text in ["", "a b", "it's", "é"] {
            assert!(quoted(OsStr::new(text)).starts_with('\''), "{text}");
        }
    }
}
