//! The address of a PCI function.

use std::fmt;
use std::str::FromStr;

/// The address of a PCI function: domain, bus, device, function (`0000:cc:00.0`).
///
/// The address identifies an EFA interface: names such as `rdmap201s0` change with udev rules and containers, but the
/// address does not change. Parsing accepts the full form, and the short form without a domain (`cc:00.0`) that older
/// tools print. Display writes the full form.
///
/// ```
/// use nearfab::Bdf;
/// let efa: Bdf = "c9:00.0".parse()?;
/// assert_eq!(efa, Bdf::new(0, 0xc9, 0, 0));
/// assert_eq!(efa.to_string(), "0000:c9:00.0");
/// # Ok::<(), nearfab::ParseBdfError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bdf {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

impl Bdf {
    /// Returns the address of `function` (0 to 7) of `device` (0 to 31). Ignores the higher bits of both.
    #[must_use]
    pub const fn new(domain: u32, bus: u8, device: u8, function: u8) -> Self {
        Self { domain, bus, device: device & 0x1f, function: function & 0x7 }
    }

    /// Returns the PCI domain: 0 for most functions. Kernels number the domains of controllers such as VMD from 0x10000, so a domain
    /// can have five digits.
    #[must_use]
    pub const fn domain(self) -> u32 {
        self.domain
    }

    /// Returns the number of the bus in the domain.
    #[must_use]
    pub const fn bus(self) -> u8 {
        self.bus
    }

    /// Returns the number of the device on the bus, 0 to 31.
    #[must_use]
    pub const fn device(self) -> u8 {
        self.device
    }

    /// Returns the number of the function in the device, 0 to 7.
    #[must_use]
    pub const fn function(self) -> u8 {
        self.function
    }
}

impl fmt::Display for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

impl fmt::Debug for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Bdf {
    type Err = ParseBdfError;

    fn from_str(text: &str) -> Result<Self, ParseBdfError> {
        parse(text).ok_or_else(|| ParseBdfError(text.to_owned()))
    }
}

impl TryFrom<String> for Bdf {
    type Error = ParseBdfError;

    fn try_from(text: String) -> Result<Self, ParseBdfError> {
        text.parse()
    }
}

impl From<Bdf> for String {
    fn from(address: Bdf) -> Self {
        address.to_string()
    }
}

/// The error of parsing a text that is not a PCI address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseBdfError(String);

impl fmt::Display for ParseBdfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a PCI address; expected one such as 0000:cc:00.0", self.0)
    }
}

impl std::error::Error for ParseBdfError {}

fn parse(text: &str) -> Option<Bdf> {
    let (domain, rest) = match text.matches(':').count() {
        1 => (0, text),
        2 => {
            let (domain, rest) = text.split_once(':')?;
            (hex(domain, 4..=8, u32::MAX)?, rest)
        }
        _ => return None,
    };
    let (bus, rest) = rest.split_once(':')?;
    let (device, function) = rest.split_once('.')?;
    Some(Bdf {
        domain,
        bus: u8::try_from(hex(bus, 2..=2, 0xff)?).ok()?,
        device: u8::try_from(hex(device, 2..=2, 0x1f)?).ok()?,
        function: u8::try_from(hex(function, 1..=1, 0x7)?).ok()?,
    })
}

/// Parses a number of `digits` hexadecimal digits, up to `max`. Refuses a sign, which `from_str_radix` accepts.
pub(crate) fn hex(text: &str, digits: std::ops::RangeInclusive<usize>, max: u32) -> Option<u32> {
    if !digits.contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(text, 16).ok().filter(|&value| value <= max)
}
