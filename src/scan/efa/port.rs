//! The port of an EFA interface.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use crate::error::Problems;
use crate::scan::root::Folder;
use crate::types::{PortState, number};

/// The port of an RDMA device. A field is `None` if sysfs does not show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Port {
    /// The state of the port. The efa driver shows `active` whenever the device works.
    pub state: Option<PortState>,
    /// The rate in Mb/s that the driver shows. The rate is not the bandwidth and does not identify the generation: efa
    /// drivers before 2.13 show 100000 for every device.
    pub rate_mbps: Option<u32>,
    /// The only GID of the port, a link-local address.
    pub gid: Option<Ipv6Addr>,
}

/// Reads the port from the folder of the RDMA device; `None` if sysfs shows no value of the port.
pub(super) fn read(problems: &mut Problems, folder: &Folder<'_>) -> Option<Port> {
    let state = folder.parse("ports/1/state", "a port state such as 4: ACTIVE", state);
    let rate = folder.parse("ports/1/rate", "a rate such as 100 Gb/sec (4X EDR)", rate);
    let gid = folder.parse("ports/1/gids/0", "a GID of eight groups", |text| text.parse().ok());
    let (state, rate_mbps, gid) =
        (problems.take(state).flatten(), problems.take(rate).flatten(), problems.take(gid).flatten());
    let shown = state.is_some() || rate_mbps.is_some() || gid.is_some();
    shown.then_some(Port { state, rate_mbps, gid })
}

/// Parses `4: ACTIVE`.
fn state(text: &str) -> Option<PortState> {
    number::<u32>(text.split(':').next()?).map(PortState::from)
}

/// Parses `100 Gb/sec (4X EDR)` or `2.5 Gb/sec (1X SDR)`, and returns Mb/s.
fn rate(text: &str) -> Option<u32> {
    let giga = text.split_once(" Gb/sec")?.0;
    let (whole, tenths) = giga.split_once('.').unwrap_or((giga, "0"));
    let tenths: u32 = number(tenths).filter(|_| tenths.len() == 1)?;
    number::<u32>(whole)?.checked_mul(1000)?.checked_add(tenths * 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Guid;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn guid_is_read_back(bits in any::<u64>()) {
            prop_assert_eq!(Guid(bits).to_string().parse(), Ok(Guid(bits)));
        }

        #[test]
        fn every_state_keeps_its_number(number in any::<u32>()) {
            prop_assert_eq!(u32::from(PortState::from(number)), number);
        }

        #[test]
        fn state_is_the_number_before_the_first_colon(text in "[0-9+]{0,11}:?[ :A-Z]{0,9}|\\PC*") {
            let digits: String = text.chars().take_while(|c| *c != ':').collect();
            let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
            let plain = is_number.then(|| digits.parse::<u32>().ok().map(PortState::from)).flatten();
            prop_assert_eq!(state(&text), plain);
        }

        #[test]
        fn rate_is_the_decimal_before_its_unit(text in "[0-9+]{0,8}(\\.[0-9]{0,2})?( Gb/sec)?\\PC{0,9}|\\PC*") {
            // In floating point: exact for numbers of this size.
            let giga = text.find(" Gb/sec").map(|end| &text[..end]).filter(|text| {
                let parts: Vec<&str> = text.split('.').collect();
                let is_digits = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
                parts.iter().all(is_digits) && (parts.len() == 1 || (parts.len() == 2 && parts[1].len() == 1))
            });
            let mega = giga.map(|text| (text.parse::<f64>().unwrap() * 1000.0).round());
            let plain = mega.filter(|mega| *mega <= f64::from(u32::MAX));
            prop_assert_eq!(rate(&text).map(f64::from), plain);
        }

        #[test]
        fn guid_is_four_groups_of_four_digits(text in "[0-9a-fA-F]{3,4}(:[0-9a-fA-F]{4}){2,4}|\\PC*") {
            let digits: String = text.chars().filter(|c| *c != ':').collect();
            let form: String = text.chars().map(|c| if c.is_ascii_hexdigit() { 'x' } else { c }).collect();
            let plain = (form == "xxxx:xxxx:xxxx:xxxx").then(|| Guid(u64::from_str_radix(&digits, 16).unwrap()));
            prop_assert_eq!(text.parse::<Guid>().ok(), plain);
        }
    }

    #[test]
    fn texts_of_drivers_are_parsed() {
        assert_eq!(state("4: ACTIVE"), Some(PortState::Active));
        assert_eq!(state("9: ODD"), Some(PortState::Unknown(9)));
        assert_eq!(state("ACTIVE"), None);
        assert_eq!(state("+4: ACTIVE"), None);
        assert_eq!(rate("100 Gb/sec (4X EDR)"), Some(100_000));
        assert_eq!(rate("2.5 Gb/sec (1X SDR)"), Some(2500));
        for text in ["fast", "+100 Gb/sec", "2.50 Gb/sec", "2.x Gb/sec", "4294968 Gb/sec"] {
            assert_eq!(rate(text), None, "{text}");
        }
        assert_eq!("cd77:f833:0000:1001".parse(), Ok(Guid(0xcd77_f833_0000_1001)));
        assert!("cd77:f833:0000".parse::<Guid>().is_err());
    }
}
