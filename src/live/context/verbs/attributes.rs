//! Attributes and limits of an open EFA interface.

use std::fmt;

use nearfab_sys::verbs::{efadv_device_attr, ibv_device_attr, ibv_port_attr};

use crate::live::context::c_values::{numbers, text};
use crate::types::PortState;

/// Attributes and limits of a device, as `ibv_query_device` reports them.
///
/// Attributes of features that no EFA interface has (shared receive queues, memory windows, atomics) are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceAttributes {
    /// The firmware's version; `0.0.0.0` from every driver so far.
    pub firmware: String,
    /// The node's GUID, in host order; 0 from drivers before 2.12. The GUID does not show the device's PCI address in
    /// the guest.
    pub node_guid: u64,
    /// The GUID of the system image, in host order.
    pub system_image_guid: u64,
    /// The PCI vendor ID, 0x1d0f.
    pub vendor_id: u32,
    /// The PCI device ID, 0xefa0 to 0xefaf.
    pub part_id: u32,
    /// The hardware's version. EFA repeats the PCI device ID.
    pub hardware_version: u32,
    /// The largest memory region, in bytes.
    pub max_memory_region_size: u64,
    /// The page sizes that a memory region may have, in bytes: one bit each.
    pub page_sizes: u64,
    /// The most memory regions at a time, in all processes together.
    pub max_memory_regions: u32,
    /// The most protection domains at a time, in all processes together.
    pub max_protection_domains: u32,
    /// The most queue pairs at a time, in all processes together.
    pub max_queue_pairs: u32,
    /// The most outstanding work requests of a queue.
    pub max_work_requests: u32,
    /// The most memory segments of a work request.
    pub max_segments: u32,
    /// The most memory segments of an RDMA read.
    pub max_read_segments: u32,
    /// The most completion queues at a time, in all processes together.
    pub max_completion_queues: u32,
    /// The most entries of a completion queue.
    pub max_completions: u32,
    /// The most address handles at a time, in all processes together.
    pub max_address_handles: u32,
    /// The capabilities, by the bits of `ibv_device_cap_flags`.
    pub capability_flags: u32,
    /// The number of ports. An EFA interface has one port.
    pub ports: u8,
}

/// Attributes of a port, as `ibv_query_port` reports them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortAttributes {
    /// The logical state. Only an active port carries traffic.
    pub state: PortState,
    /// The state of the link.
    pub physical_state: PhysicalState,
    /// The largest MTU by InfiniBand's numbers. This MTU is not the size of EFA's packets: see `max_message_size`.
    pub max_mtu: Mtu,
    /// The MTU in use, by InfiniBand's numbers. This MTU is not the size of EFA's packets either.
    pub active_mtu: Mtu,
    /// The longest message in bytes. For EFA, the longest message is the payload of one packet, which is the true MTU
    /// (8928 was observed).
    pub max_message_size: u32,
    /// The lanes of the link. EFA's driver invents the width and the speed: it picks a pair near the true rate. Drivers
    /// before 2.13 always report the pair for 100 Gb/s.
    pub active_width: PortWidth,
    /// The speed of each lane.
    pub active_speed: PortSpeed,
    /// The kind of link. EFA's driver reports unspecified.
    pub link_layer: LinkLayer,
    /// The number of entries in the GID table. EFA has one entry.
    pub gid_table_length: u32,
    /// The number of entries in the partition key table. EFA has one entry.
    pub pkey_table_length: u16,
}

/// Attributes and limits that only EFA interfaces have, as `efadv_query_device` reports them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EfaAttributes {
    /// The most outstanding work requests of a send queue.
    pub max_send_requests: u32,
    /// The most outstanding work requests of a receive queue.
    pub max_receive_requests: u32,
    /// The most memory segments of a send.
    pub max_send_segments: u16,
    /// The most memory segments of a receive.
    pub max_receive_segments: u16,
    /// The most bytes that a send may carry inside its work request.
    pub max_inline: u16,
    /// The longest RDMA read or write, in bytes.
    pub max_rdma_size: u32,
    /// The features of the interface.
    pub capabilities: EfaCapabilities,
}

/// The features of an EFA interface: a set of bits. Unknown bits are kept.
///
/// A bit can be missing although the device has the feature: rdma-core before 46 (Debian 12 has 44) never reports
/// [`RDMA_WRITE`](Self::RDMA_WRITE).
///
/// ```
/// use nearfab::context::EfaCapabilities;
/// let capabilities = EfaCapabilities::from_bits(0x8000_0003);
/// assert!(capabilities.contains(EfaCapabilities::RDMA_READ));
/// assert!(!capabilities.contains(EfaCapabilities::RDMA_WRITE));
/// assert_eq!(capabilities.to_string(), "rdma_read rnr_retry 0x80000000");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EfaCapabilities(u32);

