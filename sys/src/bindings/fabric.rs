// Made by `cargo xtask generate` from libfabric 1.17.0. Do not edit.

#[derive(PartialEq, Eq, Copy, Clone, Debug, Hash)]
#[repr(C, align(8))]
pub struct __BindgenOpaqueArray8<T>(pub T);
impl<T: Copy + Default, const N: usize> Default for __BindgenOpaqueArray8<[T; N]> {
    fn default() -> Self {
        Self([<T as Default>::default(); N])
    }
}
pub const FI_EAGAIN: ::core::ffi::c_int = 11;
pub const FI_ENOSYS: ::core::ffi::c_int = 38;
pub const FI_ENODATA: ::core::ffi::c_int = 61;
pub const FI_MSG: u64 = 2;
pub const FI_RMA: u64 = 4;
pub const FI_TAGGED: u64 = 8;
pub const FI_READ: u64 = 256;
pub const FI_WRITE: u64 = 512;
pub const FI_RECV: u64 = 1024;
pub const FI_SEND: u64 = 2048;
pub const FI_TRANSMIT: u64 = 2048;
pub const FI_REMOTE_READ: u64 = 4096;
pub const FI_REMOTE_WRITE: u64 = 8192;
pub const FI_HMEM: u64 = 140737488355328;
pub const FI_MR_LOCAL: ::core::ffi::c_int = 4;
pub const FI_MR_VIRT_ADDR: ::core::ffi::c_int = 16;
pub const FI_MR_ALLOCATED: ::core::ffi::c_int = 32;
pub const FI_MR_PROV_KEY: ::core::ffi::c_int = 64;
pub const FI_MR_ENDPOINT: ::core::ffi::c_int = 512;
pub const FI_MR_HMEM: ::core::ffi::c_int = 1024;
pub const FI_CONTEXT: u64 = 576460752303423488;
pub const FI_CONTEXT2: u64 = 4503599627370496;
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Default, Copy, Clone)]
pub struct iovec {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 16usize]>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of iovec"][::core::mem::size_of::<iovec>() - 16usize];
    ["Alignment of iovec"][::core::mem::align_of::<iovec>() - 8usize];
};
pub const FI_EOTHER: _bindgen_ty_1 = 256;
pub const FI_ETOOSMALL: _bindgen_ty_1 = 257;
pub const FI_EOPBADSTATE: _bindgen_ty_1 = 258;
pub const FI_EAVAIL: _bindgen_ty_1 = 259;
pub const FI_EBADFLAGS: _bindgen_ty_1 = 260;
pub const FI_ENOEQ: _bindgen_ty_1 = 261;
pub const FI_EDOMAIN: _bindgen_ty_1 = 262;
pub const FI_ENOCQ: _bindgen_ty_1 = 263;
pub const FI_ECRC: _bindgen_ty_1 = 264;
pub const FI_ETRUNC: _bindgen_ty_1 = 265;
pub const FI_ENOKEY: _bindgen_ty_1 = 266;
pub const FI_ENOAV: _bindgen_ty_1 = 267;
pub const FI_EOVERRUN: _bindgen_ty_1 = 268;
pub const FI_ENORX: _bindgen_ty_1 = 269;
pub const FI_ERRNO_MAX: _bindgen_ty_1 = 270;
pub type _bindgen_ty_1 = ::core::ffi::c_uint;
unsafe extern "C" {
    pub fn fi_strerror(errnum: ::core::ffi::c_int) -> *const ::core::ffi::c_char;
}
unsafe extern "C" {
    pub fn fi_version() -> u32;
}
pub type fid_t = *mut fid;
pub type fi_addr_t = u64;
pub const FI_AV_UNSPEC: fi_av_type = 0;
pub const FI_AV_MAP: fi_av_type = 1;
pub const FI_AV_TABLE: fi_av_type = 2;
pub type fi_av_type = ::core::ffi::c_uint;
pub const FI_PROGRESS_UNSPEC: fi_progress = 0;
pub const FI_PROGRESS_AUTO: fi_progress = 1;
pub const FI_PROGRESS_MANUAL: fi_progress = 2;
pub type fi_progress = ::core::ffi::c_uint;
pub const FI_THREAD_UNSPEC: fi_threading = 0;
pub const FI_THREAD_SAFE: fi_threading = 1;
pub const FI_THREAD_FID: fi_threading = 2;
pub const FI_THREAD_DOMAIN: fi_threading = 3;
pub const FI_THREAD_COMPLETION: fi_threading = 4;
pub const FI_THREAD_ENDPOINT: fi_threading = 5;
pub type fi_threading = ::core::ffi::c_uint;
pub const FI_RM_UNSPEC: fi_resource_mgmt = 0;
pub const FI_RM_DISABLED: fi_resource_mgmt = 1;
pub const FI_RM_ENABLED: fi_resource_mgmt = 2;
pub type fi_resource_mgmt = ::core::ffi::c_uint;
pub const FI_EP_UNSPEC: fi_ep_type = 0;
pub const FI_EP_MSG: fi_ep_type = 1;
pub const FI_EP_DGRAM: fi_ep_type = 2;
pub const FI_EP_RDM: fi_ep_type = 3;
pub const FI_EP_SOCK_STREAM: fi_ep_type = 4;
pub const FI_EP_SOCK_DGRAM: fi_ep_type = 5;
pub type fi_ep_type = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct fi_tx_attr {
    pub caps: u64,
    pub mode: u64,
    pub op_flags: u64,
    pub msg_order: u64,
    pub comp_order: u64,
    pub inject_size: usize,
    pub size: usize,
    pub iov_limit: usize,
    pub rma_iov_limit: usize,
    pub tclass: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_tx_attr"][::core::mem::size_of::<fi_tx_attr>() - 80usize];
    ["Alignment of fi_tx_attr"][::core::mem::align_of::<fi_tx_attr>() - 8usize];
    [
        "Offset of field: fi_tx_attr::caps",
    ][::core::mem::offset_of!(fi_tx_attr, caps) - 0usize];
    [
        "Offset of field: fi_tx_attr::mode",
    ][::core::mem::offset_of!(fi_tx_attr, mode) - 8usize];
    [
        "Offset of field: fi_tx_attr::op_flags",
    ][::core::mem::offset_of!(fi_tx_attr, op_flags) - 16usize];
    [
        "Offset of field: fi_tx_attr::msg_order",
    ][::core::mem::offset_of!(fi_tx_attr, msg_order) - 24usize];
    [
        "Offset of field: fi_tx_attr::comp_order",
    ][::core::mem::offset_of!(fi_tx_attr, comp_order) - 32usize];
    [
        "Offset of field: fi_tx_attr::inject_size",
    ][::core::mem::offset_of!(fi_tx_attr, inject_size) - 40usize];
    [
        "Offset of field: fi_tx_attr::size",
    ][::core::mem::offset_of!(fi_tx_attr, size) - 48usize];
    [
        "Offset of field: fi_tx_attr::iov_limit",
    ][::core::mem::offset_of!(fi_tx_attr, iov_limit) - 56usize];
    [
        "Offset of field: fi_tx_attr::rma_iov_limit",
    ][::core::mem::offset_of!(fi_tx_attr, rma_iov_limit) - 64usize];
    [
        "Offset of field: fi_tx_attr::tclass",
    ][::core::mem::offset_of!(fi_tx_attr, tclass) - 72usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct fi_rx_attr {
    pub caps: u64,
    pub mode: u64,
    pub op_flags: u64,
    pub msg_order: u64,
    pub comp_order: u64,
    pub total_buffered_recv: usize,
    pub size: usize,
    pub iov_limit: usize,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_rx_attr"][::core::mem::size_of::<fi_rx_attr>() - 64usize];
    ["Alignment of fi_rx_attr"][::core::mem::align_of::<fi_rx_attr>() - 8usize];
    [
        "Offset of field: fi_rx_attr::caps",
    ][::core::mem::offset_of!(fi_rx_attr, caps) - 0usize];
    [
        "Offset of field: fi_rx_attr::mode",
    ][::core::mem::offset_of!(fi_rx_attr, mode) - 8usize];
    [
        "Offset of field: fi_rx_attr::op_flags",
    ][::core::mem::offset_of!(fi_rx_attr, op_flags) - 16usize];
    [
        "Offset of field: fi_rx_attr::msg_order",
    ][::core::mem::offset_of!(fi_rx_attr, msg_order) - 24usize];
    [
        "Offset of field: fi_rx_attr::comp_order",
    ][::core::mem::offset_of!(fi_rx_attr, comp_order) - 32usize];
    [
        "Offset of field: fi_rx_attr::total_buffered_recv",
    ][::core::mem::offset_of!(fi_rx_attr, total_buffered_recv) - 40usize];
    [
        "Offset of field: fi_rx_attr::size",
    ][::core::mem::offset_of!(fi_rx_attr, size) - 48usize];
    [
        "Offset of field: fi_rx_attr::iov_limit",
    ][::core::mem::offset_of!(fi_rx_attr, iov_limit) - 56usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct fi_ep_attr {
    pub type_: fi_ep_type,
    pub protocol: u32,
    pub protocol_version: u32,
    pub max_msg_size: usize,
    pub msg_prefix_size: usize,
    pub max_order_raw_size: usize,
    pub max_order_war_size: usize,
    pub max_order_waw_size: usize,
    pub mem_tag_format: u64,
    pub tx_ctx_cnt: usize,
    pub rx_ctx_cnt: usize,
    pub auth_key_size: usize,
    pub auth_key: *mut u8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_ep_attr"][::core::mem::size_of::<fi_ep_attr>() - 96usize];
    ["Alignment of fi_ep_attr"][::core::mem::align_of::<fi_ep_attr>() - 8usize];
    [
        "Offset of field: fi_ep_attr::type_",
    ][::core::mem::offset_of!(fi_ep_attr, type_) - 0usize];
    [
        "Offset of field: fi_ep_attr::protocol",
    ][::core::mem::offset_of!(fi_ep_attr, protocol) - 4usize];
    [
        "Offset of field: fi_ep_attr::protocol_version",
    ][::core::mem::offset_of!(fi_ep_attr, protocol_version) - 8usize];
    [
        "Offset of field: fi_ep_attr::max_msg_size",
    ][::core::mem::offset_of!(fi_ep_attr, max_msg_size) - 16usize];
    [
        "Offset of field: fi_ep_attr::msg_prefix_size",
    ][::core::mem::offset_of!(fi_ep_attr, msg_prefix_size) - 24usize];
    [
        "Offset of field: fi_ep_attr::max_order_raw_size",
    ][::core::mem::offset_of!(fi_ep_attr, max_order_raw_size) - 32usize];
    [
        "Offset of field: fi_ep_attr::max_order_war_size",
    ][::core::mem::offset_of!(fi_ep_attr, max_order_war_size) - 40usize];
    [
        "Offset of field: fi_ep_attr::max_order_waw_size",
    ][::core::mem::offset_of!(fi_ep_attr, max_order_waw_size) - 48usize];
    [
        "Offset of field: fi_ep_attr::mem_tag_format",
    ][::core::mem::offset_of!(fi_ep_attr, mem_tag_format) - 56usize];
    [
        "Offset of field: fi_ep_attr::tx_ctx_cnt",
    ][::core::mem::offset_of!(fi_ep_attr, tx_ctx_cnt) - 64usize];
    [
        "Offset of field: fi_ep_attr::rx_ctx_cnt",
    ][::core::mem::offset_of!(fi_ep_attr, rx_ctx_cnt) - 72usize];
    [
        "Offset of field: fi_ep_attr::auth_key_size",
    ][::core::mem::offset_of!(fi_ep_attr, auth_key_size) - 80usize];
    [
        "Offset of field: fi_ep_attr::auth_key",
    ][::core::mem::offset_of!(fi_ep_attr, auth_key) - 88usize];
};
impl Default for fi_ep_attr {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct fi_domain_attr {
    pub domain: *mut fid_domain,
    pub name: *mut ::core::ffi::c_char,
    pub threading: fi_threading,
    pub control_progress: fi_progress,
    pub data_progress: fi_progress,
    pub resource_mgmt: fi_resource_mgmt,
    pub av_type: fi_av_type,
    pub mr_mode: ::core::ffi::c_int,
    pub mr_key_size: usize,
    pub cq_data_size: usize,
    pub cq_cnt: usize,
    pub ep_cnt: usize,
    pub tx_ctx_cnt: usize,
    pub rx_ctx_cnt: usize,
    pub max_ep_tx_ctx: usize,
    pub max_ep_rx_ctx: usize,
    pub max_ep_stx_ctx: usize,
    pub max_ep_srx_ctx: usize,
    pub cntr_cnt: usize,
    pub mr_iov_limit: usize,
    pub caps: u64,
    pub mode: u64,
    pub auth_key: *mut u8,
    pub auth_key_size: usize,
    pub max_err_data: usize,
    pub mr_cnt: usize,
    pub tclass: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_domain_attr"][::core::mem::size_of::<fi_domain_attr>() - 192usize];
    ["Alignment of fi_domain_attr"][::core::mem::align_of::<fi_domain_attr>() - 8usize];
    [
        "Offset of field: fi_domain_attr::domain",
    ][::core::mem::offset_of!(fi_domain_attr, domain) - 0usize];
    [
        "Offset of field: fi_domain_attr::name",
    ][::core::mem::offset_of!(fi_domain_attr, name) - 8usize];
    [
        "Offset of field: fi_domain_attr::threading",
    ][::core::mem::offset_of!(fi_domain_attr, threading) - 16usize];
    [
        "Offset of field: fi_domain_attr::control_progress",
    ][::core::mem::offset_of!(fi_domain_attr, control_progress) - 20usize];
    [
        "Offset of field: fi_domain_attr::data_progress",
    ][::core::mem::offset_of!(fi_domain_attr, data_progress) - 24usize];
    [
        "Offset of field: fi_domain_attr::resource_mgmt",
    ][::core::mem::offset_of!(fi_domain_attr, resource_mgmt) - 28usize];
    [
        "Offset of field: fi_domain_attr::av_type",
    ][::core::mem::offset_of!(fi_domain_attr, av_type) - 32usize];
    [
        "Offset of field: fi_domain_attr::mr_mode",
    ][::core::mem::offset_of!(fi_domain_attr, mr_mode) - 36usize];
    [
        "Offset of field: fi_domain_attr::mr_key_size",
    ][::core::mem::offset_of!(fi_domain_attr, mr_key_size) - 40usize];
    [
        "Offset of field: fi_domain_attr::cq_data_size",
    ][::core::mem::offset_of!(fi_domain_attr, cq_data_size) - 48usize];
    [
        "Offset of field: fi_domain_attr::cq_cnt",
    ][::core::mem::offset_of!(fi_domain_attr, cq_cnt) - 56usize];
    [
        "Offset of field: fi_domain_attr::ep_cnt",
    ][::core::mem::offset_of!(fi_domain_attr, ep_cnt) - 64usize];
    [
        "Offset of field: fi_domain_attr::tx_ctx_cnt",
    ][::core::mem::offset_of!(fi_domain_attr, tx_ctx_cnt) - 72usize];
    [
        "Offset of field: fi_domain_attr::rx_ctx_cnt",
    ][::core::mem::offset_of!(fi_domain_attr, rx_ctx_cnt) - 80usize];
    [
        "Offset of field: fi_domain_attr::max_ep_tx_ctx",
    ][::core::mem::offset_of!(fi_domain_attr, max_ep_tx_ctx) - 88usize];
    [
        "Offset of field: fi_domain_attr::max_ep_rx_ctx",
    ][::core::mem::offset_of!(fi_domain_attr, max_ep_rx_ctx) - 96usize];
    [
        "Offset of field: fi_domain_attr::max_ep_stx_ctx",
    ][::core::mem::offset_of!(fi_domain_attr, max_ep_stx_ctx) - 104usize];
    [
        "Offset of field: fi_domain_attr::max_ep_srx_ctx",
    ][::core::mem::offset_of!(fi_domain_attr, max_ep_srx_ctx) - 112usize];
    [
        "Offset of field: fi_domain_attr::cntr_cnt",
    ][::core::mem::offset_of!(fi_domain_attr, cntr_cnt) - 120usize];
    [
        "Offset of field: fi_domain_attr::mr_iov_limit",
    ][::core::mem::offset_of!(fi_domain_attr, mr_iov_limit) - 128usize];
    [
        "Offset of field: fi_domain_attr::caps",
    ][::core::mem::offset_of!(fi_domain_attr, caps) - 136usize];
    [
        "Offset of field: fi_domain_attr::mode",
    ][::core::mem::offset_of!(fi_domain_attr, mode) - 144usize];
    [
        "Offset of field: fi_domain_attr::auth_key",
    ][::core::mem::offset_of!(fi_domain_attr, auth_key) - 152usize];
    [
        "Offset of field: fi_domain_attr::auth_key_size",
    ][::core::mem::offset_of!(fi_domain_attr, auth_key_size) - 160usize];
    [
        "Offset of field: fi_domain_attr::max_err_data",
    ][::core::mem::offset_of!(fi_domain_attr, max_err_data) - 168usize];
    [
        "Offset of field: fi_domain_attr::mr_cnt",
    ][::core::mem::offset_of!(fi_domain_attr, mr_cnt) - 176usize];
    [
        "Offset of field: fi_domain_attr::tclass",
    ][::core::mem::offset_of!(fi_domain_attr, tclass) - 184usize];
};
impl Default for fi_domain_attr {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct fi_fabric_attr {
    pub fabric: *mut fid_fabric,
    pub name: *mut ::core::ffi::c_char,
    pub prov_name: *mut ::core::ffi::c_char,
    pub prov_version: u32,
    pub api_version: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_fabric_attr"][::core::mem::size_of::<fi_fabric_attr>() - 32usize];
    ["Alignment of fi_fabric_attr"][::core::mem::align_of::<fi_fabric_attr>() - 8usize];
    [
        "Offset of field: fi_fabric_attr::fabric",
    ][::core::mem::offset_of!(fi_fabric_attr, fabric) - 0usize];
    [
        "Offset of field: fi_fabric_attr::name",
    ][::core::mem::offset_of!(fi_fabric_attr, name) - 8usize];
    [
        "Offset of field: fi_fabric_attr::prov_name",
    ][::core::mem::offset_of!(fi_fabric_attr, prov_name) - 16usize];
    [
        "Offset of field: fi_fabric_attr::prov_version",
    ][::core::mem::offset_of!(fi_fabric_attr, prov_version) - 24usize];
    [
        "Offset of field: fi_fabric_attr::api_version",
    ][::core::mem::offset_of!(fi_fabric_attr, api_version) - 28usize];
};
impl Default for fi_fabric_attr {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct fi_info {
    pub next: *mut fi_info,
    pub caps: u64,
    pub mode: u64,
    pub addr_format: u32,
    pub src_addrlen: usize,
    pub dest_addrlen: usize,
    pub src_addr: *mut ::core::ffi::c_void,
    pub dest_addr: *mut ::core::ffi::c_void,
    pub handle: fid_t,
    pub tx_attr: *mut fi_tx_attr,
    pub rx_attr: *mut fi_rx_attr,
    pub ep_attr: *mut fi_ep_attr,
    pub domain_attr: *mut fi_domain_attr,
    pub fabric_attr: *mut fi_fabric_attr,
    pub nic: *mut fid_nic,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_info"][::core::mem::size_of::<fi_info>() - 120usize];
    ["Alignment of fi_info"][::core::mem::align_of::<fi_info>() - 8usize];
    ["Offset of field: fi_info::next"][::core::mem::offset_of!(fi_info, next) - 0usize];
    ["Offset of field: fi_info::caps"][::core::mem::offset_of!(fi_info, caps) - 8usize];
    ["Offset of field: fi_info::mode"][::core::mem::offset_of!(fi_info, mode) - 16usize];
    [
        "Offset of field: fi_info::addr_format",
    ][::core::mem::offset_of!(fi_info, addr_format) - 24usize];
    [
        "Offset of field: fi_info::src_addrlen",
    ][::core::mem::offset_of!(fi_info, src_addrlen) - 32usize];
    [
        "Offset of field: fi_info::dest_addrlen",
    ][::core::mem::offset_of!(fi_info, dest_addrlen) - 40usize];
    [
        "Offset of field: fi_info::src_addr",
    ][::core::mem::offset_of!(fi_info, src_addr) - 48usize];
    [
        "Offset of field: fi_info::dest_addr",
    ][::core::mem::offset_of!(fi_info, dest_addr) - 56usize];
    [
        "Offset of field: fi_info::handle",
    ][::core::mem::offset_of!(fi_info, handle) - 64usize];
    [
        "Offset of field: fi_info::tx_attr",
    ][::core::mem::offset_of!(fi_info, tx_attr) - 72usize];
    [
        "Offset of field: fi_info::rx_attr",
    ][::core::mem::offset_of!(fi_info, rx_attr) - 80usize];
    [
        "Offset of field: fi_info::ep_attr",
    ][::core::mem::offset_of!(fi_info, ep_attr) - 88usize];
    [
        "Offset of field: fi_info::domain_attr",
    ][::core::mem::offset_of!(fi_info, domain_attr) - 96usize];
    [
        "Offset of field: fi_info::fabric_attr",
    ][::core::mem::offset_of!(fi_info, fabric_attr) - 104usize];
    ["Offset of field: fi_info::nic"][::core::mem::offset_of!(fi_info, nic) - 112usize];
};
impl Default for fi_info {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct fi_device_attr {
    pub name: *mut ::core::ffi::c_char,
    pub device_id: *mut ::core::ffi::c_char,
    pub device_version: *mut ::core::ffi::c_char,
    pub vendor_id: *mut ::core::ffi::c_char,
    pub driver: *mut ::core::ffi::c_char,
    pub firmware: *mut ::core::ffi::c_char,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_device_attr"][::core::mem::size_of::<fi_device_attr>() - 48usize];
    ["Alignment of fi_device_attr"][::core::mem::align_of::<fi_device_attr>() - 8usize];
    [
        "Offset of field: fi_device_attr::name",
    ][::core::mem::offset_of!(fi_device_attr, name) - 0usize];
    [
        "Offset of field: fi_device_attr::device_id",
    ][::core::mem::offset_of!(fi_device_attr, device_id) - 8usize];
    [
        "Offset of field: fi_device_attr::device_version",
    ][::core::mem::offset_of!(fi_device_attr, device_version) - 16usize];
    [
        "Offset of field: fi_device_attr::vendor_id",
    ][::core::mem::offset_of!(fi_device_attr, vendor_id) - 24usize];
    [
        "Offset of field: fi_device_attr::driver",
    ][::core::mem::offset_of!(fi_device_attr, driver) - 32usize];
    [
        "Offset of field: fi_device_attr::firmware",
    ][::core::mem::offset_of!(fi_device_attr, firmware) - 40usize];
};
impl Default for fi_device_attr {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const FI_BUS_UNSPEC: fi_bus_type = 0;
pub const FI_BUS_UNKNOWN: fi_bus_type = 0;
pub const FI_BUS_PCI: fi_bus_type = 1;
pub type fi_bus_type = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct fi_pci_attr {
    pub domain_id: u16,
    pub bus_id: u8,
    pub device_id: u8,
    pub function_id: u8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_pci_attr"][::core::mem::size_of::<fi_pci_attr>() - 6usize];
    ["Alignment of fi_pci_attr"][::core::mem::align_of::<fi_pci_attr>() - 2usize];
    [
        "Offset of field: fi_pci_attr::domain_id",
    ][::core::mem::offset_of!(fi_pci_attr, domain_id) - 0usize];
    [
        "Offset of field: fi_pci_attr::bus_id",
    ][::core::mem::offset_of!(fi_pci_attr, bus_id) - 2usize];
    [
        "Offset of field: fi_pci_attr::device_id",
    ][::core::mem::offset_of!(fi_pci_attr, device_id) - 3usize];
    [
        "Offset of field: fi_pci_attr::function_id",
    ][::core::mem::offset_of!(fi_pci_attr, function_id) - 4usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct fi_bus_attr {
    pub bus_type: fi_bus_type,
    pub attr: fi_bus_attr__bindgen_ty_1,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union fi_bus_attr__bindgen_ty_1 {
    pub pci: fi_pci_attr,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of fi_bus_attr__bindgen_ty_1",
    ][::core::mem::size_of::<fi_bus_attr__bindgen_ty_1>() - 6usize];
    [
        "Alignment of fi_bus_attr__bindgen_ty_1",
    ][::core::mem::align_of::<fi_bus_attr__bindgen_ty_1>() - 2usize];
    [
        "Offset of field: fi_bus_attr__bindgen_ty_1::pci",
    ][::core::mem::offset_of!(fi_bus_attr__bindgen_ty_1, pci) - 0usize];
};
impl Default for fi_bus_attr__bindgen_ty_1 {
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
    ["Size of fi_bus_attr"][::core::mem::size_of::<fi_bus_attr>() - 12usize];
    ["Alignment of fi_bus_attr"][::core::mem::align_of::<fi_bus_attr>() - 4usize];
    [
        "Offset of field: fi_bus_attr::bus_type",
    ][::core::mem::offset_of!(fi_bus_attr, bus_type) - 0usize];
    [
        "Offset of field: fi_bus_attr::attr",
    ][::core::mem::offset_of!(fi_bus_attr, attr) - 4usize];
};
impl Default for fi_bus_attr {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const FI_LINK_UNKNOWN: fi_link_state = 0;
pub const FI_LINK_DOWN: fi_link_state = 1;
pub const FI_LINK_UP: fi_link_state = 2;
pub type fi_link_state = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct fi_link_attr {
    pub address: *mut ::core::ffi::c_char,
    pub mtu: usize,
    pub speed: usize,
    pub state: fi_link_state,
    pub network_type: *mut ::core::ffi::c_char,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_link_attr"][::core::mem::size_of::<fi_link_attr>() - 40usize];
    ["Alignment of fi_link_attr"][::core::mem::align_of::<fi_link_attr>() - 8usize];
    [
        "Offset of field: fi_link_attr::address",
    ][::core::mem::offset_of!(fi_link_attr, address) - 0usize];
    [
        "Offset of field: fi_link_attr::mtu",
    ][::core::mem::offset_of!(fi_link_attr, mtu) - 8usize];
    [
        "Offset of field: fi_link_attr::speed",
    ][::core::mem::offset_of!(fi_link_attr, speed) - 16usize];
    [
        "Offset of field: fi_link_attr::state",
    ][::core::mem::offset_of!(fi_link_attr, state) - 24usize];
    [
        "Offset of field: fi_link_attr::network_type",
    ][::core::mem::offset_of!(fi_link_attr, network_type) - 32usize];
};
impl Default for fi_link_attr {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct fi_ops {
    pub size: usize,
    pub close: ::core::option::Option<
        unsafe extern "C" fn(fid: *mut fid) -> ::core::ffi::c_int,
    >,
    pub bind: ::core::option::Option<
        unsafe extern "C" fn(
            fid: *mut fid,
            bfid: *mut fid,
            flags: u64,
        ) -> ::core::ffi::c_int,
    >,
    pub control: ::core::option::Option<
        unsafe extern "C" fn(
            fid: *mut fid,
            command: ::core::ffi::c_int,
            arg: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
    pub ops_open: ::core::option::Option<
        unsafe extern "C" fn(
            fid: *mut fid,
            name: *const ::core::ffi::c_char,
            flags: u64,
            ops: *mut *mut ::core::ffi::c_void,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
    pub tostr: ::core::option::Option<
        unsafe extern "C" fn(
            fid: *const fid,
            buf: *mut ::core::ffi::c_char,
            len: usize,
        ) -> ::core::ffi::c_int,
    >,
    pub ops_set: ::core::option::Option<
        unsafe extern "C" fn(
            fid: *mut fid,
            name: *const ::core::ffi::c_char,
            flags: u64,
            ops: *mut ::core::ffi::c_void,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_ops"][::core::mem::size_of::<fi_ops>() - 56usize];
    ["Alignment of fi_ops"][::core::mem::align_of::<fi_ops>() - 8usize];
    ["Offset of field: fi_ops::size"][::core::mem::offset_of!(fi_ops, size) - 0usize];
    ["Offset of field: fi_ops::close"][::core::mem::offset_of!(fi_ops, close) - 8usize];
    ["Offset of field: fi_ops::bind"][::core::mem::offset_of!(fi_ops, bind) - 16usize];
    [
        "Offset of field: fi_ops::control",
    ][::core::mem::offset_of!(fi_ops, control) - 24usize];
    [
        "Offset of field: fi_ops::ops_open",
    ][::core::mem::offset_of!(fi_ops, ops_open) - 32usize];
    ["Offset of field: fi_ops::tostr"][::core::mem::offset_of!(fi_ops, tostr) - 40usize];
    [
        "Offset of field: fi_ops::ops_set",
    ][::core::mem::offset_of!(fi_ops, ops_set) - 48usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct fid {
    pub fclass: usize,
    pub context: *mut ::core::ffi::c_void,
    pub ops: *mut fi_ops,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fid"][::core::mem::size_of::<fid>() - 24usize];
    ["Alignment of fid"][::core::mem::align_of::<fid>() - 8usize];
    ["Offset of field: fid::fclass"][::core::mem::offset_of!(fid, fclass) - 0usize];
    ["Offset of field: fid::context"][::core::mem::offset_of!(fid, context) - 8usize];
    ["Offset of field: fid::ops"][::core::mem::offset_of!(fid, ops) - 16usize];
};
impl Default for fid {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
unsafe extern "C" {
    pub fn fi_getinfo(
        version: u32,
        node: *const ::core::ffi::c_char,
        service: *const ::core::ffi::c_char,
        flags: u64,
        hints: *const fi_info,
        info: *mut *mut fi_info,
    ) -> ::core::ffi::c_int;
}
unsafe extern "C" {
    pub fn fi_freeinfo(info: *mut fi_info);
}
unsafe extern "C" {
    pub fn fi_dupinfo(info: *const fi_info) -> *mut fi_info;
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct fi_ops_fabric {
    pub size: usize,
    pub domain: ::core::option::Option<
        unsafe extern "C" fn(
            fabric: *mut fid_fabric,
            info: *mut fi_info,
            dom: *mut *mut fid_domain,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
    pub passive_ep: ::core::option::Option<
        unsafe extern "C" fn(
            fabric: *mut fid_fabric,
            info: *mut fi_info,
            pep: *mut *mut fid_pep,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
    pub eq_open: ::core::option::Option<
        unsafe extern "C" fn(
            fabric: *mut fid_fabric,
            attr: *mut fi_eq_attr,
            eq: *mut *mut fid_eq,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
    pub wait_open: ::core::option::Option<
        unsafe extern "C" fn(
            fabric: *mut fid_fabric,
            attr: *mut fi_wait_attr,
            waitset: *mut *mut fid_wait,
        ) -> ::core::ffi::c_int,
    >,
    pub trywait: ::core::option::Option<
        unsafe extern "C" fn(
            fabric: *mut fid_fabric,
            fids: *mut *mut fid,
            count: ::core::ffi::c_int,
        ) -> ::core::ffi::c_int,
    >,
    pub domain2: ::core::option::Option<
        unsafe extern "C" fn(
            fabric: *mut fid_fabric,
            info: *mut fi_info,
            dom: *mut *mut fid_domain,
            flags: u64,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_ops_fabric"][::core::mem::size_of::<fi_ops_fabric>() - 56usize];
    ["Alignment of fi_ops_fabric"][::core::mem::align_of::<fi_ops_fabric>() - 8usize];
    [
        "Offset of field: fi_ops_fabric::size",
    ][::core::mem::offset_of!(fi_ops_fabric, size) - 0usize];
    [
        "Offset of field: fi_ops_fabric::domain",
    ][::core::mem::offset_of!(fi_ops_fabric, domain) - 8usize];
    [
        "Offset of field: fi_ops_fabric::passive_ep",
    ][::core::mem::offset_of!(fi_ops_fabric, passive_ep) - 16usize];
    [
        "Offset of field: fi_ops_fabric::eq_open",
    ][::core::mem::offset_of!(fi_ops_fabric, eq_open) - 24usize];
    [
        "Offset of field: fi_ops_fabric::wait_open",
    ][::core::mem::offset_of!(fi_ops_fabric, wait_open) - 32usize];
    [
        "Offset of field: fi_ops_fabric::trywait",
    ][::core::mem::offset_of!(fi_ops_fabric, trywait) - 40usize];
    [
        "Offset of field: fi_ops_fabric::domain2",
    ][::core::mem::offset_of!(fi_ops_fabric, domain2) - 48usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct fid_fabric {
    pub fid: fid,
    pub ops: *mut fi_ops_fabric,
    pub api_version: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fid_fabric"][::core::mem::size_of::<fid_fabric>() - 40usize];
    ["Alignment of fid_fabric"][::core::mem::align_of::<fid_fabric>() - 8usize];
    [
        "Offset of field: fid_fabric::fid",
    ][::core::mem::offset_of!(fid_fabric, fid) - 0usize];
    [
        "Offset of field: fid_fabric::ops",
    ][::core::mem::offset_of!(fid_fabric, ops) - 24usize];
    [
        "Offset of field: fid_fabric::api_version",
    ][::core::mem::offset_of!(fid_fabric, api_version) - 32usize];
};
impl Default for fid_fabric {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
unsafe extern "C" {
    pub fn fi_fabric(
        attr: *mut fi_fabric_attr,
        fabric: *mut *mut fid_fabric,
        context: *mut ::core::ffi::c_void,
    ) -> ::core::ffi::c_int;
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct fid_nic {
    pub fid: fid,
    pub device_attr: *mut fi_device_attr,
    pub bus_attr: *mut fi_bus_attr,
    pub link_attr: *mut fi_link_attr,
    pub prov_attr: *mut ::core::ffi::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fid_nic"][::core::mem::size_of::<fid_nic>() - 56usize];
    ["Alignment of fid_nic"][::core::mem::align_of::<fid_nic>() - 8usize];
    ["Offset of field: fid_nic::fid"][::core::mem::offset_of!(fid_nic, fid) - 0usize];
    [
        "Offset of field: fid_nic::device_attr",
    ][::core::mem::offset_of!(fid_nic, device_attr) - 24usize];
    [
        "Offset of field: fid_nic::bus_attr",
    ][::core::mem::offset_of!(fid_nic, bus_attr) - 32usize];
    [
        "Offset of field: fid_nic::link_attr",
    ][::core::mem::offset_of!(fid_nic, link_attr) - 40usize];
    [
        "Offset of field: fid_nic::prov_attr",
    ][::core::mem::offset_of!(fid_nic, prov_attr) - 48usize];
};
impl Default for fid_nic {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const FI_GETFIDFLAG: _bindgen_ty_7 = 0;
pub const FI_SETFIDFLAG: _bindgen_ty_7 = 1;
pub const FI_GETOPSFLAG: _bindgen_ty_7 = 2;
pub const FI_SETOPSFLAG: _bindgen_ty_7 = 3;
pub const FI_ALIAS: _bindgen_ty_7 = 4;
pub const FI_GETWAIT: _bindgen_ty_7 = 5;
pub const FI_ENABLE: _bindgen_ty_7 = 6;
pub const FI_BACKLOG: _bindgen_ty_7 = 7;
pub const FI_GET_RAW_MR: _bindgen_ty_7 = 8;
pub const FI_MAP_RAW_MR: _bindgen_ty_7 = 9;
pub const FI_UNMAP_KEY: _bindgen_ty_7 = 10;
pub const FI_QUEUE_WORK: _bindgen_ty_7 = 11;
pub const FI_CANCEL_WORK: _bindgen_ty_7 = 12;
pub const FI_FLUSH_WORK: _bindgen_ty_7 = 13;
pub const FI_REFRESH: _bindgen_ty_7 = 14;
pub const FI_DUP: _bindgen_ty_7 = 15;
pub const FI_GETWAITOBJ: _bindgen_ty_7 = 16;
pub const FI_GET_VAL: _bindgen_ty_7 = 17;
pub const FI_SET_VAL: _bindgen_ty_7 = 18;
pub const FI_EXPORT_FID: _bindgen_ty_7 = 19;
pub type _bindgen_ty_7 = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct fi_context2 {
    pub internal: [*mut ::core::ffi::c_void; 8usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_context2"][::core::mem::size_of::<fi_context2>() - 64usize];
    ["Alignment of fi_context2"][::core::mem::align_of::<fi_context2>() - 8usize];
    [
        "Offset of field: fi_context2::internal",
    ][::core::mem::offset_of!(fi_context2, internal) - 0usize];
};
impl Default for fi_context2 {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const FI_WAIT_NONE: fi_wait_obj = 0;
pub const FI_WAIT_UNSPEC: fi_wait_obj = 1;
pub const FI_WAIT_SET: fi_wait_obj = 2;
pub const FI_WAIT_FD: fi_wait_obj = 3;
pub const FI_WAIT_MUTEX_COND: fi_wait_obj = 4;
pub const FI_WAIT_YIELD: fi_wait_obj = 5;
pub const FI_WAIT_POLLFD: fi_wait_obj = 6;
pub type fi_wait_obj = ::core::ffi::c_uint;
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Default, Copy, Clone)]
pub struct fi_wait_attr {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 16usize]>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_wait_attr"][::core::mem::size_of::<fi_wait_attr>() - 16usize];
    ["Alignment of fi_wait_attr"][::core::mem::align_of::<fi_wait_attr>() - 8usize];
};
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Default, Copy, Clone)]
pub struct fid_wait {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 32usize]>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fid_wait"][::core::mem::size_of::<fid_wait>() - 32usize];
    ["Alignment of fid_wait"][::core::mem::align_of::<fid_wait>() - 8usize];
};
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Default, Copy, Clone)]
pub struct fi_poll_attr {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 8usize]>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_poll_attr"][::core::mem::size_of::<fi_poll_attr>() - 8usize];
    ["Alignment of fi_poll_attr"][::core::mem::align_of::<fi_poll_attr>() - 8usize];
};
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Default, Copy, Clone)]
pub struct fid_poll {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 32usize]>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fid_poll"][::core::mem::size_of::<fid_poll>() - 32usize];
    ["Alignment of fid_poll"][::core::mem::align_of::<fid_poll>() - 8usize];
};
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Default, Copy, Clone)]
pub struct fi_eq_attr {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 32usize]>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_eq_attr"][::core::mem::size_of::<fi_eq_attr>() - 32usize];
    ["Alignment of fi_eq_attr"][::core::mem::align_of::<fi_eq_attr>() - 8usize];
};
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Default, Copy, Clone)]
pub struct fid_eq {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 32usize]>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fid_eq"][::core::mem::size_of::<fid_eq>() - 32usize];
    ["Alignment of fid_eq"][::core::mem::align_of::<fid_eq>() - 8usize];
};
pub const FI_CQ_FORMAT_UNSPEC: fi_cq_format = 0;
pub const FI_CQ_FORMAT_CONTEXT: fi_cq_format = 1;
pub const FI_CQ_FORMAT_MSG: fi_cq_format = 2;
pub const FI_CQ_FORMAT_DATA: fi_cq_format = 3;
pub const FI_CQ_FORMAT_TAGGED: fi_cq_format = 4;
pub type fi_cq_format = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct fi_cq_msg_entry {
    pub op_context: *mut ::core::ffi::c_void,
    pub flags: u64,
    pub len: usize,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_cq_msg_entry"][::core::mem::size_of::<fi_cq_msg_entry>() - 24usize];
    [
        "Alignment of fi_cq_msg_entry",
    ][::core::mem::align_of::<fi_cq_msg_entry>() - 8usize];
    [
        "Offset of field: fi_cq_msg_entry::op_context",
    ][::core::mem::offset_of!(fi_cq_msg_entry, op_context) - 0usize];
    [
        "Offset of field: fi_cq_msg_entry::flags",
    ][::core::mem::offset_of!(fi_cq_msg_entry, flags) - 8usize];
    [
        "Offset of field: fi_cq_msg_entry::len",
    ][::core::mem::offset_of!(fi_cq_msg_entry, len) - 16usize];
};
impl Default for fi_cq_msg_entry {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct fi_cq_err_entry {
    pub op_context: *mut ::core::ffi::c_void,
    pub flags: u64,
    pub len: usize,
    pub buf: *mut ::core::ffi::c_void,
    pub data: u64,
    pub tag: u64,
    pub olen: usize,
    pub err: ::core::ffi::c_int,
    pub prov_errno: ::core::ffi::c_int,
    pub err_data: *mut ::core::ffi::c_void,
    pub err_data_size: usize,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_cq_err_entry"][::core::mem::size_of::<fi_cq_err_entry>() - 80usize];
    [
        "Alignment of fi_cq_err_entry",
    ][::core::mem::align_of::<fi_cq_err_entry>() - 8usize];
    [
        "Offset of field: fi_cq_err_entry::op_context",
    ][::core::mem::offset_of!(fi_cq_err_entry, op_context) - 0usize];
    [
        "Offset of field: fi_cq_err_entry::flags",
    ][::core::mem::offset_of!(fi_cq_err_entry, flags) - 8usize];
    [
        "Offset of field: fi_cq_err_entry::len",
    ][::core::mem::offset_of!(fi_cq_err_entry, len) - 16usize];
    [
        "Offset of field: fi_cq_err_entry::buf",
    ][::core::mem::offset_of!(fi_cq_err_entry, buf) - 24usize];
    [
        "Offset of field: fi_cq_err_entry::data",
    ][::core::mem::offset_of!(fi_cq_err_entry, data) - 32usize];
    [
        "Offset of field: fi_cq_err_entry::tag",
    ][::core::mem::offset_of!(fi_cq_err_entry, tag) - 40usize];
    [
        "Offset of field: fi_cq_err_entry::olen",
    ][::core::mem::offset_of!(fi_cq_err_entry, olen) - 48usize];
    [
        "Offset of field: fi_cq_err_entry::err",
    ][::core::mem::offset_of!(fi_cq_err_entry, err) - 56usize];
    [
        "Offset of field: fi_cq_err_entry::prov_errno",
    ][::core::mem::offset_of!(fi_cq_err_entry, prov_errno) - 60usize];
    [
        "Offset of field: fi_cq_err_entry::err_data",
    ][::core::mem::offset_of!(fi_cq_err_entry, err_data) - 64usize];
    [
        "Offset of field: fi_cq_err_entry::err_data_size",
    ][::core::mem::offset_of!(fi_cq_err_entry, err_data_size) - 72usize];
};
impl Default for fi_cq_err_entry {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const FI_CQ_COND_NONE: fi_cq_wait_cond = 0;
pub const FI_CQ_COND_THRESHOLD: fi_cq_wait_cond = 1;
pub type fi_cq_wait_cond = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct fi_cq_attr {
    pub size: usize,
    pub flags: u64,
    pub format: fi_cq_format,
    pub wait_obj: fi_wait_obj,
    pub signaling_vector: ::core::ffi::c_int,
    pub wait_cond: fi_cq_wait_cond,
    pub wait_set: *mut fid_wait,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_cq_attr"][::core::mem::size_of::<fi_cq_attr>() - 40usize];
    ["Alignment of fi_cq_attr"][::core::mem::align_of::<fi_cq_attr>() - 8usize];
    [
        "Offset of field: fi_cq_attr::size",
    ][::core::mem::offset_of!(fi_cq_attr, size) - 0usize];
    [
        "Offset of field: fi_cq_attr::flags",
    ][::core::mem::offset_of!(fi_cq_attr, flags) - 8usize];
    [
        "Offset of field: fi_cq_attr::format",
    ][::core::mem::offset_of!(fi_cq_attr, format) - 16usize];
    [
        "Offset of field: fi_cq_attr::wait_obj",
    ][::core::mem::offset_of!(fi_cq_attr, wait_obj) - 20usize];
    [
        "Offset of field: fi_cq_attr::signaling_vector",
    ][::core::mem::offset_of!(fi_cq_attr, signaling_vector) - 24usize];
    [
        "Offset of field: fi_cq_attr::wait_cond",
    ][::core::mem::offset_of!(fi_cq_attr, wait_cond) - 28usize];
    [
        "Offset of field: fi_cq_attr::wait_set",
    ][::core::mem::offset_of!(fi_cq_attr, wait_set) - 32usize];
};
impl Default for fi_cq_attr {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct fi_ops_cq {
    pub size: usize,
    pub read: ::core::option::Option<
        unsafe extern "C" fn(
            cq: *mut fid_cq,
            buf: *mut ::core::ffi::c_void,
            count: usize,
        ) -> isize,
    >,
    pub readfrom: ::core::option::Option<
        unsafe extern "C" fn(
            cq: *mut fid_cq,
            buf: *mut ::core::ffi::c_void,
            count: usize,
            src_addr: *mut fi_addr_t,
        ) -> isize,
    >,
    pub readerr: ::core::option::Option<
        unsafe extern "C" fn(
            cq: *mut fid_cq,
            buf: *mut fi_cq_err_entry,
            flags: u64,
        ) -> isize,
    >,
    pub sread: ::core::option::Option<
        unsafe extern "C" fn(
            cq: *mut fid_cq,
            buf: *mut ::core::ffi::c_void,
            count: usize,
            cond: *const ::core::ffi::c_void,
            timeout: ::core::ffi::c_int,
        ) -> isize,
    >,
    pub sreadfrom: ::core::option::Option<
        unsafe extern "C" fn(
            cq: *mut fid_cq,
            buf: *mut ::core::ffi::c_void,
            count: usize,
            src_addr: *mut fi_addr_t,
            cond: *const ::core::ffi::c_void,
            timeout: ::core::ffi::c_int,
        ) -> isize,
    >,
    pub signal: ::core::option::Option<
        unsafe extern "C" fn(cq: *mut fid_cq) -> ::core::ffi::c_int,
    >,
    pub strerror: ::core::option::Option<
        unsafe extern "C" fn(
            cq: *mut fid_cq,
            prov_errno: ::core::ffi::c_int,
            err_data: *const ::core::ffi::c_void,
            buf: *mut ::core::ffi::c_char,
            len: usize,
        ) -> *const ::core::ffi::c_char,
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_ops_cq"][::core::mem::size_of::<fi_ops_cq>() - 64usize];
    ["Alignment of fi_ops_cq"][::core::mem::align_of::<fi_ops_cq>() - 8usize];
    [
        "Offset of field: fi_ops_cq::size",
    ][::core::mem::offset_of!(fi_ops_cq, size) - 0usize];
    [
        "Offset of field: fi_ops_cq::read",
    ][::core::mem::offset_of!(fi_ops_cq, read) - 8usize];
    [
        "Offset of field: fi_ops_cq::readfrom",
    ][::core::mem::offset_of!(fi_ops_cq, readfrom) - 16usize];
    [
        "Offset of field: fi_ops_cq::readerr",
    ][::core::mem::offset_of!(fi_ops_cq, readerr) - 24usize];
    [
        "Offset of field: fi_ops_cq::sread",
    ][::core::mem::offset_of!(fi_ops_cq, sread) - 32usize];
    [
        "Offset of field: fi_ops_cq::sreadfrom",
    ][::core::mem::offset_of!(fi_ops_cq, sreadfrom) - 40usize];
    [
        "Offset of field: fi_ops_cq::signal",
    ][::core::mem::offset_of!(fi_ops_cq, signal) - 48usize];
    [
        "Offset of field: fi_ops_cq::strerror",
    ][::core::mem::offset_of!(fi_ops_cq, strerror) - 56usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct fid_cq {
    pub fid: fid,
    pub ops: *mut fi_ops_cq,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fid_cq"][::core::mem::size_of::<fid_cq>() - 32usize];
    ["Alignment of fid_cq"][::core::mem::align_of::<fid_cq>() - 8usize];
    ["Offset of field: fid_cq::fid"][::core::mem::offset_of!(fid_cq, fid) - 0usize];
    ["Offset of field: fid_cq::ops"][::core::mem::offset_of!(fid_cq, ops) - 24usize];
};
impl Default for fid_cq {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Default, Copy, Clone)]
pub struct fi_cntr_attr {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 24usize]>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_cntr_attr"][::core::mem::size_of::<fi_cntr_attr>() - 24usize];
    ["Alignment of fi_cntr_attr"][::core::mem::align_of::<fi_cntr_attr>() - 8usize];
};
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Default, Copy, Clone)]
pub struct fid_cntr {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 32usize]>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fid_cntr"][::core::mem::size_of::<fid_cntr>() - 32usize];
    ["Alignment of fid_cntr"][::core::mem::align_of::<fid_cntr>() - 8usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct fi_av_attr {
    pub type_: fi_av_type,
    pub rx_ctx_bits: ::core::ffi::c_int,
    pub count: usize,
    pub ep_per_node: usize,
    pub name: *const ::core::ffi::c_char,
    pub map_addr: *mut ::core::ffi::c_void,
    pub flags: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_av_attr"][::core::mem::size_of::<fi_av_attr>() - 48usize];
    ["Alignment of fi_av_attr"][::core::mem::align_of::<fi_av_attr>() - 8usize];
    [
        "Offset of field: fi_av_attr::type_",
    ][::core::mem::offset_of!(fi_av_attr, type_) - 0usize];
    [
        "Offset of field: fi_av_attr::rx_ctx_bits",
    ][::core::mem::offset_of!(fi_av_attr, rx_ctx_bits) - 4usize];
    [
        "Offset of field: fi_av_attr::count",
    ][::core::mem::offset_of!(fi_av_attr, count) - 8usize];
    [
        "Offset of field: fi_av_attr::ep_per_node",
    ][::core::mem::offset_of!(fi_av_attr, ep_per_node) - 16usize];
    [
        "Offset of field: fi_av_attr::name",
    ][::core::mem::offset_of!(fi_av_attr, name) - 24usize];
    [
        "Offset of field: fi_av_attr::map_addr",
    ][::core::mem::offset_of!(fi_av_attr, map_addr) - 32usize];
    [
        "Offset of field: fi_av_attr::flags",
    ][::core::mem::offset_of!(fi_av_attr, flags) - 40usize];
};
impl Default for fi_av_attr {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Default, Copy, Clone)]
pub struct fi_av_set_attr {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 56usize]>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_av_set_attr"][::core::mem::size_of::<fi_av_set_attr>() - 56usize];
    ["Alignment of fi_av_set_attr"][::core::mem::align_of::<fi_av_set_attr>() - 8usize];
};
#[repr(C)]
#[derive(Debug)]
pub struct fid_av_set {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct fi_ops_av {
    pub size: usize,
    pub insert: ::core::option::Option<
        unsafe extern "C" fn(
            av: *mut fid_av,
            addr: *const ::core::ffi::c_void,
            count: usize,
            fi_addr: *mut fi_addr_t,
            flags: u64,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
    pub insertsvc: ::core::option::Option<
        unsafe extern "C" fn(
            av: *mut fid_av,
            node: *const ::core::ffi::c_char,
            service: *const ::core::ffi::c_char,
            fi_addr: *mut fi_addr_t,
            flags: u64,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
    pub insertsym: ::core::option::Option<
        unsafe extern "C" fn(
            av: *mut fid_av,
            node: *const ::core::ffi::c_char,
            nodecnt: usize,
            service: *const ::core::ffi::c_char,
            svccnt: usize,
            fi_addr: *mut fi_addr_t,
            flags: u64,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
    pub remove: ::core::option::Option<
        unsafe extern "C" fn(
            av: *mut fid_av,
            fi_addr: *mut fi_addr_t,
            count: usize,
            flags: u64,
        ) -> ::core::ffi::c_int,
    >,
    pub lookup: ::core::option::Option<
        unsafe extern "C" fn(
            av: *mut fid_av,
            fi_addr: fi_addr_t,
            addr: *mut ::core::ffi::c_void,
            addrlen: *mut usize,
        ) -> ::core::ffi::c_int,
    >,
    pub straddr: ::core::option::Option<
        unsafe extern "C" fn(
            av: *mut fid_av,
            addr: *const ::core::ffi::c_void,
            buf: *mut ::core::ffi::c_char,
            len: *mut usize,
        ) -> *const ::core::ffi::c_char,
    >,
    pub av_set: ::core::option::Option<
        unsafe extern "C" fn(
            av: *mut fid_av,
            attr: *mut fi_av_set_attr,
            av_set: *mut *mut fid_av_set,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_ops_av"][::core::mem::size_of::<fi_ops_av>() - 64usize];
    ["Alignment of fi_ops_av"][::core::mem::align_of::<fi_ops_av>() - 8usize];
    [
        "Offset of field: fi_ops_av::size",
    ][::core::mem::offset_of!(fi_ops_av, size) - 0usize];
    [
        "Offset of field: fi_ops_av::insert",
    ][::core::mem::offset_of!(fi_ops_av, insert) - 8usize];
    [
        "Offset of field: fi_ops_av::insertsvc",
    ][::core::mem::offset_of!(fi_ops_av, insertsvc) - 16usize];
    [
        "Offset of field: fi_ops_av::insertsym",
    ][::core::mem::offset_of!(fi_ops_av, insertsym) - 24usize];
    [
        "Offset of field: fi_ops_av::remove",
    ][::core::mem::offset_of!(fi_ops_av, remove) - 32usize];
    [
        "Offset of field: fi_ops_av::lookup",
    ][::core::mem::offset_of!(fi_ops_av, lookup) - 40usize];
    [
        "Offset of field: fi_ops_av::straddr",
    ][::core::mem::offset_of!(fi_ops_av, straddr) - 48usize];
    [
        "Offset of field: fi_ops_av::av_set",
    ][::core::mem::offset_of!(fi_ops_av, av_set) - 56usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct fid_av {
    pub fid: fid,
    pub ops: *mut fi_ops_av,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fid_av"][::core::mem::size_of::<fid_av>() - 32usize];
    ["Alignment of fid_av"][::core::mem::align_of::<fid_av>() - 8usize];
    ["Offset of field: fid_av::fid"][::core::mem::offset_of!(fid_av, fid) - 0usize];
    ["Offset of field: fid_av::ops"][::core::mem::offset_of!(fid_av, ops) - 24usize];
};
impl Default for fid_av {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct fid_mr {
    pub fid: fid,
    pub mem_desc: *mut ::core::ffi::c_void,
    pub key: u64,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fid_mr"][::core::mem::size_of::<fid_mr>() - 40usize];
    ["Alignment of fid_mr"][::core::mem::align_of::<fid_mr>() - 8usize];
    ["Offset of field: fid_mr::fid"][::core::mem::offset_of!(fid_mr, fid) - 0usize];
    [
        "Offset of field: fid_mr::mem_desc",
    ][::core::mem::offset_of!(fid_mr, mem_desc) - 24usize];
    ["Offset of field: fid_mr::key"][::core::mem::offset_of!(fid_mr, key) - 32usize];
};
impl Default for fid_mr {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Default, Copy, Clone)]
pub struct fi_mr_attr {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 80usize]>,
}
#[repr(C)]
#[derive(Copy, Clone)]
pub union fi_mr_attr__bindgen_ty_1 {
    pub reserved: u64,
    pub cuda: ::core::ffi::c_int,
    pub ze: ::core::ffi::c_int,
    pub neuron: ::core::ffi::c_int,
    pub synapseai: ::core::ffi::c_int,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    [
        "Size of fi_mr_attr__bindgen_ty_1",
    ][::core::mem::size_of::<fi_mr_attr__bindgen_ty_1>() - 8usize];
    [
        "Alignment of fi_mr_attr__bindgen_ty_1",
    ][::core::mem::align_of::<fi_mr_attr__bindgen_ty_1>() - 8usize];
    [
        "Offset of field: fi_mr_attr__bindgen_ty_1::reserved",
    ][::core::mem::offset_of!(fi_mr_attr__bindgen_ty_1, reserved) - 0usize];
    [
        "Offset of field: fi_mr_attr__bindgen_ty_1::cuda",
    ][::core::mem::offset_of!(fi_mr_attr__bindgen_ty_1, cuda) - 0usize];
    [
        "Offset of field: fi_mr_attr__bindgen_ty_1::ze",
    ][::core::mem::offset_of!(fi_mr_attr__bindgen_ty_1, ze) - 0usize];
    [
        "Offset of field: fi_mr_attr__bindgen_ty_1::neuron",
    ][::core::mem::offset_of!(fi_mr_attr__bindgen_ty_1, neuron) - 0usize];
    [
        "Offset of field: fi_mr_attr__bindgen_ty_1::synapseai",
    ][::core::mem::offset_of!(fi_mr_attr__bindgen_ty_1, synapseai) - 0usize];
};
impl Default for fi_mr_attr__bindgen_ty_1 {
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
    ["Size of fi_mr_attr"][::core::mem::size_of::<fi_mr_attr>() - 80usize];
    ["Alignment of fi_mr_attr"][::core::mem::align_of::<fi_mr_attr>() - 8usize];
};
pub const FI_INT8: fi_datatype = 0;
pub const FI_UINT8: fi_datatype = 1;
pub const FI_INT16: fi_datatype = 2;
pub const FI_UINT16: fi_datatype = 3;
pub const FI_INT32: fi_datatype = 4;
pub const FI_UINT32: fi_datatype = 5;
pub const FI_INT64: fi_datatype = 6;
pub const FI_UINT64: fi_datatype = 7;
pub const FI_FLOAT: fi_datatype = 8;
pub const FI_DOUBLE: fi_datatype = 9;
pub const FI_FLOAT_COMPLEX: fi_datatype = 10;
pub const FI_DOUBLE_COMPLEX: fi_datatype = 11;
pub const FI_LONG_DOUBLE: fi_datatype = 12;
pub const FI_LONG_DOUBLE_COMPLEX: fi_datatype = 13;
pub const FI_DATATYPE_LAST: fi_datatype = 14;
pub const FI_INT128: fi_datatype = 14;
pub const FI_UINT128: fi_datatype = 15;
pub const FI_VOID: fi_datatype = 256;
pub type fi_datatype = ::core::ffi::c_uint;
pub const FI_MIN: fi_op = 0;
pub const FI_MAX: fi_op = 1;
pub const FI_SUM: fi_op = 2;
pub const FI_PROD: fi_op = 3;
pub const FI_LOR: fi_op = 4;
pub const FI_LAND: fi_op = 5;
pub const FI_BOR: fi_op = 6;
pub const FI_BAND: fi_op = 7;
pub const FI_LXOR: fi_op = 8;
pub const FI_BXOR: fi_op = 9;
pub const FI_ATOMIC_READ: fi_op = 10;
pub const FI_ATOMIC_WRITE: fi_op = 11;
pub const FI_CSWAP: fi_op = 12;
pub const FI_CSWAP_NE: fi_op = 13;
pub const FI_CSWAP_LE: fi_op = 14;
pub const FI_CSWAP_LT: fi_op = 15;
pub const FI_CSWAP_GE: fi_op = 16;
pub const FI_CSWAP_GT: fi_op = 17;
pub const FI_MSWAP: fi_op = 18;
pub const FI_ATOMIC_OP_LAST: fi_op = 19;
pub const FI_NOOP: fi_op = 256;
pub type fi_op = ::core::ffi::c_uint;
pub const FI_BARRIER: fi_collective_op = 0;
pub const FI_BROADCAST: fi_collective_op = 1;
pub const FI_ALLTOALL: fi_collective_op = 2;
pub const FI_ALLREDUCE: fi_collective_op = 3;
pub const FI_ALLGATHER: fi_collective_op = 4;
pub const FI_REDUCE_SCATTER: fi_collective_op = 5;
pub const FI_REDUCE: fi_collective_op = 6;
pub const FI_SCATTER: fi_collective_op = 7;
pub const FI_GATHER: fi_collective_op = 8;
pub type fi_collective_op = ::core::ffi::c_uint;
#[repr(C)]
#[derive(Debug)]
pub struct fi_atomic_attr {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug)]
pub struct fi_collective_attr {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct fi_ops_domain {
    pub size: usize,
    pub av_open: ::core::option::Option<
        unsafe extern "C" fn(
            domain: *mut fid_domain,
            attr: *mut fi_av_attr,
            av: *mut *mut fid_av,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
    pub cq_open: ::core::option::Option<
        unsafe extern "C" fn(
            domain: *mut fid_domain,
            attr: *mut fi_cq_attr,
            cq: *mut *mut fid_cq,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
    pub endpoint: ::core::option::Option<
        unsafe extern "C" fn(
            domain: *mut fid_domain,
            info: *mut fi_info,
            ep: *mut *mut fid_ep,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
    pub scalable_ep: ::core::option::Option<
        unsafe extern "C" fn(
            domain: *mut fid_domain,
            info: *mut fi_info,
            sep: *mut *mut fid_ep,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
    pub cntr_open: ::core::option::Option<
        unsafe extern "C" fn(
            domain: *mut fid_domain,
            attr: *mut fi_cntr_attr,
            cntr: *mut *mut fid_cntr,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
    pub poll_open: ::core::option::Option<
        unsafe extern "C" fn(
            domain: *mut fid_domain,
            attr: *mut fi_poll_attr,
            pollset: *mut *mut fid_poll,
        ) -> ::core::ffi::c_int,
    >,
    pub stx_ctx: ::core::option::Option<
        unsafe extern "C" fn(
            domain: *mut fid_domain,
            attr: *mut fi_tx_attr,
            stx: *mut *mut fid_stx,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
    pub srx_ctx: ::core::option::Option<
        unsafe extern "C" fn(
            domain: *mut fid_domain,
            attr: *mut fi_rx_attr,
            rx_ep: *mut *mut fid_ep,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
    pub query_atomic: ::core::option::Option<
        unsafe extern "C" fn(
            domain: *mut fid_domain,
            datatype: fi_datatype,
            op: fi_op,
            attr: *mut fi_atomic_attr,
            flags: u64,
        ) -> ::core::ffi::c_int,
    >,
    pub query_collective: ::core::option::Option<
        unsafe extern "C" fn(
            domain: *mut fid_domain,
            coll: fi_collective_op,
            attr: *mut fi_collective_attr,
            flags: u64,
        ) -> ::core::ffi::c_int,
    >,
    pub endpoint2: ::core::option::Option<
        unsafe extern "C" fn(
            domain: *mut fid_domain,
            info: *mut fi_info,
            ep: *mut *mut fid_ep,
            flags: u64,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_ops_domain"][::core::mem::size_of::<fi_ops_domain>() - 96usize];
    ["Alignment of fi_ops_domain"][::core::mem::align_of::<fi_ops_domain>() - 8usize];
    [
        "Offset of field: fi_ops_domain::size",
    ][::core::mem::offset_of!(fi_ops_domain, size) - 0usize];
    [
        "Offset of field: fi_ops_domain::av_open",
    ][::core::mem::offset_of!(fi_ops_domain, av_open) - 8usize];
    [
        "Offset of field: fi_ops_domain::cq_open",
    ][::core::mem::offset_of!(fi_ops_domain, cq_open) - 16usize];
    [
        "Offset of field: fi_ops_domain::endpoint",
    ][::core::mem::offset_of!(fi_ops_domain, endpoint) - 24usize];
    [
        "Offset of field: fi_ops_domain::scalable_ep",
    ][::core::mem::offset_of!(fi_ops_domain, scalable_ep) - 32usize];
    [
        "Offset of field: fi_ops_domain::cntr_open",
    ][::core::mem::offset_of!(fi_ops_domain, cntr_open) - 40usize];
    [
        "Offset of field: fi_ops_domain::poll_open",
    ][::core::mem::offset_of!(fi_ops_domain, poll_open) - 48usize];
    [
        "Offset of field: fi_ops_domain::stx_ctx",
    ][::core::mem::offset_of!(fi_ops_domain, stx_ctx) - 56usize];
    [
        "Offset of field: fi_ops_domain::srx_ctx",
    ][::core::mem::offset_of!(fi_ops_domain, srx_ctx) - 64usize];
    [
        "Offset of field: fi_ops_domain::query_atomic",
    ][::core::mem::offset_of!(fi_ops_domain, query_atomic) - 72usize];
    [
        "Offset of field: fi_ops_domain::query_collective",
    ][::core::mem::offset_of!(fi_ops_domain, query_collective) - 80usize];
    [
        "Offset of field: fi_ops_domain::endpoint2",
    ][::core::mem::offset_of!(fi_ops_domain, endpoint2) - 88usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct fi_ops_mr {
    pub size: usize,
    pub reg: ::core::option::Option<
        unsafe extern "C" fn(
            fid: *mut fid,
            buf: *const ::core::ffi::c_void,
            len: usize,
            access: u64,
            offset: u64,
            requested_key: u64,
            flags: u64,
            mr: *mut *mut fid_mr,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
    pub regv: ::core::option::Option<
        unsafe extern "C" fn(
            fid: *mut fid,
            iov: *const iovec,
            count: usize,
            access: u64,
            offset: u64,
            requested_key: u64,
            flags: u64,
            mr: *mut *mut fid_mr,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
    pub regattr: ::core::option::Option<
        unsafe extern "C" fn(
            fid: *mut fid,
            attr: *const fi_mr_attr,
            flags: u64,
            mr: *mut *mut fid_mr,
        ) -> ::core::ffi::c_int,
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_ops_mr"][::core::mem::size_of::<fi_ops_mr>() - 32usize];
    ["Alignment of fi_ops_mr"][::core::mem::align_of::<fi_ops_mr>() - 8usize];
    [
        "Offset of field: fi_ops_mr::size",
    ][::core::mem::offset_of!(fi_ops_mr, size) - 0usize];
    [
        "Offset of field: fi_ops_mr::reg",
    ][::core::mem::offset_of!(fi_ops_mr, reg) - 8usize];
    [
        "Offset of field: fi_ops_mr::regv",
    ][::core::mem::offset_of!(fi_ops_mr, regv) - 16usize];
    [
        "Offset of field: fi_ops_mr::regattr",
    ][::core::mem::offset_of!(fi_ops_mr, regattr) - 24usize];
};
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct fid_domain {
    pub fid: fid,
    pub ops: *mut fi_ops_domain,
    pub mr: *mut fi_ops_mr,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fid_domain"][::core::mem::size_of::<fid_domain>() - 40usize];
    ["Alignment of fid_domain"][::core::mem::align_of::<fid_domain>() - 8usize];
    [
        "Offset of field: fid_domain::fid",
    ][::core::mem::offset_of!(fid_domain, fid) - 0usize];
    [
        "Offset of field: fid_domain::ops",
    ][::core::mem::offset_of!(fid_domain, ops) - 24usize];
    [
        "Offset of field: fid_domain::mr",
    ][::core::mem::offset_of!(fid_domain, mr) - 32usize];
};
impl Default for fid_domain {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Default, Copy, Clone)]
pub struct fi_msg {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 48usize]>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_msg"][::core::mem::size_of::<fi_msg>() - 48usize];
    ["Alignment of fi_msg"][::core::mem::align_of::<fi_msg>() - 8usize];
};
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Default, Copy, Clone)]
pub struct fi_ops_ep {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 64usize]>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_ops_ep"][::core::mem::size_of::<fi_ops_ep>() - 64usize];
    ["Alignment of fi_ops_ep"][::core::mem::align_of::<fi_ops_ep>() - 8usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct fi_ops_msg {
    pub size: usize,
    pub recv: ::core::option::Option<
        unsafe extern "C" fn(
            ep: *mut fid_ep,
            buf: *mut ::core::ffi::c_void,
            len: usize,
            desc: *mut ::core::ffi::c_void,
            src_addr: fi_addr_t,
            context: *mut ::core::ffi::c_void,
        ) -> isize,
    >,
    pub recvv: ::core::option::Option<
        unsafe extern "C" fn(
            ep: *mut fid_ep,
            iov: *const iovec,
            desc: *mut *mut ::core::ffi::c_void,
            count: usize,
            src_addr: fi_addr_t,
            context: *mut ::core::ffi::c_void,
        ) -> isize,
    >,
    pub recvmsg: ::core::option::Option<
        unsafe extern "C" fn(ep: *mut fid_ep, msg: *const fi_msg, flags: u64) -> isize,
    >,
    pub send: ::core::option::Option<
        unsafe extern "C" fn(
            ep: *mut fid_ep,
            buf: *const ::core::ffi::c_void,
            len: usize,
            desc: *mut ::core::ffi::c_void,
            dest_addr: fi_addr_t,
            context: *mut ::core::ffi::c_void,
        ) -> isize,
    >,
    pub sendv: ::core::option::Option<
        unsafe extern "C" fn(
            ep: *mut fid_ep,
            iov: *const iovec,
            desc: *mut *mut ::core::ffi::c_void,
            count: usize,
            dest_addr: fi_addr_t,
            context: *mut ::core::ffi::c_void,
        ) -> isize,
    >,
    pub sendmsg: ::core::option::Option<
        unsafe extern "C" fn(ep: *mut fid_ep, msg: *const fi_msg, flags: u64) -> isize,
    >,
    pub inject: ::core::option::Option<
        unsafe extern "C" fn(
            ep: *mut fid_ep,
            buf: *const ::core::ffi::c_void,
            len: usize,
            dest_addr: fi_addr_t,
        ) -> isize,
    >,
    pub senddata: ::core::option::Option<
        unsafe extern "C" fn(
            ep: *mut fid_ep,
            buf: *const ::core::ffi::c_void,
            len: usize,
            desc: *mut ::core::ffi::c_void,
            data: u64,
            dest_addr: fi_addr_t,
            context: *mut ::core::ffi::c_void,
        ) -> isize,
    >,
    pub injectdata: ::core::option::Option<
        unsafe extern "C" fn(
            ep: *mut fid_ep,
            buf: *const ::core::ffi::c_void,
            len: usize,
            data: u64,
            dest_addr: fi_addr_t,
        ) -> isize,
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_ops_msg"][::core::mem::size_of::<fi_ops_msg>() - 80usize];
    ["Alignment of fi_ops_msg"][::core::mem::align_of::<fi_ops_msg>() - 8usize];
    [
        "Offset of field: fi_ops_msg::size",
    ][::core::mem::offset_of!(fi_ops_msg, size) - 0usize];
    [
        "Offset of field: fi_ops_msg::recv",
    ][::core::mem::offset_of!(fi_ops_msg, recv) - 8usize];
    [
        "Offset of field: fi_ops_msg::recvv",
    ][::core::mem::offset_of!(fi_ops_msg, recvv) - 16usize];
    [
        "Offset of field: fi_ops_msg::recvmsg",
    ][::core::mem::offset_of!(fi_ops_msg, recvmsg) - 24usize];
    [
        "Offset of field: fi_ops_msg::send",
    ][::core::mem::offset_of!(fi_ops_msg, send) - 32usize];
    [
        "Offset of field: fi_ops_msg::sendv",
    ][::core::mem::offset_of!(fi_ops_msg, sendv) - 40usize];
    [
        "Offset of field: fi_ops_msg::sendmsg",
    ][::core::mem::offset_of!(fi_ops_msg, sendmsg) - 48usize];
    [
        "Offset of field: fi_ops_msg::inject",
    ][::core::mem::offset_of!(fi_ops_msg, inject) - 56usize];
    [
        "Offset of field: fi_ops_msg::senddata",
    ][::core::mem::offset_of!(fi_ops_msg, senddata) - 64usize];
    [
        "Offset of field: fi_ops_msg::injectdata",
    ][::core::mem::offset_of!(fi_ops_msg, injectdata) - 72usize];
};
#[repr(C)]
#[derive(Debug)]
pub struct fi_ops_rma {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug)]
pub struct fi_ops_tagged {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug)]
pub struct fi_ops_atomic {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug)]
pub struct fi_ops_collective {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct fid_ep {
    pub fid: fid,
    pub ops: *mut fi_ops_ep,
    pub cm: *mut fi_ops_cm,
    pub msg: *mut fi_ops_msg,
    pub rma: *mut fi_ops_rma,
    pub tagged: *mut fi_ops_tagged,
    pub atomic: *mut fi_ops_atomic,
    pub collective: *mut fi_ops_collective,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fid_ep"][::core::mem::size_of::<fid_ep>() - 80usize];
    ["Alignment of fid_ep"][::core::mem::align_of::<fid_ep>() - 8usize];
    ["Offset of field: fid_ep::fid"][::core::mem::offset_of!(fid_ep, fid) - 0usize];
    ["Offset of field: fid_ep::ops"][::core::mem::offset_of!(fid_ep, ops) - 24usize];
    ["Offset of field: fid_ep::cm"][::core::mem::offset_of!(fid_ep, cm) - 32usize];
    ["Offset of field: fid_ep::msg"][::core::mem::offset_of!(fid_ep, msg) - 40usize];
    ["Offset of field: fid_ep::rma"][::core::mem::offset_of!(fid_ep, rma) - 48usize];
    [
        "Offset of field: fid_ep::tagged",
    ][::core::mem::offset_of!(fid_ep, tagged) - 56usize];
    [
        "Offset of field: fid_ep::atomic",
    ][::core::mem::offset_of!(fid_ep, atomic) - 64usize];
    [
        "Offset of field: fid_ep::collective",
    ][::core::mem::offset_of!(fid_ep, collective) - 72usize];
};
impl Default for fid_ep {
    fn default() -> Self {
        let mut s = ::core::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::core::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Default, Copy, Clone)]
pub struct fid_pep {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 40usize]>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fid_pep"][::core::mem::size_of::<fid_pep>() - 40usize];
    ["Alignment of fid_pep"][::core::mem::align_of::<fid_pep>() - 8usize];
};
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Default, Copy, Clone)]
pub struct fid_stx {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 32usize]>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fid_stx"][::core::mem::size_of::<fid_stx>() - 32usize];
    ["Alignment of fid_stx"][::core::mem::align_of::<fid_stx>() - 8usize];
};
#[repr(C)]
#[repr(align(8))]
#[derive(Debug, Default, Copy, Clone)]
pub struct fid_mc {
    pub _bindgen_opaque_blob: __BindgenOpaqueArray8<[u8; 32usize]>,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fid_mc"][::core::mem::size_of::<fid_mc>() - 32usize];
    ["Alignment of fid_mc"][::core::mem::align_of::<fid_mc>() - 8usize];
};
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct fi_ops_cm {
    pub size: usize,
    pub setname: ::core::option::Option<
        unsafe extern "C" fn(
            fid: fid_t,
            addr: *mut ::core::ffi::c_void,
            addrlen: usize,
        ) -> ::core::ffi::c_int,
    >,
    pub getname: ::core::option::Option<
        unsafe extern "C" fn(
            fid: fid_t,
            addr: *mut ::core::ffi::c_void,
            addrlen: *mut usize,
        ) -> ::core::ffi::c_int,
    >,
    pub getpeer: ::core::option::Option<
        unsafe extern "C" fn(
            ep: *mut fid_ep,
            addr: *mut ::core::ffi::c_void,
            addrlen: *mut usize,
        ) -> ::core::ffi::c_int,
    >,
    pub connect: ::core::option::Option<
        unsafe extern "C" fn(
            ep: *mut fid_ep,
            addr: *const ::core::ffi::c_void,
            param: *const ::core::ffi::c_void,
            paramlen: usize,
        ) -> ::core::ffi::c_int,
    >,
    pub listen: ::core::option::Option<
        unsafe extern "C" fn(pep: *mut fid_pep) -> ::core::ffi::c_int,
    >,
    pub accept: ::core::option::Option<
        unsafe extern "C" fn(
            ep: *mut fid_ep,
            param: *const ::core::ffi::c_void,
            paramlen: usize,
        ) -> ::core::ffi::c_int,
    >,
    pub reject: ::core::option::Option<
        unsafe extern "C" fn(
            pep: *mut fid_pep,
            handle: fid_t,
            param: *const ::core::ffi::c_void,
            paramlen: usize,
        ) -> ::core::ffi::c_int,
    >,
    pub shutdown: ::core::option::Option<
        unsafe extern "C" fn(ep: *mut fid_ep, flags: u64) -> ::core::ffi::c_int,
    >,
    pub join: ::core::option::Option<
        unsafe extern "C" fn(
            ep: *mut fid_ep,
            addr: *const ::core::ffi::c_void,
            flags: u64,
            mc: *mut *mut fid_mc,
            context: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of fi_ops_cm"][::core::mem::size_of::<fi_ops_cm>() - 80usize];
    ["Alignment of fi_ops_cm"][::core::mem::align_of::<fi_ops_cm>() - 8usize];
    [
        "Offset of field: fi_ops_cm::size",
    ][::core::mem::offset_of!(fi_ops_cm, size) - 0usize];
    [
        "Offset of field: fi_ops_cm::setname",
    ][::core::mem::offset_of!(fi_ops_cm, setname) - 8usize];
    [
        "Offset of field: fi_ops_cm::getname",
    ][::core::mem::offset_of!(fi_ops_cm, getname) - 16usize];
    [
        "Offset of field: fi_ops_cm::getpeer",
    ][::core::mem::offset_of!(fi_ops_cm, getpeer) - 24usize];
    [
        "Offset of field: fi_ops_cm::connect",
    ][::core::mem::offset_of!(fi_ops_cm, connect) - 32usize];
    [
        "Offset of field: fi_ops_cm::listen",
    ][::core::mem::offset_of!(fi_ops_cm, listen) - 40usize];
    [
        "Offset of field: fi_ops_cm::accept",
    ][::core::mem::offset_of!(fi_ops_cm, accept) - 48usize];
    [
        "Offset of field: fi_ops_cm::reject",
    ][::core::mem::offset_of!(fi_ops_cm, reject) - 56usize];
    [
        "Offset of field: fi_ops_cm::shutdown",
    ][::core::mem::offset_of!(fi_ops_cm, shutdown) - 64usize];
    [
        "Offset of field: fi_ops_cm::join",
    ][::core::mem::offset_of!(fi_ops_cm, join) - 72usize];
};
