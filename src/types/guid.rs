//! The GUID of an RDMA node.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The GUID of an RDMA node: 64 bits, written `cd77:f833:0000:1001`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Guid(pub u64);

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = |shift: u32| self.0 >> shift & 0xffff;
        write!(f, "{:04x}:{:04x}:{:04x}:{:04x}", group(48), group(32), group(16), group(0))
    }
}

impl FromStr for Guid {
    type Err = ParseGuidError;

    fn from_str(text: &str) -> Result<Self, ParseGuidError> {
        let groups: Vec<&str> = text.split(':').collect();
        let is_valid = |group: &&str| group.len() == 4 && group.bytes().all(|b| b.is_ascii_hexdigit());
        if groups.len() != 4 || !groups.iter().all(is_valid) {
            return Err(ParseGuidError(text.to_owned()));
        }
        u64::from_str_radix(&groups.concat(), 16).map(Self).map_err(|_| ParseGuidError(text.to_owned()))
    }
}

impl TryFrom<String> for Guid {
    type Error = ParseGuidError;

    fn try_from(text: String) -> Result<Self, ParseGuidError> {
        text.parse()
    }
}

impl From<Guid> for String {
    fn from(guid: Guid) -> Self {
        guid.to_string()
    }
}

/// The error of parsing a text that is not a GUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseGuidError(String);

impl fmt::Display for ParseGuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a GUID; expected one such as cd77:f833:0000:1001", self.0)
    }
}

impl std::error::Error for ParseGuidError {}