impl EfaCapabilities {
    /// RDMA read; reported since rdma-core 27.
    pub const RDMA_READ: Self = Self(1 << 0);
    /// The number of retries for a receiver that is not ready can be set; reported since rdma-core 32.
    pub const RNR_RETRY: Self = Self(1 << 1);
    /// Completions carry the sender's GID if its address is unknown; reported since rdma-core 43.
    pub const CQ_WITH_SGID: Self = Self(1 << 2);
    /// RDMA write; reported since rdma-core 46.
    pub const RDMA_WRITE: Self = Self(1 << 3);
    /// RDMA write with immediate that consumes no receive request; reported since rdma-core 52.
    pub const UNSOLICITED_WRITE_RECV: Self = Self(1 << 4);
    /// Completion queues in the caller's memory; reported since rdma-core 59.
    pub const CQ_WITH_EXT_MEM: Self = Self(1 << 5);
    /// Completion counters; reported since rdma-core 65.
    pub const COMPLETION_COUNTERS: Self = Self(1 << 6);

    const NAMES: &[(Self, &str)] = &[
        (Self::RDMA_READ, "rdma_read"),
        (Self::RNR_RETRY, "rnr_retry"),
        (Self::CQ_WITH_SGID, "cq_with_sgid"),
        (Self::RDMA_WRITE, "rdma_write"),
        (Self::UNSOLICITED_WRITE_RECV, "unsolicited_write_recv"),
        (Self::CQ_WITH_EXT_MEM, "cq_with_ext_mem"),
        (Self::COMPLETION_COUNTERS, "completion_counters"),
    ];

    /// Makes a set from the bits of `EFADV_DEVICE_ATTR_CAPS_*`.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Returns the bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Returns whether this set contains all of `other`.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Writes the names of the bits, and the bits without a name as one number.
impl fmt::Display for EfaCapabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut nameless = self.0;
        let mut gap = "";
        for &(bit, name) in Self::NAMES {
            if self.contains(bit) {
                write!(f, "{gap}{name}")?;
                nameless &= !bit.0;
                gap = " ";
            }
        }
        if nameless != 0 {
            write!(f, "{gap}{nameless:#x}")?;
        }
        Ok(())
    }
}

numbers! {
    /// The state of a port's link (`PortPhysicalState` of the InfiniBand specification).
    pub enum PhysicalState: u8;
    /// No state: the driver reports no changes.
    NoChange = 0,
    /// Asleep.
    Sleep = 1,
    /// Looking for the peer.
    Polling = 2,
    /// Switched off.
    Disabled = 3,
    /// Negotiating.
    Training = 4,
    /// Up.
    LinkUp = 5,
    /// Being repaired.
    ErrorRecovery = 6,
    /// Under test.
    Test = 7,
}

numbers! {
    /// The size of a packet's payload (`enum ibv_mtu`).
    pub enum Mtu: u32;
    /// 256 bytes.
    Bytes256 = 1,
    /// 512 bytes.
    Bytes512 = 2,
    /// 1024 bytes.
    Bytes1024 = 3,
    /// 2048 bytes.
    Bytes2048 = 4,
    /// 4096 bytes.
    Bytes4096 = 5,
}

numbers! {
    /// The number of lanes of a link (`LinkWidthActive` of the InfiniBand specification).
    pub enum PortWidth: u8;
    /// One lane.
    X1 = 1,
    /// Two lanes.
    X2 = 16,
    /// Four lanes.
    X4 = 2,
    /// Eight lanes.
    X8 = 4,
    /// Twelve lanes.
    X12 = 8,
}

numbers! {
    /// The speed of a lane (`LinkSpeedActive` of the InfiniBand specification).
    pub enum PortSpeed: u8;
    /// 2.5 Gb/s.
    Sdr = 1,
    /// 5 Gb/s.
    Ddr = 2,
    /// 10 Gb/s.
    Qdr = 4,
    /// 10 Gb/s, with the coding of FDR.
    Fdr10 = 8,
    /// 14 Gb/s.
    Fdr = 16,
    /// 25 Gb/s.
    Edr = 32,
    /// 50 Gb/s.
    Hdr = 64,
    /// 100 Gb/s.
    Ndr = 128,
}

