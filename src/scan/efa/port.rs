//! The port of an EFA interface, and the GUID of its node.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use crate::error::Problems;
use crate::scan::root::Folder;
use crate::types::{PortState, number};

/// The port of an RDMA device, as far as sysfs shows it. Each part is `None` where the host does not show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its state. The efa driver says active whenever the device works.
    pub state: Option<PortState>,
    /// Its rate in Mb/s as the driver says it. Drivers before 2.13 say 100000 of every device: no bandwidth and no
    /// generation can be told from it.
    pub rate_mbps: Option<u32>,
    /// Its only GID, a link-local address.
    pub gid: Option<Ipv6Addr>,
}

/// From the folder of the RDMA device.
pub(super) fn read(problems: &mut Problems, folder: &Folder<'_>) -> Option<Port> {
    let state = folder.parse("ports/1/state", "a port state such as 4: ACTIVE", state);
    let rate = folder.parse("ports/1/rate", "a rate such as 100 Gb/sec (4X EDR)", rate);
    let gid = folder.parse("ports/1/gids/0", "a GID of eight groups", |text| text.parse().ok());
    let (state, rate_mbps, gid) =
        (problems.take(state).flatten(), problems.take(rate).flatten(), problems.take(gid).flatten());
    let shown = state.is_some() || rate_mbps.is_some() || gid.is_some();
    shown.then_some(Port { state, rate_mbps, gid })
}

/// `4: ACTIVE`.
fn state(text: &str) -> Option<PortState> {
    number::<u32>(text.split(':').next()?).map(PortState::from)
}

/// `100 Gb/sec (4X EDR)`, `2.5 Gb/sec (1X SDR)`; in Mb/s.
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
        fn no_text_panics(text in "\\PC*") {
            let _ = (state(&text), rate(&text), text.parse::<Guid>());
        }
    }

    #[test]
    fn what_drivers_write_is_read() {
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
