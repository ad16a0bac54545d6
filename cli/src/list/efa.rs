//! The table of EFA interfaces.

use std::io::{self, Write};

use nearfab::{Basis, EfaInterface, Host, Port};

use super::place;
use crate::evidence::{EvidenceLine, Nearest};
use crate::table::{Table, or_unknown};

pub(super) fn write(host: &Host, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    if host.efa_interfaces().is_empty() {
        return Ok(());
    }
    let mut table = Table::of(host.efa_interfaces());
    table.add("EFA", |efa| efa.address().to_string());
    table.add("RDMA", |efa| or_unknown(efa.rdma.as_ref()));
    table.add("NODE", |efa| match wide {
        true => or_unknown(efa.node()),
        false => or_unknown(efa.uverbs.map(|number| format!("uverbs{number}"))),
    });
    table.add("GEN", |efa| format!("efa{:x}", efa.generation()));
    place(&mut table, wide, |efa| Some(&efa.function));
    table.add("NEAR DEVICE", |efa| or_unknown(near(host, efa).map(|near| near.targets)));
    if wide {
        table.add("NEAR BY", |efa| or_unknown(near(host, efa).map(|near| near.evidence)));
    }
    table.add("PORT", |efa| or_unknown(efa.port.as_ref().and_then(|port| port.state)));
    table.add("RATE", |efa| or_unknown(efa.port.as_ref().and_then(rate)));
    if wide {
        table.add("GUID", |efa| or_unknown(efa.node_guid));
        table.add("GID", |efa| or_unknown(efa.port.as_ref().and_then(|port| port.gid)));
        table.add("P2P", |efa| {
            or_unknown(efa.p2p.as_deref().map(|provider| if provider.is_empty() { "none" } else { provider }))
        });
        table.add("FIRMWARE", |efa| or_unknown(efa.firmware.as_ref()));
    }
    table.add("ACCESS", |efa| host.efa_usability(efa).to_string());
    writeln!(out)?;
    table.write(out)?;
    if wide { Ok(()) } else { evidence(host, out) }
}

fn evidence(host: &Host, out: &mut dyn Write) -> io::Result<()> {
    let mut evidence = EvidenceLine::default();
    for efa in host.efa_interfaces() {
        if let Some(near) = near(host, efa) {
            evidence.add(near.evidence, efa.address());
        }
    }
    evidence.write("NEAR DEVICE by", out)
}

/// Returns the nearest Neuron devices. If no nearest Neuron device is known, returns the nearest PCI functions of
/// Neuron devices and GPUs.
fn near(host: &Host, efa: &EfaInterface) -> Option<Nearest> {
    let devices = host.near_efa(efa.address(), Basis::Pairing).ok()?;
    Nearest::of(devices.nearest_by_rank())
        .or_else(|| Nearest::of(host.functions_near_efa(efa.address()).ok()?.nearest_by_rank()))
}

fn rate(port: &Port) -> Option<String> {
    let mbps = port.rate_mbps?;
    let (whole, tenths) = (mbps / 1000, mbps % 1000 / 100);
    Some(if tenths == 0 { format!("{whole} Gb/s") } else { format!("{whole}.{tenths} Gb/s") })
}
