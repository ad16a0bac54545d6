//! A path as a text in JSON, for `#[serde(with = "path_text")]`. The text is lossless, although a path need not be
//! UTF-8.
//!
//! A path in UTF-8 is written unchanged. Each byte that is not UTF-8 is written as a zero byte and two hexadecimal
//! digits (`"/tmp/\u0000ff"`). No path contains a zero byte, so the text has one meaning only.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

pub(crate) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&to_text(path))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    to_path(&text).ok_or_else(|| {
        D::Error::custom(format_args!("{text:?} is not a path: expected two hexadecimal digits after \\0"))
    })
}

fn to_text(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text += chunk.valid();
        for byte in chunk.invalid() {
            text += &format!("\0{byte:02x}");
        }
    }
    text
}

fn to_path(text: &str) -> Option<PathBuf> {
    let mut parts = text.split('\0');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.push(u8::try_from(super::hex(digits, 2..=2, 0xff)?).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Some(OsString::from_vec(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(bytes: &[u8]) -> PathBuf {
        OsString::from_vec(bytes.to_vec()).into()
    }

    #[test]
    fn bytes_outside_utf_8_are_written_as_digits() {
        assert_eq!(to_text(&path(b"/tmp/\xff\xfe/caf\xc3\xa9")), "/tmp/\0ff\0fe/caf\u{e9}");
        for text in ["/tmp/\0", "/tmp/\0f", "/tmp/\0fg", "/tmp/\0+1", "/tmp/\0\u{e9}"] {
            assert_eq!(to_path(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn path_is_read_back_and_utf_8_is_unchanged(bytes in proptest::collection::vec(1_u8.., 0..40), text in "[^\0]{0,20}") {
            prop_assert_eq!(to_path(&to_text(&path(&bytes))), Some(path(&bytes)));
            prop_assert_eq!(to_text(Path::new(&text)), text);
        }
    }
}
