//! Compares the bindings of libibverbs and libefa with the installed headers by C compilers.
//!
//! bindgen's own assertions compare the structures with the headers that the bindings were generated from. This test
//! compares the structures with the installed headers, which may be newer. A structure may have grown at its end,
//! unless the library fills the structure without knowing the caller's size.

#[macro_use]
mod c;

use std::mem::{align_of, offset_of, size_of};

use c::{Compiler, must};
use nearfab_sys::verbs::{
    self, efadv_device_attr, ibv_async_event, ibv_device_attr, ibv_event_type, ibv_gid, ibv_mr, ibv_mtu, ibv_port_attr,
    ibv_port_state, ibv_qp_cap, ibv_qp_init_attr, ibv_qp_type,
};
use nearfab_sys::{ibv_context, ibv_qp};

const HEADERS: &str =
    "#include <stddef.h>\n#include <stdint.h>\n#include <infiniband/verbs.h>\n#include <infiniband/efadv.h>\n";

macro_rules! constants {
    ($c:ident, $($name:ident)*) => {
        $(must(&mut $c, &format!("{} == {}", stringify!($name), verbs::$name), stringify!($name));)*
    };
}

fn assertions() -> String {
    let mut c = String::from(HEADERS);
    structure!(
        c,
        ibv_device_attr {
            fw_ver,
            node_guid,
            sys_image_guid,
            max_mr_size,
            page_size_cap,
            vendor_id,
            vendor_part_id,
            hw_ver,
            max_qp,
            max_qp_wr,
            device_cap_flags,
            max_sge,
            max_sge_rd,
            max_cq,
            max_cqe,
            max_mr,
            max_pd,
            max_qp_rd_atom,
            max_ee_rd_atom,
            max_res_rd_atom,
            max_qp_init_rd_atom,
            max_ee_init_rd_atom,
            atomic_cap,
            max_ee,
            max_rdd,
            max_mw,
            max_raw_ipv6_qp,
            max_raw_ethy_qp,
            max_mcast_grp,
            max_mcast_qp_attach,
            max_total_mcast_qp_attach,
            max_ah,
            max_fmr,
            max_map_per_fmr,
            max_srq,
            max_srq_wr,
            max_srq_sge,
            max_pkeys,
            local_ca_ack_delay,
            phys_port_cnt,
        }
    );
    let whole = format!("sizeof(struct ibv_device_attr) == {}", size_of::<ibv_device_attr>());
    must(&mut c, &whole, "ibv_query_device writes all of ibv_device_attr");
    structure!(
        c,
        ibv_port_attr {
            state,
            max_mtu,
            active_mtu,
            gid_tbl_len,
            port_cap_flags,
            max_msg_sz,
            bad_pkey_cntr,
            qkey_viol_cntr,
            pkey_tbl_len,
            lid,
            sm_lid,
            lmc,
            max_vl_num,
            sm_sl,
            subnet_timeout,
            init_type_reply,
            active_width,
            active_speed,
            phys_state,
            link_layer,
            flags,
            port_cap_flags2,
        }
    );
    // Newer headers rename `reserved`.
    structure!(
        c,
        efadv_device_attr {
            comp_mask,
            max_sq_wr,
            max_rq_wr,
            max_sq_sge,
            max_rq_sge,
            inline_buf_size,
            device_caps,
            max_rdma_size,
        } except reserved
    );
    structure!(c, ibv_mr { context, pd, addr, length, handle, lkey, rkey });
    structure!(c, ibv_async_event { element, event_type });
    structure!(c, ibv_qp_cap { max_send_wr, max_recv_wr, max_send_sge, max_recv_sge, max_inline_data });
    structure!(c, ibv_qp_init_attr { qp_context, send_cq, recv_cq, srq, cap, qp_type, sq_sig_all });
    // The library creates these structures. nearfab reads their public fields.
    beginning!(c, ibv_context { device, cmd_fd, async_fd, num_comp_vectors });
    beginning!(c, ibv_qp { context, qp_context, pd, send_cq, recv_cq, srq, handle, qp_num, state, qp_type });
    // The mutex has another size on another architecture, in C as in the libc crate.
    let rest = size_of::<ibv_context>() - size_of::<libc::pthread_mutex_t>();
    let whole = format!("sizeof(struct ibv_context) - sizeof(pthread_mutex_t) == {rest}");
    must(&mut c, &whole, "size of ibv_context");
    for (what, condition) in [
        (
            "offset of the port query",
            "offsetof(struct verbs_context, context) - offsetof(struct verbs_context, query_port) == 320",
        ),
        ("offset of the size", "offsetof(struct verbs_context, context) - offsetof(struct verbs_context, sz) == 8"),
        (
            "end of ibv_context",
            "offsetof(struct ibv_context, abi_compat) + sizeof(void *) == sizeof(struct ibv_context)",
        ),
        (
            "end of verbs_context",
            "offsetof(struct verbs_context, context) + sizeof(struct ibv_context) == sizeof(struct verbs_context)",
        ),
        ("mark of verbs_context", "(size_t)__VERBS_ABI_IS_EXTENDED == SIZE_MAX"),
    ] {
        must(&mut c, condition, what);
    }
    must(&mut c, &format!("sizeof(enum ibv_event_type) == {}", size_of::<ibv_event_type>()), "size of ibv_event_type");
    must(&mut c, &format!("sizeof(enum ibv_qp_type) == {}", size_of::<ibv_qp_type>()), "size of ibv_qp_type");
    must(&mut c, &format!("sizeof(union ibv_gid) == {}", size_of::<ibv_gid>()), "size of ibv_gid");
    must(&mut c, &format!("sizeof(enum ibv_port_state) == {}", size_of::<ibv_port_state>()), "size of ibv_port_state");
    must(&mut c, &format!("sizeof(enum ibv_mtu) == {}", size_of::<ibv_mtu>()), "size of ibv_mtu");
    constants!(c,
        IBV_PORT_NOP IBV_PORT_DOWN IBV_PORT_INIT IBV_PORT_ARMED IBV_PORT_ACTIVE IBV_PORT_ACTIVE_DEFER
        IBV_MTU_256 IBV_MTU_512 IBV_MTU_1024 IBV_MTU_2048 IBV_MTU_4096
        IBV_LINK_LAYER_UNSPECIFIED IBV_LINK_LAYER_INFINIBAND IBV_LINK_LAYER_ETHERNET
        IBV_QPT_UD IBV_QPT_DRIVER EFADV_QP_DRIVER_TYPE_SRD
        IBV_ACCESS_LOCAL_WRITE IBV_ACCESS_REMOTE_WRITE IBV_ACCESS_REMOTE_READ
        IBV_EVENT_CQ_ERR IBV_EVENT_QP_FATAL IBV_EVENT_DEVICE_FATAL IBV_EVENT_PORT_ACTIVE IBV_EVENT_WQ_FATAL
        EFADV_DEVICE_ATTR_CAPS_RDMA_READ EFADV_DEVICE_ATTR_CAPS_RNR_RETRY EFADV_DEVICE_ATTR_CAPS_CQ_WITH_SGID
    );
    c
}