numbers! {
    /// The kind of a link (`IBV_LINK_LAYER_*`).
    pub enum LinkLayer: u8;
    /// Neither InfiniBand nor Ethernet. EFA's driver reports this kind.
    Unspecified = 0,
    /// InfiniBand.
    InfiniBand = 1,
    /// Ethernet.
    Ethernet = 2,
}

impl DeviceAttributes {
    /// Converts the library's structure. The limits are `int` in the library, and unsigned in the kernel's interface.
    pub(super) fn from_raw(raw: &ibv_device_attr) -> Self {
        Self {
            firmware: text(&raw.fw_ver),
            node_guid: u64::from_be(raw.node_guid),
            system_image_guid: u64::from_be(raw.sys_image_guid),
            vendor_id: raw.vendor_id,
            part_id: raw.vendor_part_id,
            hardware_version: raw.hw_ver,
            max_memory_region_size: raw.max_mr_size,
            page_sizes: raw.page_size_cap,
            max_memory_regions: raw.max_mr.cast_unsigned(),
            max_protection_domains: raw.max_pd.cast_unsigned(),
            max_queue_pairs: raw.max_qp.cast_unsigned(),
            max_work_requests: raw.max_qp_wr.cast_unsigned(),
            max_segments: raw.max_sge.cast_unsigned(),
            max_read_segments: raw.max_sge_rd.cast_unsigned(),
            max_completion_queues: raw.max_cq.cast_unsigned(),
            max_completions: raw.max_cqe.cast_unsigned(),
            max_address_handles: raw.max_ah.cast_unsigned(),
            capability_flags: raw.device_cap_flags,
            ports: raw.phys_port_cnt,
        }
    }
}

impl PortAttributes {
    pub(super) fn from_raw(raw: &ibv_port_attr) -> Self {
        Self {
            state: raw.state.into(),
            physical_state: raw.phys_state.into(),
            max_mtu: raw.max_mtu.into(),
            active_mtu: raw.active_mtu.into(),
            max_message_size: raw.max_msg_sz,
            active_width: raw.active_width.into(),
            active_speed: raw.active_speed.into(),
            link_layer: raw.link_layer.into(),
            gid_table_length: raw.gid_tbl_len.cast_unsigned(),
            pkey_table_length: raw.pkey_tbl_len,
        }
    }
}

impl EfaAttributes {
    pub(super) fn from_raw(raw: &efadv_device_attr) -> Self {
        Self {
            max_send_requests: raw.max_sq_wr,
            max_receive_requests: raw.max_rq_wr,
            max_send_segments: raw.max_sq_sge,
            max_receive_segments: raw.max_rq_sge,
            max_inline: raw.inline_buf_size,
            max_rdma_size: raw.max_rdma_size,
            capabilities: EfaCapabilities::from_bits(raw.device_caps),
        }
    }
}

#[cfg(test)]
mod tests {
    use nearfab_sys::verbs;

    use super::*;

    #[test]
    fn capability_bits_match_the_headers() {
        assert_eq!(EfaCapabilities::RDMA_READ.bits(), verbs::EFADV_DEVICE_ATTR_CAPS_RDMA_READ);
        assert_eq!(EfaCapabilities::RNR_RETRY.bits(), verbs::EFADV_DEVICE_ATTR_CAPS_RNR_RETRY);
        assert_eq!(EfaCapabilities::CQ_WITH_SGID.bits(), verbs::EFADV_DEVICE_ATTR_CAPS_CQ_WITH_SGID);
    }

    #[test]
    fn numbers_match_the_headers_and_unknown_numbers_are_kept() {
        assert_eq!(PortState::from(verbs::IBV_PORT_NOP), PortState::NoChange);
        assert_eq!(PortState::from(verbs::IBV_PORT_ACTIVE), PortState::Active);
        assert_eq!(PortState::from(verbs::IBV_PORT_ACTIVE_DEFER), PortState::ActiveDefer);
        assert_eq!(PortState::from(77), PortState::Unknown(77));
        assert_eq!(Mtu::from(verbs::IBV_MTU_256), Mtu::Bytes256);
        assert_eq!(Mtu::from(verbs::IBV_MTU_4096), Mtu::Bytes4096);
        assert_eq!(LinkLayer::from(250), LinkLayer::Unknown(250));
    }

    #[test]
    fn a_text_without_a_zero_byte_ends_with_its_field() {
        let field = [b'1', b'.', b'2', 0, b'x'].map(u8::cast_signed);
        assert_eq!(text(&field), "1.2");
        assert_eq!(text(&field[..3]), "1.2");
    }
}
