// Made by `cargo xtask generate` from libibverbs 1.14.44.0 and libefa 1.2.44.0; the last number is rdma-core's. Do not edit.
use crate::objects::{ibv_comp_channel, ibv_context, ibv_cq, ibv_device, ibv_pd, ibv_qp, ibv_srq, ibv_wq};

pub type __u64 = ::core::ffi::c_ulonglong;
pub type __be64 = __u64;
#[repr(C)]
#[derive(Copy, Clone)]
pub union ibv_gid {
    pub raw: [u8; 16usize],
    pub global: ibv_gid__bindgen_ty_1,
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct ibv_gid__bindgen_ty_1 {
    pub subnet_prefix: __be64,
    pub interface_id: __be64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of ibv_gid__bindgen_ty_1",
    ][::core::mem::size_of::<ibv_gid__bindgen_ty_1>() - 16usize];
    [
        "Alignment of ibv_gid__bindgen_ty_1",
    ][::core::mem::align_of::<ibv_gid__bindgen_ty_1>() - 8usize];
    [
        "Offset of field: ibv_gid__bindgen_ty_1::subnet_prefix",
    ][::core::mem::offset_of!(ibv_gid__bindgen_ty_1, subnet_prefix) - 0usize];
    [
        "Offset of field: ibv_gid__bindgen_ty_1::interface_id",
    ][::core::mem::offset_of!(ibv_gid__bindgen_ty_1, interface_id) - 8usize];
};
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ibv_gid"][::core::mem::size_of::<ibv_gid>() - 16usize];
    ["Alignment of ibv_gid"][::core::mem::align_of::<ibv_gid>() - 8usize];
    ["Offset of field: ibv_gid::raw"][::core::mem::offset_of!(ibv_gid, raw) - 0usize];
    [
        "Offset of field: ibv_gid::global",
    ][::core::mem::offset_of!(ibv_gid, global) - 0usize];
};
impl Default for ibv_gid {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_ATOMIC_NONE: ibv_atomic_cap = 0;
pub const IBV_ATOMIC_HCA: ibv_atomic_cap = 1;
pub const IBV_ATOMIC_GLOB: ibv_atomic_cap = 2;
pub type ibv_atomic_cap = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ibv_device_attr {
    pub fw_ver: [::core::ffi::c_char; 64usize],
    pub node_guid: __be64,
    pub sys_image_guid: __be64,
    pub max_mr_size: u64,
    pub page_size_cap: u64,
    pub vendor_id: u32,
    pub vendor_part_id: u32,
    pub hw_ver: u32,
    pub max_qp: ::core::ffi::c_int,
    pub max_qp_wr: ::core::ffi::c_int,
    pub device_cap_flags: ::core::ffi::c_uint,
    pub max_sge: ::core::ffi::c_int,
    pub max_sge_rd: ::core::ffi::c_int,
    pub max_cq: ::core::ffi::c_int,
    pub max_cqe: ::core::ffi::c_int,
    pub max_mr: ::core::ffi::c_int,
    pub max_pd: ::core::ffi::c_int,
    pub max_qp_rd_atom: ::core::ffi::c_int,
    pub max_ee_rd_atom: ::core::ffi::c_int,
    pub max_res_rd_atom: ::core::ffi::c_int,
    pub max_qp_init_rd_atom: ::core::ffi::c_int,
    pub max_ee_init_rd_atom: ::core::ffi::c_int,
    pub atomic_cap: ibv_atomic_cap,
    pub max_ee: ::core::ffi::c_int,
    pub max_rdd: ::core::ffi::c_int,
    pub max_mw: ::core::ffi::c_int,
    pub max_raw_ipv6_qp: ::core::ffi::c_int,
    pub max_raw_ethy_qp: ::core::ffi::c_int,
    pub max_mcast_grp: ::core::ffi::c_int,
    pub max_mcast_qp_attach: ::core::ffi::c_int,
    pub max_total_mcast_qp_attach: ::core::ffi::c_int,
    pub max_ah: ::core::ffi::c_int,
    pub max_fmr: ::core::ffi::c_int,
    pub max_map_per_fmr: ::core::ffi::c_int,
    pub max_srq: ::core::ffi::c_int,
    pub max_srq_wr: ::core::ffi::c_int,
    pub max_srq_sge: ::core::ffi::c_int,
    pub max_pkeys: u16,
    pub local_ca_ack_delay: u8,
    pub phys_port_cnt: u8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ibv_device_attr"][::core::mem::size_of::<ibv_device_attr>() - 232usize];
    [
        "Alignment of ibv_device_attr",
    ][::core::mem::align_of::<ibv_device_attr>() - 8usize];
    [
        "Offset of field: ibv_device_attr::fw_ver",
    ][::core::mem::offset_of!(ibv_device_attr, fw_ver) - 0usize];
    [
        "Offset of field: ibv_device_attr::node_guid",
    ][::core::mem::offset_of!(ibv_device_attr, node_guid) - 64usize];
    [
        "Offset of field: ibv_device_attr::sys_image_guid",
    ][::core::mem::offset_of!(ibv_device_attr, sys_image_guid) - 72usize];
    [
        "Offset of field: ibv_device_attr::max_mr_size",
    ][::core::mem::offset_of!(ibv_device_attr, max_mr_size) - 80usize];
    [
        "Offset of field: ibv_device_attr::page_size_cap",
    ][::core::mem::offset_of!(ibv_device_attr, page_size_cap) - 88usize];
    [
        "Offset of field: ibv_device_attr::vendor_id",
    ][::core::mem::offset_of!(ibv_device_attr, vendor_id) - 96usize];
    [
        "Offset of field: ibv_device_attr::vendor_part_id",
    ][::core::mem::offset_of!(ibv_device_attr, vendor_part_id) - 100usize];
    [
        "Offset of field: ibv_device_attr::hw_ver",
    ][::core::mem::offset_of!(ibv_device_attr, hw_ver) - 104usize];
    [
        "Offset of field: ibv_device_attr::max_qp",
    ][::core::mem::offset_of!(ibv_device_attr, max_qp) - 108usize];
    [
        "Offset of field: ibv_device_attr::max_qp_wr",
    ][::core::mem::offset_of!(ibv_device_attr, max_qp_wr) - 112usize];
    [
        "Offset of field: ibv_device_attr::device_cap_flags",
    ][::core::mem::offset_of!(ibv_device_attr, device_cap_flags) - 116usize];
    [
        "Offset of field: ibv_device_attr::max_sge",
    ][::core::mem::offset_of!(ibv_device_attr, max_sge) - 120usize];
    [
        "Offset of field: ibv_device_attr::max_sge_rd",
    ][::core::mem::offset_of!(ibv_device_attr, max_sge_rd) - 124usize];
    [
        "Offset of field: ibv_device_attr::max_cq",
    ][::core::mem::offset_of!(ibv_device_attr, max_cq) - 128usize];
    [
        "Offset of field: ibv_device_attr::max_cqe",
    ][::core::mem::offset_of!(ibv_device_attr, max_cqe) - 132usize];
    [
        "Offset of field: ibv_device_attr::max_mr",
    ][::core::mem::offset_of!(ibv_device_attr, max_mr) - 136usize];
    [
        "Offset of field: ibv_device_attr::max_pd",
    ][::core::mem::offset_of!(ibv_device_attr, max_pd) - 140usize];
    [
        "Offset of field: ibv_device_attr::max_qp_rd_atom",
    ][::core::mem::offset_of!(ibv_device_attr, max_qp_rd_atom) - 144usize];
    [
        "Offset of field: ibv_device_attr::max_ee_rd_atom",
    ][::core::mem::offset_of!(ibv_device_attr, max_ee_rd_atom) - 148usize];
    [
        "Offset of field: ibv_device_attr::max_res_rd_atom",
    ][::core::mem::offset_of!(ibv_device_attr, max_res_rd_atom) - 152usize];
    [
        "Offset of field: ibv_device_attr::max_qp_init_rd_atom",
    ][::core::mem::offset_of!(ibv_device_attr, max_qp_init_rd_atom) - 156usize];
    [
        "Offset of field: ibv_device_attr::max_ee_init_rd_atom",
    ][::core::mem::offset_of!(ibv_device_attr, max_ee_init_rd_atom) - 160usize];
    [
        "Offset of field: ibv_device_attr::atomic_cap",
    ][::core::mem::offset_of!(ibv_device_attr, atomic_cap) - 164usize];
    [
        "Offset of field: ibv_device_attr::max_ee",
    ][::core::mem::offset_of!(ibv_device_attr, max_ee) - 168usize];
    [
        "Offset of field: ibv_device_attr::max_rdd",
    ][::core::mem::offset_of!(ibv_device_attr, max_rdd) - 172usize];
    [
        "Offset of field: ibv_device_attr::max_mw",
    ][::core::mem::offset_of!(ibv_device_attr, max_mw) - 176usize];
    [
        "Offset of field: ibv_device_attr::max_raw_ipv6_qp",
    ][::core::mem::offset_of!(ibv_device_attr, max_raw_ipv6_qp) - 180usize];
    [
        "Offset of field: ibv_device_attr::max_raw_ethy_qp",
    ][::core::mem::offset_of!(ibv_device_attr, max_raw_ethy_qp) - 184usize];
    [
        "Offset of field: ibv_device_attr::max_mcast_grp",
    ][::core::mem::offset_of!(ibv_device_attr, max_mcast_grp) - 188usize];
    [
        "Offset of field: ibv_device_attr::max_mcast_qp_attach",
    ][::core::mem::offset_of!(ibv_device_attr, max_mcast_qp_attach) - 192usize];
    [
        "Offset of field: ibv_device_attr::max_total_mcast_qp_attach",
    ][::core::mem::offset_of!(ibv_device_attr, max_total_mcast_qp_attach) - 196usize];
    [
        "Offset of field: ibv_device_attr::max_ah",
    ][::core::mem::offset_of!(ibv_device_attr, max_ah) - 200usize];
    [
        "Offset of field: ibv_device_attr::max_fmr",
    ][::core::mem::offset_of!(ibv_device_attr, max_fmr) - 204usize];
    [
        "Offset of field: ibv_device_attr::max_map_per_fmr",
    ][::core::mem::offset_of!(ibv_device_attr, max_map_per_fmr) - 208usize];
    [
        "Offset of field: ibv_device_attr::max_srq",
    ][::core::mem::offset_of!(ibv_device_attr, max_srq) - 212usize];
    [
        "Offset of field: ibv_device_attr::max_srq_wr",
    ][::core::mem::offset_of!(ibv_device_attr, max_srq_wr) - 216usize];
    [
        "Offset of field: ibv_device_attr::max_srq_sge",
    ][::core::mem::offset_of!(ibv_device_attr, max_srq_sge) - 220usize];
    [
        "Offset of field: ibv_device_attr::max_pkeys",
    ][::core::mem::offset_of!(ibv_device_attr, max_pkeys) - 224usize];
    [
        "Offset of field: ibv_device_attr::local_ca_ack_delay",
    ][::core::mem::offset_of!(ibv_device_attr, local_ca_ack_delay) - 226usize];
    [
        "Offset of field: ibv_device_attr::phys_port_cnt",
    ][::core::mem::offset_of!(ibv_device_attr, phys_port_cnt) - 227usize];
};
impl Default for ibv_device_attr {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_MTU_256: ibv_mtu = 1;
pub const IBV_MTU_512: ibv_mtu = 2;
pub const IBV_MTU_1024: ibv_mtu = 3;
pub const IBV_MTU_2048: ibv_mtu = 4;
pub const IBV_MTU_4096: ibv_mtu = 5;
pub type ibv_mtu = ::core::ffi::c_uint;
pub const IBV_PORT_NOP: ibv_port_state = 0;
pub const IBV_PORT_DOWN: ibv_port_state = 1;
pub const IBV_PORT_INIT: ibv_port_state = 2;
pub const IBV_PORT_ARMED: ibv_port_state = 3;
pub const IBV_PORT_ACTIVE: ibv_port_state = 4;
pub const IBV_PORT_ACTIVE_DEFER: ibv_port_state = 5;
pub type ibv_port_state = ::core::ffi::c_uint;
pub const IBV_LINK_LAYER_UNSPECIFIED: _bindgen_ty_13 = 0;
pub const IBV_LINK_LAYER_INFINIBAND: _bindgen_ty_13 = 1;
pub const IBV_LINK_LAYER_ETHERNET: _bindgen_ty_13 = 2;
pub type _bindgen_ty_13 = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ibv_port_attr {
    pub state: ibv_port_state,
    pub max_mtu: ibv_mtu,
    pub active_mtu: ibv_mtu,
    pub gid_tbl_len: ::core::ffi::c_int,
    pub port_cap_flags: u32,
    pub max_msg_sz: u32,
    pub bad_pkey_cntr: u32,
    pub qkey_viol_cntr: u32,
    pub pkey_tbl_len: u16,
    pub lid: u16,
    pub sm_lid: u16,
    pub lmc: u8,
    pub max_vl_num: u8,
    pub sm_sl: u8,
    pub subnet_timeout: u8,
    pub init_type_reply: u8,
    pub active_width: u8,
    pub active_speed: u8,
    pub phys_state: u8,
    pub link_layer: u8,
    pub flags: u8,
    pub port_cap_flags2: u16,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ibv_port_attr"][::core::mem::size_of::<ibv_port_attr>() - 52usize];
    ["Alignment of ibv_port_attr"][::core::mem::align_of::<ibv_port_attr>() - 4usize];
    [
        "Offset of field: ibv_port_attr::state",
    ][::core::mem::offset_of!(ibv_port_attr, state) - 0usize];
    [
        "Offset of field: ibv_port_attr::max_mtu",
    ][::core::mem::offset_of!(ibv_port_attr, max_mtu) - 4usize];
    [
        "Offset of field: ibv_port_attr::active_mtu",
    ][::core::mem::offset_of!(ibv_port_attr, active_mtu) - 8usize];
    [
        "Offset of field: ibv_port_attr::gid_tbl_len",
    ][::core::mem::offset_of!(ibv_port_attr, gid_tbl_len) - 12usize];
    [
        "Offset of field: ibv_port_attr::port_cap_flags",
    ][::core::mem::offset_of!(ibv_port_attr, port_cap_flags) - 16usize];
    [
        "Offset of field: ibv_port_attr::max_msg_sz",
    ][::core::mem::offset_of!(ibv_port_attr, max_msg_sz) - 20usize];
    [
        "Offset of field: ibv_port_attr::bad_pkey_cntr",
    ][::core::mem::offset_of!(ibv_port_attr, bad_pkey_cntr) - 24usize];
    [
        "Offset of field: ibv_port_attr::qkey_viol_cntr",
    ][::core::mem::offset_of!(ibv_port_attr, qkey_viol_cntr) - 28usize];
    [
        "Offset of field: ibv_port_attr::pkey_tbl_len",
    ][::core::mem::offset_of!(ibv_port_attr, pkey_tbl_len) - 32usize];
    [
        "Offset of field: ibv_port_attr::lid",
    ][::core::mem::offset_of!(ibv_port_attr, lid) - 34usize];
    [
        "Offset of field: ibv_port_attr::sm_lid",
    ][::core::mem::offset_of!(ibv_port_attr, sm_lid) - 36usize];
    [
        "Offset of field: ibv_port_attr::lmc",
    ][::core::mem::offset_of!(ibv_port_attr, lmc) - 38usize];
    [
        "Offset of field: ibv_port_attr::max_vl_num",
    ][::core::mem::offset_of!(ibv_port_attr, max_vl_num) - 39usize];
    [
        "Offset of field: ibv_port_attr::sm_sl",
    ][::core::mem::offset_of!(ibv_port_attr, sm_sl) - 40usize];
    [
        "Offset of field: ibv_port_attr::subnet_timeout",
    ][::core::mem::offset_of!(ibv_port_attr, subnet_timeout) - 41usize];
    [
        "Offset of field: ibv_port_attr::init_type_reply",
    ][::core::mem::offset_of!(ibv_port_attr, init_type_reply) - 42usize];
    [
        "Offset of field: ibv_port_attr::active_width",
    ][::core::mem::offset_of!(ibv_port_attr, active_width) - 43usize];
    [
        "Offset of field: ibv_port_attr::active_speed",
    ][::core::mem::offset_of!(ibv_port_attr, active_speed) - 44usize];
    [
        "Offset of field: ibv_port_attr::phys_state",
    ][::core::mem::offset_of!(ibv_port_attr, phys_state) - 45usize];
    [
        "Offset of field: ibv_port_attr::link_layer",
    ][::core::mem::offset_of!(ibv_port_attr, link_layer) - 46usize];
    [
        "Offset of field: ibv_port_attr::flags",
    ][::core::mem::offset_of!(ibv_port_attr, flags) - 47usize];
    [
        "Offset of field: ibv_port_attr::port_cap_flags2",
    ][::core::mem::offset_of!(ibv_port_attr, port_cap_flags2) - 48usize];
};
impl Default for ibv_port_attr {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_EVENT_CQ_ERR: ibv_event_type = 0;
pub const IBV_EVENT_QP_FATAL: ibv_event_type = 1;
pub const IBV_EVENT_QP_REQ_ERR: ibv_event_type = 2;
pub const IBV_EVENT_QP_ACCESS_ERR: ibv_event_type = 3;
pub const IBV_EVENT_COMM_EST: ibv_event_type = 4;
pub const IBV_EVENT_SQ_DRAINED: ibv_event_type = 5;
pub const IBV_EVENT_PATH_MIG: ibv_event_type = 6;
pub const IBV_EVENT_PATH_MIG_ERR: ibv_event_type = 7;
pub const IBV_EVENT_DEVICE_FATAL: ibv_event_type = 8;
pub const IBV_EVENT_PORT_ACTIVE: ibv_event_type = 9;
pub const IBV_EVENT_PORT_ERR: ibv_event_type = 10;
pub const IBV_EVENT_LID_CHANGE: ibv_event_type = 11;
pub const IBV_EVENT_PKEY_CHANGE: ibv_event_type = 12;
pub const IBV_EVENT_SM_CHANGE: ibv_event_type = 13;
pub const IBV_EVENT_SRQ_ERR: ibv_event_type = 14;
pub const IBV_EVENT_SRQ_LIMIT_REACHED: ibv_event_type = 15;
pub const IBV_EVENT_QP_LAST_WQE_REACHED: ibv_event_type = 16;
pub const IBV_EVENT_CLIENT_REREGISTER: ibv_event_type = 17;
pub const IBV_EVENT_GID_CHANGE: ibv_event_type = 18;
pub const IBV_EVENT_WQ_FATAL: ibv_event_type = 19;
pub type ibv_event_type = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct ibv_async_event {
    pub element: ibv_async_event__bindgen_ty_1,
    pub event_type: ibv_event_type,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union ibv_async_event__bindgen_ty_1 {
    pub cq: *mut ibv_cq,
    pub qp: *mut ibv_qp,
    pub srq: *mut ibv_srq,
    pub wq: *mut ibv_wq,
    pub port_num: ::core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of ibv_async_event__bindgen_ty_1",
    ][::core::mem::size_of::<ibv_async_event__bindgen_ty_1>() - 8usize];
    [
        "Alignment of ibv_async_event__bindgen_ty_1",
    ][::core::mem::align_of::<ibv_async_event__bindgen_ty_1>() - 8usize];
    [
        "Offset of field: ibv_async_event__bindgen_ty_1::cq",
    ][::core::mem::offset_of!(ibv_async_event__bindgen_ty_1, cq) - 0usize];
    [
        "Offset of field: ibv_async_event__bindgen_ty_1::qp",
    ][::core::mem::offset_of!(ibv_async_event__bindgen_ty_1, qp) - 0usize];
    [
        "Offset of field: ibv_async_event__bindgen_ty_1::srq",
    ][::core::mem::offset_of!(ibv_async_event__bindgen_ty_1, srq) - 0usize];
    [
        "Offset of field: ibv_async_event__bindgen_ty_1::wq",
    ][::core::mem::offset_of!(ibv_async_event__bindgen_ty_1, wq) - 0usize];
    [
        "Offset of field: ibv_async_event__bindgen_ty_1::port_num",
    ][::core::mem::offset_of!(ibv_async_event__bindgen_ty_1, port_num) - 0usize];
};
impl Default for ibv_async_event__bindgen_ty_1 {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ibv_async_event"][::core::mem::size_of::<ibv_async_event>() - 16usize];
    [
        "Alignment of ibv_async_event",
    ][::core::mem::align_of::<ibv_async_event>() - 8usize];
    [
        "Offset of field: ibv_async_event::element",
    ][::core::mem::offset_of!(ibv_async_event, element) - 0usize];
    [
        "Offset of field: ibv_async_event::event_type",
    ][::core::mem::offset_of!(ibv_async_event, event_type) - 8usize];
};
impl Default for ibv_async_event {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_ACCESS_LOCAL_WRITE: ibv_access_flags = 1;
pub const IBV_ACCESS_REMOTE_WRITE: ibv_access_flags = 2;
pub const IBV_ACCESS_REMOTE_READ: ibv_access_flags = 4;
pub const IBV_ACCESS_REMOTE_ATOMIC: ibv_access_flags = 8;
pub const IBV_ACCESS_MW_BIND: ibv_access_flags = 16;
pub const IBV_ACCESS_ZERO_BASED: ibv_access_flags = 32;
pub const IBV_ACCESS_ON_DEMAND: ibv_access_flags = 64;
pub const IBV_ACCESS_HUGETLB: ibv_access_flags = 128;
pub const IBV_ACCESS_RELAXED_ORDERING: ibv_access_flags = 1048576;
pub type ibv_access_flags = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ibv_mr {
    pub context: *mut ibv_context,
    pub pd: *mut ibv_pd,
    pub addr: *mut ::core::ffi::c_void,
    pub length: usize,
    pub handle: u32,
    pub lkey: u32,
    pub rkey: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ibv_mr"][::core::mem::size_of::<ibv_mr>() - 48usize];
    ["Alignment of ibv_mr"][::core::mem::align_of::<ibv_mr>() - 8usize];
    [
        "Offset of field: ibv_mr::context",
    ][::core::mem::offset_of!(ibv_mr, context) - 0usize];
    ["Offset of field: ibv_mr::pd"][::core::mem::offset_of!(ibv_mr, pd) - 8usize];
    ["Offset of field: ibv_mr::addr"][::core::mem::offset_of!(ibv_mr, addr) - 16usize];
    [
        "Offset of field: ibv_mr::length",
    ][::core::mem::offset_of!(ibv_mr, length) - 24usize];
    [
        "Offset of field: ibv_mr::handle",
    ][::core::mem::offset_of!(ibv_mr, handle) - 32usize];
    ["Offset of field: ibv_mr::lkey"][::core::mem::offset_of!(ibv_mr, lkey) - 36usize];
    ["Offset of field: ibv_mr::rkey"][::core::mem::offset_of!(ibv_mr, rkey) - 40usize];
};
impl Default for ibv_mr {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const IBV_QPT_RC: ibv_qp_type = 2;
pub const IBV_QPT_UC: ibv_qp_type = 3;
pub const IBV_QPT_UD: ibv_qp_type = 4;
pub const IBV_QPT_RAW_PACKET: ibv_qp_type = 8;
pub const IBV_QPT_XRC_SEND: ibv_qp_type = 9;
pub const IBV_QPT_XRC_RECV: ibv_qp_type = 10;
pub const IBV_QPT_DRIVER: ibv_qp_type = 255;
pub type ibv_qp_type = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct ibv_qp_cap {
    pub max_send_wr: u32,
    pub max_recv_wr: u32,
    pub max_send_sge: u32,
    pub max_recv_sge: u32,
    pub max_inline_data: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ibv_qp_cap"][::core::mem::size_of::<ibv_qp_cap>() - 20usize];
    ["Alignment of ibv_qp_cap"][::core::mem::align_of::<ibv_qp_cap>() - 4usize];
    [
        "Offset of field: ibv_qp_cap::max_send_wr",
    ][::core::mem::offset_of!(ibv_qp_cap, max_send_wr) - 0usize];
    [
        "Offset of field: ibv_qp_cap::max_recv_wr",
    ][::core::mem::offset_of!(ibv_qp_cap, max_recv_wr) - 4usize];
    [
        "Offset of field: ibv_qp_cap::max_send_sge",
    ][::core::mem::offset_of!(ibv_qp_cap, max_send_sge) - 8usize];
    [
        "Offset of field: ibv_qp_cap::max_recv_sge",
    ][::core::mem::offset_of!(ibv_qp_cap, max_recv_sge) - 12usize];
    [
        "Offset of field: ibv_qp_cap::max_inline_data",
    ][::core::mem::offset_of!(ibv_qp_cap, max_inline_data) - 16usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct ibv_qp_init_attr {
    pub qp_context: *mut ::core::ffi::c_void,
    pub send_cq: *mut ibv_cq,
    pub recv_cq: *mut ibv_cq,
    pub srq: *mut ibv_srq,
    pub cap: ibv_qp_cap,
    pub qp_type: ibv_qp_type,
    pub sq_sig_all: ::core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of ibv_qp_init_attr"][::core::mem::size_of::<ibv_qp_init_attr>() - 64usize];
    [
        "Alignment of ibv_qp_init_attr",
    ][::core::mem::align_of::<ibv_qp_init_attr>() - 8usize];
    [
        "Offset of field: ibv_qp_init_attr::qp_context",
    ][::core::mem::offset_of!(ibv_qp_init_attr, qp_context) - 0usize];
    [
        "Offset of field: ibv_qp_init_attr::send_cq",
    ][::core::mem::offset_of!(ibv_qp_init_attr, send_cq) - 8usize];
    [
        "Offset of field: ibv_qp_init_attr::recv_cq",
    ][::core::mem::offset_of!(ibv_qp_init_attr, recv_cq) - 16usize];
    [
        "Offset of field: ibv_qp_init_attr::srq",
    ][::core::mem::offset_of!(ibv_qp_init_attr, srq) - 24usize];
    [
        "Offset of field: ibv_qp_init_attr::cap",
    ][::core::mem::offset_of!(ibv_qp_init_attr, cap) - 32usize];
    [
        "Offset of field: ibv_qp_init_attr::qp_type",
    ][::core::mem::offset_of!(ibv_qp_init_attr, qp_type) - 52usize];
    [
        "Offset of field: ibv_qp_init_attr::sq_sig_all",
    ][::core::mem::offset_of!(ibv_qp_init_attr, sq_sig_all) - 56usize];
};
impl Default for ibv_qp_init_attr {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug)]
pub struct _compat_ibv_port_attr {
    _unused: [u8; 0],
}
unsafe extern "C" {
    pub fn ibv_get_device_list(
        num_devices: *mut ::core::ffi::c_int,
    ) -> *mut *mut ibv_device;
}
unsafe extern "C" {
    pub fn ibv_free_device_list(list: *mut *mut ibv_device);
}
unsafe extern "C" {
    pub fn ibv_get_device_name(device: *mut ibv_device) -> *const ::core::ffi::c_char;
}
unsafe extern "C" {
    pub fn ibv_open_device(device: *mut ibv_device) -> *mut ibv_context;
}
unsafe extern "C" {
    pub fn ibv_close_device(context: *mut ibv_context) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    pub fn ibv_get_async_event(
        context: *mut ibv_context,
        event: *mut ibv_async_event,
    ) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    pub fn ibv_ack_async_event(event: *mut ibv_async_event);
}
unsafe extern "C" {
    pub fn ibv_query_device(
        context: *mut ibv_context,
        device_attr: *mut ibv_device_attr,
    ) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    pub fn ibv_query_port(
        context: *mut ibv_context,
        port_num: u8,
        port_attr: *mut _compat_ibv_port_attr,
    ) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    pub fn ibv_query_gid(
        context: *mut ibv_context,
        port_num: u8,
        index: ::core::ffi::c_int,
        gid: *mut ibv_gid,
    ) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    pub fn ibv_alloc_pd(context: *mut ibv_context) -> *mut ibv_pd;
}
unsafe extern "C" {
    pub fn ibv_dealloc_pd(pd: *mut ibv_pd) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    pub fn ibv_reg_mr(
        pd: *mut ibv_pd,
        addr: *mut ::core::ffi::c_void,
        length: usize,
        access: ::core::ffi::c_int,
    ) -> *mut ibv_mr;
}
unsafe extern "C" {
    pub fn ibv_reg_dmabuf_mr(
        pd: *mut ibv_pd,
        offset: u64,
        length: usize,
        iova: u64,
        fd: ::core::ffi::c_int,
        access: ::core::ffi::c_int,
    ) -> *mut ibv_mr;
}
unsafe extern "C" {
    pub fn ibv_dereg_mr(mr: *mut ibv_mr) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    pub fn ibv_create_cq(
        context: *mut ibv_context,
        cqe: ::core::ffi::c_int,
        cq_context: *mut ::core::ffi::c_void,
        channel: *mut ibv_comp_channel,
        comp_vector: ::core::ffi::c_int,
    ) -> *mut ibv_cq;
}
unsafe extern "C" {
    pub fn ibv_destroy_cq(cq: *mut ibv_cq) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    pub fn ibv_create_qp(
        pd: *mut ibv_pd,
        qp_init_attr: *mut ibv_qp_init_attr,
    ) -> *mut ibv_qp;
}
unsafe extern "C" {
    pub fn ibv_destroy_qp(qp: *mut ibv_qp) -> ::core::ffi::c_int;
}
pub const EFADV_QP_DRIVER_TYPE_SRD: _bindgen_ty_18 = 0;
pub type _bindgen_ty_18 = ::core::ffi::c_uint;
unsafe extern "C" {
    pub fn efadv_create_driver_qp(
        ibvpd: *mut ibv_pd,
        attr: *mut ibv_qp_init_attr,
        driver_qp_type: u32,
    ) -> *mut ibv_qp;
}
pub const EFADV_DEVICE_ATTR_CAPS_RDMA_READ: _bindgen_ty_19 = 1;
pub const EFADV_DEVICE_ATTR_CAPS_RNR_RETRY: _bindgen_ty_19 = 2;
pub const EFADV_DEVICE_ATTR_CAPS_CQ_WITH_SGID: _bindgen_ty_19 = 4;
pub type _bindgen_ty_19 = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct efadv_device_attr {
    pub comp_mask: u64,
    pub max_sq_wr: u32,
    pub max_rq_wr: u32,
    pub max_sq_sge: u16,
    pub max_rq_sge: u16,
    pub inline_buf_size: u16,
    pub reserved: [u8; 2usize],
    pub device_caps: u32,
    pub max_rdma_size: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of efadv_device_attr"][::core::mem::size_of::<efadv_device_attr>() - 32usize];
    [
        "Alignment of efadv_device_attr",
    ][::core::mem::align_of::<efadv_device_attr>() - 8usize];
    [
        "Offset of field: efadv_device_attr::comp_mask",
    ][::core::mem::offset_of!(efadv_device_attr, comp_mask) - 0usize];
    [
        "Offset of field: efadv_device_attr::max_sq_wr",
    ][::core::mem::offset_of!(efadv_device_attr, max_sq_wr) - 8usize];
    [
        "Offset of field: efadv_device_attr::max_rq_wr",
    ][::core::mem::offset_of!(efadv_device_attr, max_rq_wr) - 12usize];
    [
        "Offset of field: efadv_device_attr::max_sq_sge",
    ][::core::mem::offset_of!(efadv_device_attr, max_sq_sge) - 16usize];
    [
        "Offset of field: efadv_device_attr::max_rq_sge",
    ][::core::mem::offset_of!(efadv_device_attr, max_rq_sge) - 18usize];
    [
        "Offset of field: efadv_device_attr::inline_buf_size",
    ][::core::mem::offset_of!(efadv_device_attr, inline_buf_size) - 20usize];
    [
        "Offset of field: efadv_device_attr::reserved",
    ][::core::mem::offset_of!(efadv_device_attr, reserved) - 22usize];
    [
        "Offset of field: efadv_device_attr::device_caps",
    ][::core::mem::offset_of!(efadv_device_attr, device_caps) - 24usize];
    [
        "Offset of field: efadv_device_attr::max_rdma_size",
    ][::core::mem::offset_of!(efadv_device_attr, max_rdma_size) - 28usize];
};
unsafe extern "C" {
    pub fn efadv_query_device(
        ibvctx: *mut ibv_context,
        attr: *mut efadv_device_attr,
        inlen: u32,
    ) -> ::core::ffi::c_int;
}
