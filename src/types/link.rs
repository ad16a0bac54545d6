//! The PCIe link of a function, as the kernel reads it from the configuration space.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::types::number;

/// Speed and width of a function's PCIe link, now and at most. Each is `None` where the host has no such attribute.
///
/// On EC2 these are what the virtual switch chooses to show: devices behind an upstream port of 1.97 GB/s were seen
/// with links of 63, so the lowest value on a path says nothing of its bandwidth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PciLink {
    /// The speed now.
    pub speed: Option<LinkSpeed>,
    /// The width now.
    pub width: Option<LinkWidth>,
    /// The highest speed that the function can have.
    pub max_speed: Option<LinkSpeed>,
    /// The greatest width that the function can have.
    pub max_width: Option<LinkWidth>,
}

/// The speed of a PCIe link for each lane and direction, written `16.0 GT/s`.
///
/// ```
/// use nearfab::LinkSpeed;
/// let speed: LinkSpeed = "32.0 GT/s PCIe".parse()?;
/// assert_eq!(speed, LinkSpeed::MegaTransfers(32_000));
/// assert_eq!("Unknown".parse(), Ok(LinkSpeed::Unknown));
/// # Ok::<(), nearfab::ParseLinkError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LinkSpeed {
    /// Millions of transfers a second: 2500 in the first generation, 32000 in the fifth.
    MegaTransfers(u32),
    /// The kernel itself says that it is unknown, as it does for many virtual functions.
    Unknown,
}

/// The number of lanes of a PCIe link, written `x16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LinkWidth {
    /// So many.
    Lanes(u8),
    /// The kernel knows of none: it says 255, or 0 where there is no link at all.
    Unknown,
}

impl fmt::Display for LinkSpeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MegaTransfers(mega) => {
                let thousandths = format!("{:03}", mega % 1000);
                let digits = thousandths.trim_end_matches('0');
                f.pad(&format!("{}.{} GT/s", mega / 1000, if digits.is_empty() { "0" } else { digits }))
            }
            Self::Unknown => f.pad("unknown"),
        }
    }
}

impl FromStr for LinkSpeed {
    type Err = ParseLinkError;

    /// Reads what any kernel wrote: `16.0 GT/s PCIe`, before 5.11 `16 GT/s`, and `Unknown` or `Unknown speed`.
    fn from_str(text: &str) -> Result<Self, ParseLinkError> {
        if ["unknown", "unknown speed"].iter().any(|unknown| text.eq_ignore_ascii_case(unknown)) {
            return Ok(Self::Unknown);
        }
        let parse = || {
            let giga = text.strip_suffix(" PCIe").unwrap_or(text).strip_suffix(" GT/s")?;
            let (whole, fraction) = giga.split_once('.').unwrap_or((giga, "0"));
            if !(1..=3).contains(&fraction.len()) {
                return None;
            }
            let thousandths = number(&format!("{fraction:0<3}"))?;
            Some(Self::MegaTransfers(number::<u32>(whole)?.checked_mul(1000)?.checked_add(thousandths)?))
        };
        parse().ok_or_else(|| ParseLinkError { text: text.to_owned(), expected: "a link speed such as 16.0 GT/s" })
    }
}

impl fmt::Display for LinkWidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lanes(lanes) => f.pad(&format!("x{lanes}")),
            Self::Unknown => f.pad("unknown"),
        }
    }
}

impl FromStr for LinkWidth {
    type Err = ParseLinkError;

    /// Reads the kernel's bare number and the written form.
    fn from_str(text: &str) -> Result<Self, ParseLinkError> {
        if text == "unknown" {
            return Ok(Self::Unknown);
        }
        match number(text.strip_prefix('x').unwrap_or(text)) {
            Some(0 | 255) => Ok(Self::Unknown),
            Some(lanes) => Ok(Self::Lanes(lanes)),
            None => Err(ParseLinkError { text: text.to_owned(), expected: "a number of lanes such as 16" }),
        }
    }
}

impl TryFrom<String> for LinkSpeed {
    type Error = ParseLinkError;

    fn try_from(text: String) -> Result<Self, ParseLinkError> {
        text.parse()
    }
}

impl TryFrom<String> for LinkWidth {
    type Error = ParseLinkError;

    fn try_from(text: String) -> Result<Self, ParseLinkError> {
        text.parse()
    }
}

impl From<LinkSpeed> for String {
    fn from(speed: LinkSpeed) -> Self {
        speed.to_string()
    }
}

impl From<LinkWidth> for String {
    fn from(width: LinkWidth) -> Self {
        width.to_string()
    }
}

/// A text that was read as the speed or the width of a PCIe link and is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseLinkError {
    text: String,
    expected: &'static str,
}

impl fmt::Display for ParseLinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, found {:?}", self.expected, self.text)
    }
}

impl std::error::Error for ParseLinkError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn speed_is_read_back(mega in any::<u32>()) {
            let speed = LinkSpeed::MegaTransfers(mega);
            prop_assert_eq!(speed.to_string().parse(), Ok(speed));
            prop_assert_eq!(format!("{speed} PCIe").parse(), Ok(speed));
        }

        #[test]
        fn width_is_read_back(lanes in 1..=254_u8) {
            prop_assert_eq!(lanes.to_string().parse(), Ok(LinkWidth::Lanes(lanes)));
            prop_assert_eq!(LinkWidth::Lanes(lanes).to_string().parse(), Ok(LinkWidth::Lanes(lanes)));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = text.parse::<LinkSpeed>();
            let _ = text.parse::<LinkWidth>();
        }
    }

    #[test]
    fn what_kernels_write_is_read() {
        for (text, mega) in [("2.5 GT/s PCIe", 2500), ("8 GT/s", 8000), ("16.0 GT/s PCIe", 16_000)] {
            assert_eq!(text.parse(), Ok(LinkSpeed::MegaTransfers(mega)), "{text}");
        }
        for text in ["Unknown", "Unknown speed", "unknown"] {
            assert_eq!(text.parse(), Ok(LinkSpeed::Unknown), "{text}");
        }
        for text in ["255", "0", "unknown"] {
            assert_eq!(text.parse(), Ok(LinkWidth::Unknown), "{text}");
        }
        for text in ["", "fast", "16.0", "+8 GT/s", "8. GT/s", "99999999 GT/s", "unknowns"] {
            assert!(text.parse::<LinkSpeed>().is_err(), "{text:?}");
        }
        for text in ["", "256", "-1", "xx8"] {
            assert!(text.parse::<LinkWidth>().is_err(), "{text:?}");
        }
    }
}
