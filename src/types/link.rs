//! The PCIe link of a function. The kernel reads the values from the function's configuration space.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::types::number;

/// Speed and width of a function's PCIe link: the current and the maximum values. A field is `None` if the host has no
/// such attribute.
///
/// On EC2 the virtual switch makes up these values: devices with a link of 63 GB/s have been seen behind an upstream
/// port of 1.97 GB/s. The lowest value on a path does not determine the bandwidth of the path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PciLink {
    /// The current speed.
    pub speed: Option<LinkSpeed>,
    /// The current width.
    pub width: Option<LinkWidth>,
    /// The maximum speed of the function.
    pub max_speed: Option<LinkSpeed>,
    /// The maximum width of the function.
    pub max_width: Option<LinkWidth>,
}

/// The speed of a PCIe link per lane and direction, written `16.0 GT/s`.
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
    /// Millions of transfers per second: 2500 in the first PCIe generation, 32000 in the fifth.
    MegaTransfers(u32),
    /// The kernel shows `Unknown`, as it does for many virtual functions.
    Unknown,
}

/// The number of lanes of a PCIe link, written `x16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LinkWidth {
    /// The number of lanes.
    Lanes(u8),
    /// The kernel shows 255 (unknown) or 0 (no link).
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

    /// Parses the forms of all kernels: `16.0 GT/s PCIe`, before 5.11 `16 GT/s`, and `Unknown` or `Unknown speed`.
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

    /// Parses the kernel's number (`16`) and the form of Display (`x16`).
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

/// The error of parsing a text that is neither a speed nor a width of a PCIe link.
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
        fn speed_is_the_decimal_before_its_unit(text in "[0-9]{0,8}(\\.[0-9]{0,4})?( GT/s( PCIe)?)?|(?i:unknown( speed)?)|\\PC*") {
            let words: Vec<&str> = text.split(' ').collect();
            let has_unit = words[1..] == ["GT/s"] || words[1..] == ["GT/s", "PCIe"];
            let parts: Vec<&str> = words[0].split('.').collect();
            let is_digits = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
            let is_decimal = parts.iter().all(is_digits) && (parts.len() == 1 || (parts.len() == 2 && parts[1].len() <= 3));
            // In floating point: exact for numbers of this size.
            let mega = (has_unit && is_decimal).then(|| (words[0].parse::<f64>().unwrap() * 1000.0).round());
            let plain = mega.filter(|mega| *mega <= f64::from(u32::MAX));
            match text.parse() {
                Ok(LinkSpeed::MegaTransfers(mega)) => prop_assert_eq!(Some(f64::from(mega)), plain),
                Ok(LinkSpeed::Unknown) => prop_assert!(["unknown", "unknown speed"].contains(&text.to_lowercase().as_str())),
                Err(_) => prop_assert_eq!(plain, None),
            }
        }

        #[test]
        fn width_is_a_number_of_one_byte(text in "x?[0-9]{0,4}|unknown|\\PC*") {
            let digits = text.strip_prefix('x').unwrap_or(&text);
            let plain = (0..=255_u8).find(|lanes| digits.trim_start_matches('0') == lanes.to_string().trim_start_matches('0'));
            let plain = plain.filter(|_| !digits.is_empty());
            match text.parse() {
                Ok(LinkWidth::Lanes(lanes)) => prop_assert!(Some(lanes) == plain && !matches!(lanes, 0 | 255)),
                Ok(LinkWidth::Unknown) => prop_assert!(text == "unknown" || matches!(plain, Some(0 | 255))),
                Err(_) => prop_assert_eq!(plain, None),
            }
        }
    }

    #[test]
    fn texts_of_all_kernels_are_parsed() {
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