/// C text that asserts that the exported `ibv_query_port` is the older function, behind a macro of the same name. See
/// the crate's documentation.
const EXPORTED_PORT_QUERY: &str = r#"
#ifndef ibv_query_port
#error "ibv_query_port is no longer a macro: compare the headers with the crate's documentation"
#endif
#undef ibv_query_port
_Static_assert(_Generic(&ibv_query_port,
    int (*)(struct ibv_context *, uint8_t, struct _compat_ibv_port_attr *): 1, default: 0),
    "the exported ibv_query_port takes the older structure");
"#;

fn compilers(test: &str) -> Vec<Compiler> {
    c::compilers(test, HEADERS, "libibverbs-dev")
}

#[test]
fn the_headers_agree_with_the_bindings() {
    for compiler in compilers("layouts") {
        compiler.accepts(&assertions());
    }
}

#[test]
fn the_exported_port_query_is_the_older_function() {
    for compiler in compilers("port query") {
        compiler.accepts(&format!("{HEADERS}{EXPORTED_PORT_QUERY}"));
    }
}

#[test]
fn a_wrong_offset_is_refused() {
    for compiler in compilers("wrong offset") {
        let wrong = assertions().replace("ibv_port_attr, lid) == 34", "ibv_port_attr, lid) == 35");
        assert_ne!(wrong, assertions());
        compiler.refuses(&wrong, "offset of ibv_port_attr.lid");
    }
}
